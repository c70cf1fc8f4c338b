//! How triage is doing, from the narrow rows of `opinion`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{err, us};
use crate::model::ids::AlertId;
use crate::model::opinion::{Agreement, TriageStats};
use crate::store::Result;

/// Percentiles and agreement look at no more than the newest so many verdicts.
const NEWEST: i64 = 10_000;
/// Of one rule, which is looked at whenever an alert is opened.
const NEWEST_OF_RULE: i64 = 1_000;
/// Rules listed with their own agreement.
const RULES: usize = 20;
const NOW: SignedDuration = SignedDuration::from_mins(5);

pub(in crate::store::sqlite) fn stats(conn: &Connection, since: Timestamp, now: Timestamp) -> Result<TriageStats> {
    let mut out = sums(conn, since)?;
    out.since = Some(since);
    let hours = (us(now) - us(since)).max(1) as f64 / 3_600_000_000.0;
    out.per_hour = out.by_model as f64 / hours;
    let recent = now - NOW;
    let n: i64 = conn
        .prepare_cached("SELECT count(*) FROM opinion WHERE at > ? AND fallback = 0 AND backend <> 'rules'")
        .and_then(|mut s| s.query_row([us(recent)], |r| r.get(0)))
        .map_err(err)?;
    out.per_hour_now = n as f64 * 3_600.0 / NOW.as_secs() as f64;
    let took = newest(conn, "took_ms", since)?;
    out.took_p50 = percentile(&took, 50);
    out.took_p95 = percentile(&took, 95);
    out.first_token_p95 = percentile(&newest(conn, "first_token_ms", since)?, 95);
    let by_rule = agreement(conn, None)?;
    out.agreement = overall(&by_rule);
    out.agreement.extend(by_rule.into_iter().take(RULES));
    Ok(out)
}

fn sums(conn: &Connection, since: Timestamp) -> Result<TriageStats> {
    conn.prepare_cached(
        "SELECT count(*), coalesce(sum(fallback), 0), coalesce(sum(fallback = 0 AND backend <> 'rules'), 0),
           coalesce(sum(kind = 0), 0), coalesce(sum(kind = 1), 0), coalesce(sum(kind = 2), 0),
           coalesce(sum(kind = 3), 0), coalesce(sum(text_dependent), 0), coalesce(sum(raised), 0),
           coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(completion_tokens), 0),
           coalesce(sum(served_ms), 0), coalesce(sum(claims) FILTER (WHERE backend <> 'rules'), 0),
           coalesce(sum(founded) FILTER (WHERE backend <> 'rules'), 0)
         FROM opinion WHERE at > ?",
    )
    .and_then(|mut s| {
        s.query_row([us(since)], |r| {
            let n = |i: usize| r.get::<_, i64>(i).map(i64::unsigned_abs);
            Ok(TriageStats {
                verdicts: n(0)?,
                fallbacks: n(1)?,
                by_model: n(2)?,
                kinds: [n(3)?, n(4)?, n(5)?, n(6)?],
                text_dependent: n(7)?,
                raised: n(8)?,
                prompt_tokens: n(9)?,
                cached_tokens: n(10)?,
                completion_tokens: n(11)?,
                served_ms: n(12)?,
                claims: n(13)?,
                founded: n(14)?,
                ..TriageStats::default()
            })
        })
    })
    .map_err(err)
}

/// Of the newest verdicts of the backend itself (no fallbacks), sorted.
fn newest(conn: &Connection, column: &str, since: Timestamp) -> Result<Vec<u64>> {
    let sql = format!(
        "SELECT {column} FROM opinion WHERE at > ? AND fallback = 0 AND {column} IS NOT NULL ORDER BY at DESC LIMIT ?"
    );
    let mut all: Vec<u64> = conn
        .prepare_cached(&sql)
        .and_then(|mut s| {
            s.query_map(params![us(since), NEWEST], |r| r.get::<_, i64>(0).map(i64::unsigned_abs))?.collect()
        })
        .map_err(err)?;
    all.sort_unstable();
    Ok(all)
}

/// Nearest rank: the smallest value that at least `p` percent of all do not exceed.
fn percentile(sorted: &[u64], p: usize) -> Option<u64> {
    let rank = (sorted.len() * p).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// By rule, backend and model, most said first; of one rule, or of all. Looks at the newest verdicts that are no
/// fallback.
///
/// A review counts as it says: the newest one of each verdict, as agreed when it accepts. An alert nobody reviewed
/// counts once it is closed: agreed when its disposition is the very one its newest verdict named, overridden when it
/// is another. A verdict that needs investigation and a disposition of undetermined say nothing, so they count neither
/// way.
pub(in crate::store::sqlite) fn agreement(conn: &Connection, rule: Option<&str>) -> Result<Vec<Agreement>> {
    let (cond, values) = match rule {
        Some(rule) => (" AND rule = ?", vec![Value::from(rule.to_owned()), NEWEST_OF_RULE.into()]),
        None => ("", vec![NEWEST.into()]),
    };
    let sql = format!(
        "WITH newest AS (SELECT verdict, alert, rule, backend, model, kind FROM opinion
           WHERE fallback = 0{cond} ORDER BY verdict DESC LIMIT ?),
         said AS (SELECT n.rule, n.backend, n.model, CASE
             WHEN r.id IS NOT NULL THEN r.said = r.kind
             WHEN a.disposition < 3 AND n.kind < 3
               AND n.verdict = (SELECT max(verdict) FROM opinion WHERE alert = n.alert AND fallback = 0)
               AND NOT EXISTS (SELECT 1 FROM review WHERE alert = n.alert) THEN n.kind = a.disposition
           END AS ok
           FROM newest n JOIN alert a ON a.id = n.alert
           LEFT JOIN review r ON r.id = (SELECT max(id) FROM review WHERE verdict = n.verdict))
         SELECT rule, backend, model, sum(ok), count(ok) - sum(ok) FROM said WHERE ok IS NOT NULL
         GROUP BY rule, backend, model ORDER BY count(ok) DESC, rule, backend, model"
    );
    conn.prepare_cached(&sql)
        .and_then(|mut s| {
            s.query_map(params_from_iter(values), |r| {
                Ok(Agreement {
                    rule: r.get::<_, String>(0)?.into(),
                    backend: r.get(1)?,
                    model: r.get::<_, String>(2)?.into(),
                    agreed: r.get::<_, i64>(3)?.unsigned_abs(),
                    overridden: r.get::<_, i64>(4)?.unsigned_abs(),
                })
            })?
            .collect()
        })
        .map_err(err)
}

/// Of the rule of one alert.
pub(in crate::store::sqlite) fn agreement_on(conn: &Connection, id: AlertId) -> Result<Vec<Agreement>> {
    use rusqlite::OptionalExtension as _;
    let rule: Option<String> = conn
        .prepare_cached("SELECT coalesce(rule_id, rule_name, title) FROM alert WHERE id = ?")
        .and_then(|mut s| s.query_row([id.0], |r| r.get(0)).optional())
        .map_err(err)?;
    rule.map_or_else(|| Ok(Vec::new()), |rule| agreement(conn, Some(&rule)))
}

/// All rules together, by backend and model.
fn overall(by_rule: &[Agreement]) -> Vec<Agreement> {
    let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for a in by_rule {
        let sum = sums.entry((&a.backend, a.model.expose())).or_default();
        *sum = (sum.0 + a.agreed, sum.1 + a.overridden);
    }
    let mut all: Vec<Agreement> = sums
        .into_iter()
        .map(|((backend, model), (agreed, overridden))| Agreement {
            rule: "".into(),
            backend: backend.to_owned(),
            model: model.into(),
            agreed,
            overridden,
        })
        .collect();
    all.sort_by_key(|a| std::cmp::Reverse(a.agreed + a.overridden));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let to = |n: u64| (1..=n).collect::<Vec<_>>();
        for (values, p, want) in [
            (vec![], 50, None),
            (vec![7], 50, Some(7)),
            (vec![7], 95, Some(7)),
            (to(2), 50, Some(1)),
            (to(100), 95, Some(95)),
            (to(101), 95, Some(96)),
            (to(20), 95, Some(19)),
            (to(10), 100, Some(10)),
        ] {
            assert_eq!(percentile(&values, p), want, "{p} of {}", values.len());
        }
    }

    #[test]
    fn overall_sums_rules_of_one_model() {
        let a = |rule: &str, model: &str, agreed, overridden| Agreement {
            rule: rule.into(),
            backend: "openai".into(),
            model: model.into(),
            agreed,
            overridden,
        };
        let all = overall(&[a("1", "m", 3, 1), a("2", "m", 1, 0), a("1", "n", 9, 9)]);
        assert_eq!(all, [a("", "n", 9, 9), a("", "m", 4, 1)]);
    }
}
