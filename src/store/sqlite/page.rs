//! Pages, counts and positions of a query's rows. Pages are cut by sort key, so their cost does not grow with depth.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::plan::{Plan, plan};
use super::{SqliteStore, err, rows};
use crate::model::alert::AlertRow;
use crate::model::ids::AlertId;
use crate::model::query::{Count, Page, Query, SortKey};
use crate::store::Result;

/// Which way from the anchor.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Down the list, from its start when there is no anchor.
    Down,
    /// Down the list, the anchor itself first.
    DownFrom,
    Up,
}

/// The anchor's place in the sort order.
struct Anchor {
    key: Value,
    id: i64,
}

struct Order {
    /// The column that comes before the id, if any.
    key: Option<&'static str>,
    descending: bool,
}

fn order(sort: SortKey) -> Order {
    match sort {
        SortKey::Risk => Order { key: Some("a.rank"), descending: true },
        SortKey::Severity => Order { key: Some("a.sev_order"), descending: true },
        // Ids are given in the order of ingest.
        SortKey::Newest => Order { key: None, descending: true },
        SortKey::Oldest => Order { key: None, descending: false },
    }
}

pub(super) fn rows(
    store: &SqliteStore,
    conn: &Connection,
    query: &Query,
    sort: SortKey,
    page: Page,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<AlertRow>> {
    let mut plan = plan(store, conn, query, now)?;
    if matches!(sort, SortKey::Risk | SortKey::Severity) {
        plan.look_ahead(conn)?;
    }
    let at = |id: AlertId| anchor(conn, sort, id);
    match page {
        Page::First => cut(conn, &plan, sort, Way::Down, None, limit),
        Page::Last => cut(conn, &plan, sort, Way::Up, None, limit),
        Page::After(id) => match at(id)? {
            Some(a) => cut(conn, &plan, sort, Way::Down, Some(&a), limit),
            None => Ok(Vec::new()),
        },
        Page::Before(id) => match at(id)? {
            Some(a) => cut(conn, &plan, sort, Way::Up, Some(&a), limit),
            None => Ok(Vec::new()),
        },
        Page::Around(id) => match at(id)? {
            Some(a) => around(conn, &plan, sort, &a, limit),
            None => cut(conn, &plan, sort, Way::Down, None, limit),
        },
    }
}

/// Half above, the rest from the anchor on; near either end the other side fills up.
fn around(conn: &Connection, plan: &Plan, sort: SortKey, a: &Anchor, limit: usize) -> Result<Vec<AlertRow>> {
    let half = limit / 2;
    let below = cut(conn, plan, sort, Way::DownFrom, Some(a), limit)?;
    let want = limit - below.len().min(limit - half);
    let mut page = cut(conn, plan, sort, Way::Up, Some(a), want)?;
    let room = limit - page.len();
    page.extend(below.into_iter().take(room));
    Ok(page)
}

fn anchor(conn: &Connection, sort: SortKey, id: AlertId) -> Result<Option<Anchor>> {
    let key = order(sort).key.unwrap_or("a.id");
    let sql = format!("SELECT {key} FROM alert a WHERE a.id = ?");
    conn.prepare_cached(&sql)
        .and_then(|mut s| s.query_row([id.0], |r| Ok(Anchor { key: r.get(0)?, id: id.0 })).optional())
        .map_err(err)
}

/// The condition that a row lies this way of the anchor.
fn beyond(sort: SortKey, way: Way, a: &Anchor, params: &mut Vec<Value>) -> String {
    let o = order(sort);
    let down = way != Way::Up;
    let sign = match (o.descending == down, way == Way::DownFrom) {
        (true, false) => "<",
        (true, true) => "<=",
        (false, false) => ">",
        (false, true) => ">=",
    };
    let mut param = |v: Value| {
        params.push(v);
        params.len()
    };
    match o.key {
        Some(key) => {
            let (k, i) = (param(a.key.clone()), param(Value::Integer(a.id)));
            format!("({key}, a.id) {sign} (?{k}, ?{i})")
        }
        None => format!("a.id {sign} ?{}", param(Value::Integer(a.id))),
    }
}

/// Where the rows come from: the few candidates, or the index of the sort order.
fn from(plan: &Plan, sort: SortKey, params: &mut Vec<Value>) -> String {
    if let Some(ids) = &plan.drive {
        params.push(Value::Text(ids.clone()));
        return format!("json_each(?{}) j CROSS JOIN alert a ON a.id = j.value", params.len());
    }
    let how = match (sort, plan.open) {
        (SortKey::Risk, true) => "INDEXED BY alert_open_rank",
        (SortKey::Risk, false) => "INDEXED BY alert_rank",
        (SortKey::Severity, _) => "INDEXED BY alert_sev",
        (SortKey::Newest | SortKey::Oldest, true) => "INDEXED BY alert_open_id",
        (SortKey::Newest | SortKey::Oldest, false) => "NOT INDEXED",
    };
    format!("alert a {how}")
}

fn condition(plan: &Plan) -> String {
    if plan.open { format!("a.status < 3 AND ({})", plan.expr) } else { format!("({})", plan.expr) }
}

fn cut(
    conn: &Connection,
    plan: &Plan,
    sort: SortKey,
    way: Way,
    anchor: Option<&Anchor>,
    limit: usize,
) -> Result<Vec<AlertRow>> {
    let mut params = plan.params.clone();
    let source = from(plan, sort, &mut params);
    let mut cond = condition(plan);
    if let Some(a) = anchor {
        cond.push_str(" AND ");
        cond.push_str(&beyond(sort, way, a, &mut params));
    }
    let o = order(sort);
    let direction = if o.descending == (way != Way::Up) { "DESC" } else { "ASC" };
    let by = match o.key {
        Some(key) => format!("{key} {direction}, a.id {direction}"),
        None => format!("a.id {direction}"),
    };
    params.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let sql = format!("SELECT {} FROM {source} WHERE {cond} ORDER BY {by} LIMIT ?{}", rows::ROW, params.len());
    let mut page: Vec<AlertRow> = conn
        .prepare_cached(&sql)
        .and_then(|mut s| s.query_map(params_from_iter(params), rows::row)?.collect())
        .map_err(err)?;
    if way == Way::Up {
        page.reverse();
    }
    Ok(page)
}

pub(super) fn count(store: &SqliteStore, conn: &Connection, query: &Query, cap: u64, now: Timestamp) -> Result<Count> {
    let plan = plan(store, conn, query, now)?;
    if let Some(n) = plan.exact {
        return Ok(Count { n: n.min(cap), exact: n <= cap });
    }
    let mut params = plan.params.clone();
    let source = match (&plan.drive, plan.open) {
        // From front to back, unless an index alone can answer.
        (None, _) if !plan.covered => "alert a NOT INDEXED".to_owned(),
        (None, false) => "alert a".to_owned(),
        _ => from(&plan, SortKey::Risk, &mut params),
    };
    capped(conn, &source, &condition(&plan), params, cap)
}

pub(super) fn position(
    store: &SqliteStore,
    conn: &Connection,
    query: &Query,
    sort: SortKey,
    id: AlertId,
    cap: u64,
    now: Timestamp,
) -> Result<Count> {
    let Some(a) = anchor(conn, sort, id)? else { return Ok(Count { n: 0, exact: true }) };
    let plan = plan(store, conn, query, now)?;
    let mut params = plan.params.clone();
    let source = from(&plan, sort, &mut params);
    let cond = format!("{} AND {}", condition(&plan), beyond(sort, Way::Up, &a, &mut params));
    capped(conn, &source, &cond, params, cap)
}

fn capped(conn: &Connection, source: &str, cond: &str, mut params: Vec<Value>, cap: u64) -> Result<Count> {
    params.push(Value::Integer(i64::try_from(cap).unwrap_or(i64::MAX - 1).saturating_add(1)));
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {cond} LIMIT ?{})", params.len());
    let n: i64 =
        conn.prepare_cached(&sql).and_then(|mut s| s.query_row(params_from_iter(params), |r| r.get(0))).map_err(err)?;
    let n = n.unsigned_abs();
    Ok(Count { n: n.min(cap), exact: n <= cap })
}
