//! What happened near an alert in time, and how often its rule fires. Both cost the same however many alerts there are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::related::{Alike, kin, tally};
use super::{err, rows, us};
use crate::model::ids::AlertId;
use crate::store::{Near, Result, Seen};

/// Newest alerts that are looked at one by one, where the tally (which knows no time) reaches further back than asked.
const LOOKED_AT: i64 = 20_000;

/// `limit` before and `limit` after it by each thing they can share. Ids grow with the time of ingest, and every index
/// ends in the id.
pub(super) fn neighbours(conn: &Connection, id: AlertId, limit: usize) -> Result<Vec<Near>> {
    let Some(k) = kin(conn, id)? else { return Ok(Vec::new()) };
    let mut found: BTreeMap<i64, Vec<&'static str>> = BTreeMap::new();
    let mut add = |index: &str, cond: &str, shared: &'static str, value: Option<Value>| -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        for (side, order) in [("<", "DESC"), (">", "ASC")] {
            let sql = format!(
                "SELECT a.id FROM alert a INDEXED BY {index} WHERE {cond} AND a.id {side} ?2 ORDER BY a.id {order} LIMIT ?3"
            );
            let mut stmt = conn.prepare_cached(&sql).map_err(err)?;
            let ids = stmt.query_map(params![value, id.0, limit as i64], |r| r.get::<_, i64>(0)).map_err(err)?;
            for id in ids {
                let shares = found.entry(id.map_err(err)?).or_default();
                if !shares.contains(&shared) {
                    shares.push(shared);
                }
            }
        }
        Ok(())
    };
    add("alert_grp", "a.grp = ?1", "group", Some(k.grp.into()))?;
    add("alert_host", "a.host = ?1 COLLATE NOCASE", "host", k.host.map(Value::from))?;
    add("alert_user", "a.user = ?1 COLLATE NOCASE", "user", k.user.map(Value::from))?;
    for bits in [k.src, k.dst].into_iter().flatten() {
        add("alert_src", "a.src = ?1", "address", Some(bits.clone().into()))?;
        add("alert_dst", "a.dst = ?1", "address", Some(bits.into()))?;
    }
    let ids: Vec<AlertId> = found.keys().copied().map(AlertId).collect();
    let rows = rows::by_id(conn, &ids)?;
    Ok(rows.into_iter().map(|row| Near { shares: found.remove(&row.id.0).unwrap_or_default(), row }).collect())
}

/// See [`crate::store::Store::seen`].
pub(super) fn seen(conn: &Connection, id: AlertId, since: Timestamp) -> Result<Seen> {
    let Some(k) = kin(conn, id)? else { return Ok(Seen::default()) };
    let number = |sql: &str| {
        conn.prepare_cached(sql)
            .and_then(|mut s| s.query_row([], |r| r.get::<_, Option<i64>>(0)))
            .map(|n| n.unwrap_or(0))
            .map_err(err)
    };
    let (first, last) = (number("SELECT min(id) FROM alert")?, number("SELECT max(id) FROM alert")?);
    let at = |sql: &str| -> Result<Option<i64>> {
        conn.prepare_cached(sql).and_then(|mut s| s.query_row([us(since)], |r| r.get(0)).optional()).map_err(err)
    };
    let older = at("SELECT id FROM alert INDEXED BY alert_t_ingest WHERE t_ingest < ? ORDER BY t_ingest DESC LIMIT 1")?;
    let from = at("SELECT id FROM alert INDEXED BY alert_t_ingest WHERE t_ingest >= ? ORDER BY t_ingest LIMIT 1")?;
    let Some(from) = from else { return Ok(Seen::default()) };
    let total = tally(conn, &Alike::Rule(&k.rule).key())?;
    if older.is_none() {
        return Ok(Seen { rule: total, all: (last - first + 1).max(0).unsigned_abs(), estimated: false });
    }
    let all = (last - from + 1).max(0);
    let lowest = from.max(last - LOOKED_AT + 1);
    let sql = "SELECT count(*) FROM alert WHERE id >= ? AND coalesce(rule_id, rule_name, title) = ?";
    let counted: i64 =
        conn.prepare_cached(sql).and_then(|mut s| s.query_row(params![lowest, k.rule], |r| r.get(0))).map_err(err)?;
    let looked = (last - lowest + 1).max(1);
    // Scaled up from the newest, and never more than there are.
    let rule = (counted as f64 * all as f64 / looked as f64).round() as u64;
    Ok(Seen { rule: rule.min(total), all: all.unsigned_abs(), estimated: lowest > from })
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use super::*;
    use crate::model::alert::{AlertFields, NewAlert};
    use crate::store::{Ingested, Store as _};

    fn new(n: u8, rule: &str, host: Option<&str>, user: Option<&str>, group: u8) -> NewAlert {
        NewAlert {
            fields: AlertFields {
                title: rule.into(),
                rule_id: Some(rule.into()),
                host: host.map(Into::into),
                user: user.map(Into::into),
                src_ip: "203.0.113.9".parse().ok().filter(|_| group == 9),
                ..AlertFields::default()
            },
            format: "generic".into(),
            source: "t".into(),
            raw: vec![n],
            raw_sha256: [n; 32],
            identity: [n; 16],
            group: [group; 16],
            suppressed_by: None,
            asset_weight: 100,
            origin: None,
        }
    }

    #[test]
    fn neighbours_are_near_on_both_sides_and_say_what_they_share() {
        let store = SqliteStore::open_temporary().unwrap();
        let day = |d: i64| Timestamp::from_second(1_700_000_000 + d * 86_400).unwrap();
        let mut ids = Vec::new();
        for (d, batch) in [
            (0, vec![new(0, "a", Some("H1"), None, 0), new(1, "a", Some("h1"), Some("eve"), 1)]),
            (40, vec![new(2, "b", Some("h1"), Some("eve"), 1), new(3, "b", Some("h2"), None, 9)]),
            (41, vec![new(4, "b", Some("h2"), None, 9), new(5, "a", Some("h1"), None, 5)]),
        ] {
            ids.extend(store.ingest(&batch, &[], None, day(d)).unwrap().into_iter().map(|i| match i {
                Ingested::New(id) | Ingested::Repeat(id) => id,
            }));
        }
        let near = store.neighbours(ids[2], 1).unwrap();
        let found: Vec<_> = near.iter().map(|n| (n.row.id, n.shares.clone())).collect();
        assert_eq!(found, [(ids[1], vec!["group", "host", "user"]), (ids[5], vec!["host"])]);
        let near = store.neighbours(ids[3], 5).unwrap();
        assert_eq!(near[0].shares, ["group", "host", "address"]);
        assert!(store.neighbours(AlertId(99), 5).unwrap().is_empty());

        assert_eq!(store.seen(ids[0], day(-1)).unwrap(), Seen { rule: 3, all: 6, estimated: false });
        assert_eq!(store.seen(ids[0], day(30)).unwrap(), Seen { rule: 1, all: 4, estimated: false });
        assert_eq!(store.seen(ids[0], day(60)).unwrap(), Seen::default());
    }
}
