//! What the desk's own probes found in the demo's month: outages, a gap while the desk was down, and the night's trouble.

use jiff::Timestamp;

use super::world::World;
use super::world::at;
use crate::model::sla::ProbeResult;
use crate::operate::sla::Service;
use crate::text::Untrusted;

/// Real seconds before the scenario's start, from and until.
type Span = (i64, i64);

const HOUR: i64 = 3_600;

/// Planned work on the API that was announced in time; down all the while.
pub const MAINTENANCE: Span = (31 * HOUR, 29 * HOUR);
/// Work on the model servers that was announced the day before only.
pub const LATE: Span = (52 * HOUR, 51 * HOUR);
/// The desk itself was being upgraded: nobody probed anything.
const GAP: Span = (5 * HOUR + 1_500, 5 * HOUR);

fn within(span: Span, before: i64) -> bool {
    before <= span.0 && before > span.1
}

/// The probes of a service from `from` on and before `until`, none of them after `now`.
pub fn probes(world: &World, service: &Service, from: Timestamp, until: Timestamp, now: Timestamp) -> Vec<ProbeResult> {
    let every = i64::from(service.interval_seconds.max(1));
    let first = from.as_second().div_euclid(every) * every;
    let start = world.clock.start().as_second();
    // Each service has its own second of the interval.
    let phase = service.name.bytes().map(i64::from).sum::<i64>() % every;
    let mut found = Vec::new();
    let mut second = first + phase;
    while second < until.as_second().min(now.as_second()) {
        if second >= from.as_second()
            && let Ok(at) = Timestamp::from_second(second)
        {
            found.extend(probe(world, &service.name, at, start - second));
        }
        second += every;
    }
    found
}

/// `before`: seconds before the scenario's start. `None`: nobody probed.
fn probe(world: &World, service: &str, at: Timestamp, before: i64) -> Option<ProbeResult> {
    if within(GAP, before) {
        return None;
    }
    let second = world.clock.second(at);
    // Some of the probes get through while the intake is flooded.
    let flooded = (at::FLOOD + 90.0..at::FLOOD_ENDS).contains(&second) && before.rem_euclid(180) < 120;
    let down = match service {
        "soc-api" if within(MAINTENANCE, before) => Some("HTTP 503: maintenance"),
        "soc-api" if within((83 * HOUR, 83 * HOUR - 1_260), before) => Some("no answer within 10 s"),
        "model" if within(LATE, before) => Some("connection refused"),
        "model" if within((110 * HOUR, 105 * HOUR), before) => Some("HTTP 500: CUDA out of memory"),
        "log-intake" if flooded => Some("HTTP 503: queue full"),
        _ => None,
    };
    let millis = 18 + u32::try_from(before.rem_euclid(37)).unwrap_or(0);
    Some(ProbeResult {
        at,
        up: down.is_none(),
        millis: if down.is_some() { 10_000 } else { millis },
        detail: Untrusted::new(down.unwrap_or("HTTP 200")),
    })
}
