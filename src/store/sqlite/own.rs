//! The desk's own events, counted by the minute as indicators of its own objectives want them.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, named_params};

use super::{err, time, us};
use crate::model::alert::{Disposition, Status};
use crate::model::slo::DeskSli;
use crate::store::{OwnEvents, Result};

/// Rows `(at, good)`: when an event counts, and whether it was good.
///
/// `:within`, `:from` and `:until` are microseconds; each reads no more than it has an index for.
fn events(sli: DeskSli) -> String {
    let (suppressed, claimed, snoozed) = (Status::Suppressed.id(), Status::Claimed.id(), Status::Snoozed.id());
    let (fp, tp) = (Disposition::FalsePositive.id(), Disposition::TruePositive.id());
    match sli {
        // A clock that runs backwards (the sender's is wrong) says nothing.
        DeskSli::TimeToDetect => {
            "SELECT t_ingest AS at, coalesce(t_alert, t_ingest) - t_event <= :within AS good FROM alert
             WHERE t_ingest > :from AND t_ingest <= :until AND coalesce(t_alert, t_ingest) >= t_event"
                .into()
        }
        DeskSli::TimeToAcknowledge => clocked(&format!(
            "SELECT t_ingest AS s, t_claim AS e FROM alert
             WHERE t_ingest > :from - :within AND t_ingest <= :until AND status <> {suppressed}"
        )),
        DeskSli::TriageTime => clocked(&format!(
            "SELECT t_claim AS s, t_close AS e FROM alert WHERE disposition IS NOT NULL AND t_close > :from
             UNION ALL SELECT t_claim, NULL FROM alert WHERE status IN ({claimed}, {snoozed})"
        )),
        DeskSli::TimeToRespond => {
            clocked(&format!("SELECT t_verdict AS s, t_contain AS e FROM alert WHERE disposition = {tp}"))
        }
        DeskSli::FalsePositives => format!(
            "SELECT t_close AS at, disposition <> {fp} AS good FROM alert
             WHERE disposition IS NOT NULL AND t_close > :from AND t_close <= :until AND :within IS NOT NULL"
        ),
        DeskSli::AnalysisLatency => clocked(
            "SELECT t_ingest AS s, t_verdict AS e FROM alert
             WHERE t_ingest > :from - :within AND t_ingest <= :until
               AND (t_verdict IS NOT NULL OR id IN (SELECT alert FROM triage_job))",
        ),
        // Rules that stood in for a model mean that it did not answer.
        DeskSli::InferenceLatency => "SELECT at, fallback = 0 AND took_ms * 1000 <= :within AS good FROM opinion
             WHERE at > :from AND at <= :until AND (backend <> 'rules' OR fallback = 1)"
            .into(),
    }
}

/// Of clocks from `s` to `e`: one that stopped in time counts then, and is good; any other is bad from the moment its
/// time ran out, whether it still runs or stopped later.
fn clocked(clocks: &str) -> String {
    format!(
        "SELECT CASE WHEN e <= s + :within THEN e ELSE s + :within END AS at, coalesce(e <= s + :within, 0) AS good
         FROM ({clocks}) WHERE s IS NOT NULL"
    )
}

pub(super) fn counted(
    conn: &Connection,
    sli: DeskSli,
    within: SignedDuration,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<OwnEvents>> {
    let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX / 4);
    // Times are after 1970, where rounding up is this.
    let sql = format!(
        "SELECT (at + 59999999) / 60000000 * 60000000, sum(good), sum(NOT good) FROM ({})
         WHERE at > :from AND at <= :until GROUP BY 1 ORDER BY 1",
        events(sli)
    );
    conn.prepare_cached(&sql)
        .and_then(|mut s| {
            s.query_map(named_params! { ":within": within, ":from": us(from), ":until": us(until) }, |r| {
                let n = |i: usize| r.get::<_, i64>(i).map(i64::unsigned_abs);
                Ok(OwnEvents { until: time(r.get(0)?), good: n(1)?, bad: n(2)? })
            })?
            .collect()
        })
        .map_err(err)
}
