//! The demo's metrics: counters as a Prometheus would hold them, in closed form, so that every process and every look
//! finds the same samples.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use jiff::Timestamp;

use super::world::World;
use super::world::at;
use crate::operate::slo::series::Sample;
use crate::operate::slo::series::Track;
use crate::operate::slo::source::prometheus::Tracks;

const DAY: f64 = 86_400.0;
const MINUTE: i64 = 60_000;
/// Past days held, and how close the samples are: coarse, by the minute for the last hours, and scrapes of pods.
const DAYS: i64 = 33;
const COARSE: i64 = 5 * MINUTE;
const TAIL: i64 = 7 * 60 * MINUTE;
const SCRAPE: i64 = 15_000;
/// Scrapes of pods are held from so long before the scenario began, and never for longer.
const PODS_BEFORE: i64 = 30 * MINUTE;
const PODS_FOR: i64 = 6 * 60 * MINUTE;

/// A time of another rate and share of bad events; real milliseconds.
#[derive(Clone, Copy, Debug)]
struct Spell {
    from: i64,
    until: i64,
    /// Events besides the usual ones, in multiples of them.
    more: f64,
    /// Share of bad among all events of the spell.
    bad: f64,
}

/// Events of one service. The rate follows the day.
#[derive(Clone, Debug)]
struct Flow<'a> {
    world: &'a World,
    per_second: f64,
    /// Share of bad events in quiet times.
    bad: f64,
    spells: Vec<Spell>,
}

impl Flow<'_> {
    /// Events in quiet times since the start of the scenario (negative before it).
    fn quiet(&self, ms: i64) -> f64 {
        let t = (ms - self.world.clock.start().as_millisecond()) as f64 / 1000.0;
        // The demo opens in the busiest hour.
        self.per_second * (t + 0.25 * DAY / TAU * (TAU * t / DAY).sin())
    }

    /// Quiet events of a spell up to `ms`, weighed by the scenario's speed: a spell costs as much budget at any speed.
    fn weight(&self, spell: &Spell, ms: i64) -> f64 {
        let until = ms.min(spell.until);
        if until <= spell.from {
            return 0.0;
        }
        let anchor = self.world.clock.real.as_millisecond().clamp(spell.from, until);
        let slow = self.quiet(anchor) - self.quiet(spell.from);
        slow + self.world.clock.speed * (self.quiet(until) - self.quiet(anchor))
    }

    fn quiet_within(&self, spell: &Spell, ms: i64) -> f64 {
        let until = ms.min(spell.until);
        if until <= spell.from { 0.0 } else { self.quiet(until) - self.quiet(spell.from) }
    }

    /// All events, and bad ones, since 40 days before the scenario.
    fn count(&self, ms: i64) -> (f64, f64) {
        let origin = self.world.clock.start().as_millisecond() - 40 * 24 * 60 * MINUTE;
        let quiet = self.quiet(ms) - self.quiet(origin);
        let (mut all, mut bad) = (quiet, quiet * self.bad);
        for spell in &self.spells {
            let w = self.weight(spell, ms) * (1.0 + spell.more);
            let replaced = self.quiet_within(spell, ms);
            all += w - replaced;
            bad += w * spell.bad - replaced * self.bad;
        }
        (all.max(0.0).floor(), bad.max(0.0).floor())
    }
}

/// All the demo's samples up to `now`, in milliseconds.
pub fn tracks(world: &World, now: i64) -> Tracks {
    let mut out = Tracks::new();
    let grid = grid(now);
    for (name, flow, good) in flows(world) {
        let counts: Vec<(i64, (f64, f64))> = grid.iter().map(|at| (*at, flow.count(*at))).collect();
        let side = |pick: fn((f64, f64)) -> f64| -> Track {
            counts.iter().map(|(at, c)| Sample { at: *at, value: pick(*c) }).collect()
        };
        match good {
            Shape::Codes(labels) => {
                out.insert(labelled(name, labels, &[("code", "200")]), side(|(all, bad)| all - bad));
                out.insert(labelled(name, labels, &[("code", "503")]), side(|(_, bad)| bad));
            }
            Shape::Histogram(le, labels) => {
                let bucket = format!("{name}_bucket");
                out.insert(labelled(&bucket, labels, &[("le", le)]), side(|(all, bad)| all - bad));
                out.insert(labelled(&bucket, labels, &[("le", "+Inf")]), side(|(all, _)| all));
                out.insert(labelled(&format!("{name}_count"), labels, &[]), side(|(all, _)| all));
            }
        }
    }
    for (name, labels, value) in gauges(world) {
        let track = grid.iter().filter_map(|at| value(*at).map(|value| Sample { at: *at, value })).collect();
        out.insert(labelled(name, labels, &[]), track);
    }
    out.extend(scrapes(world, now));
    out
}

/// How a flow is exported.
enum Shape {
    Codes(&'static [(&'static str, &'static str)]),
    /// The bucket good events are in.
    Histogram(&'static str, &'static [(&'static str, &'static str)]),
}

/// Coarse first, then by the minute; whole steps, so that a sample read once stays where it is.
fn grid(now: i64) -> Vec<i64> {
    let tail = (now - TAIL).div_euclid(COARSE) * COARSE;
    let first = tail - DAYS * 24 * 60 * MINUTE;
    let coarse = (0..).map(|i| first + i * COARSE).take_while(|t| *t < tail);
    let fine = (0..).map(|i| tail + i * MINUTE).take_while(|t| *t <= now);
    coarse.chain(fine).collect()
}

fn labelled(name: &str, fixed: &[(&str, &str)], more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let name = [("__name__", name)];
    name.iter().chain(fixed).chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn flows(world: &World) -> Vec<(&'static str, Flow<'_>, Shape)> {
    let real = |second: f64| world.clock.real(second).as_millisecond();
    let start = real(0.0);
    let ago = |days: f64, minutes: f64, bad: f64| {
        let from = start - (days * DAY * 1000.0) as i64;
        Spell { from, until: from + (minutes * 60_000.0) as i64, more: 0.0, bad }
    };
    let during = |from: f64, until: f64, more: f64, bad: f64| Spell { from: real(from), until: real(until), more, bad };
    let flow = |per_second: f64, bad: f64, spells: Vec<Spell>| Flow { world, per_second, bad, spells };
    vec![
        (
            "intake_events_total",
            flow(
                180.0,
                0.000_44,
                vec![ago(9.2, 50.0, 0.11), ago(20.6, 65.0, 0.08), during(at::FLOOD, at::FLOOD_ENDS, 3.0, 0.42)],
            ),
            Shape::Codes(&[("job", "log-intake")]),
        ),
        ("soc_requests_total", flow(45.0, 0.000_19, canary_errors(world)), Shape::Codes(&[("job", "triage-api")])),
        (
            "llm_request_duration_seconds",
            flow(2.5, 0.019, vec![ago(3.4, 240.0, 0.22), during(at::FLOOD, at::FLOOD_ENDS, 2.0, 0.31)]),
            Shape::Histogram("3", &[("job", "llm")]),
        ),
        // A mail gateway that is kept for the night shift: it is there, and nothing comes.
        ("mail_messages_total", flow(0.0, 0.0, Vec::new()), Shape::Codes(&[("job", "mail-intake")])),
    ]
}

/// The share of bad answers of the whole service while the canary has traffic and cannot read what comes in.
fn canary_errors(world: &World) -> Vec<Spell> {
    let odd = world.clock.real(at::ODD_ALERTS);
    let far = world.clock.real(at::FLOOD_ENDS * 4.0);
    let stages = world.stages(far);
    let ends = stages.iter().skip(1).map(|s| s.since).chain([far]);
    let of = |(stage, until): (&super::world::Canary, Timestamp)| {
        let from = stage.since.max(odd);
        (stage.weight > 0 && until > from).then(|| Spell {
            from: from.as_millisecond(),
            until: until.as_millisecond(),
            more: 0.0,
            bad: 0.001 + CANARY_BAD * f64::from(stage.weight) / 100.0,
        })
    };
    let mut spells: Vec<Spell> = stages.iter().zip(ends).filter_map(of).collect();
    let past = world.clock.start().as_millisecond() - 14 * 24 * 60 * MINUTE;
    spells.insert(0, Spell { from: past, until: past + 20 * MINUTE, more: 0.0, bad: 0.05 });
    spells
}

/// Of the canary's requests, once there are alerts it cannot read.
const CANARY_BAD: f64 = 0.11;

type Gauge<'a> = (&'static str, &'static [(&'static str, &'static str)], Box<dyn Fn(i64) -> Option<f64> + 'a>);

fn gauges(world: &World) -> Vec<Gauge<'_>> {
    let gone = world.clock.real(at::EVASION).as_millisecond();
    let start = world.clock.start().as_millisecond();
    // Most of the time well below its two seconds, with a slow night each week.
    let lag = move |ms: i64| {
        let t = (ms - start) as f64 / 1000.0;
        let slow = (t / DAY).rem_euclid(7.0) < 0.06;
        let value = 0.7 + 0.3 * (TAU * t / DAY).cos() + if slow { 2.4 } else { 0.0 };
        (ms < gone).then_some(value)
    };
    vec![("search_query_seconds_p95", &[("job", "opensearch")], Box::new(lag))]
}

/// Hashes of the revisions, and how many pods each service has.
pub const STABLE: &str = "7d9f6c5b84";
pub const NEW: &str = "5c8b77d9f4";
pub const REPLICAS: u32 = 20;
pub const BLUE: &str = "66b5d8c7f9";
pub const GREEN: &str = "7c4f9db6d5";
pub const SIDES: u32 = 6;

/// A service whose pods are scraped.
struct App<'a> {
    name: &'static str,
    hash: &'static str,
    pods: u32,
    /// How many of the pods get requests at a moment.
    serving: Box<dyn Fn(i64) -> u32 + 'a>,
    /// Requests a second, and the share of them that fail.
    per_second: f64,
    bad: Box<dyn Fn(i64) -> f64 + 'a>,
}

/// Requests each pod has answered, as Prometheus scrapes them.
pub fn scrapes(world: &World, now: i64) -> Tracks {
    let odd = world.clock.real(at::ODD_ALERTS).as_millisecond();
    let [flood, ebb] = [at::FLOOD, at::FLOOD_ENDS].map(|s| world.clock.real(s).as_millisecond());
    let far = Timestamp::from_millisecond(now).unwrap_or_default();
    let stages = world.stages(far);
    let switches = world.switches(far);
    let weight = |ms: i64| stages.iter().rfind(|s| s.since.as_millisecond() <= ms).map_or(5, |s| s.weight);
    let canary = |ms: i64| REPLICAS * weight(ms) / 100;
    let green = |ms: i64| switches.iter().rfind(|(t, _)| t.as_millisecond() <= ms).is_some_and(|(_, green)| *green);
    let flooded = |ms: i64| (flood..ebb).contains(&ms);
    let app = |name, hash, pods, serving, per_second, bad| App { name, hash, pods, serving, per_second, bad };
    let apps = [
        app("triage-api", STABLE, REPLICAS, Box::new(|t| REPLICAS - canary(t)), 2.2, Box::new(|_| 0.004)),
        app(
            "triage-api",
            NEW,
            REPLICAS,
            Box::new(canary),
            2.2,
            Box::new(|t| if t >= odd { CANARY_BAD } else { 0.004 }),
        ),
        app(
            "log-intake",
            BLUE,
            SIDES,
            Box::new(|t| if green(t) { 0 } else { SIDES }),
            30.0,
            Box::new(|t| if flooded(t) { 0.42 } else { 0.000_4 }),
        ),
        // The new one has a longer queue.
        app(
            "log-intake",
            GREEN,
            SIDES,
            Box::new(|t| if green(t) { SIDES } else { 0 }),
            30.0,
            Box::new(|t| if flooded(t) { 0.012 } else { 0.000_4 }),
        ),
    ];
    let mut out = Tracks::new();
    for app in &apps {
        (0..app.pods).for_each(|index| pod(world, app, index, now, &mut out));
    }
    out
}

fn pod(world: &World, app: &App<'_>, index: u32, now: i64, out: &mut Tracks) {
    let first = (world.clock.start().as_millisecond() - PODS_BEFORE).max(now - PODS_FOR).div_euclid(SCRAPE) * SCRAPE;
    // Pods do not fail in step.
    let own = 0.7 + 0.15 * f64::from((index * 7 + 3) % 5);
    let (mut all, mut bad) = (0.0_f64, 0.0_f64);
    let (mut ok, mut failed): (Track, Track) = Default::default();
    for at in (0..).map(|i| first + i * SCRAPE).take_while(|t| *t <= now) {
        if index >= (app.serving)(at) {
            (all, bad) = (0.0, 0.0);
            continue;
        }
        let requests = app.per_second * SCRAPE as f64 / 1000.0 * world.clock.speed_at(at);
        all += requests;
        bad += requests * (app.bad)(at) * own;
        ok.push(Sample { at, value: (all - bad).floor() });
        failed.push(Sample { at, value: bad.floor() });
    }
    if ok.is_empty() {
        return;
    }
    let pod = format!("{}-{}-{}", app.name, app.hash, name(app.hash, index));
    let fixed = [("app", app.name), ("hash", app.hash), ("pod", &pod)];
    out.insert(labelled("http_requests_total", &fixed, &[("code", "200")]), ok);
    out.insert(labelled("http_requests_total", &fixed, &[("code", "500")]), failed);
}

/// The five letters the name of a revision's pod ends in.
pub fn name(hash: &str, index: u32) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let of = hash.bytes().map(u32::from).fold(97, |sum: u32, b| sum.wrapping_mul(31).wrapping_add(b));
    let mut n = index.wrapping_mul(2_654_435_761).wrapping_add(of);
    let mut out = String::new();
    for _ in 0..5 {
        out.push(char::from(LETTERS[n as usize % LETTERS.len()]));
        n = n / 7 + 13;
    }
    out
}
