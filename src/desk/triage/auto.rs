//! Queues what the settings say is to be judged without being asked for: open alerts without a verdict, the riskiest
//! first, within the hour's budget.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use super::super::Desk;
use super::super::Result;
use super::super::live::stopped_within;
use crate::model::alert::Status;
use crate::model::ids::AlertId;
use crate::model::priority::Priority;
use crate::model::query;
use crate::model::query::Cmp;
use crate::model::query::Page;
use crate::model::query::Query;
use crate::model::query::SortKey;
use crate::model::query::Term;
use crate::store::Store;
use crate::store::Wanted;

/// Riskiest alerts looked at. Those that are queued already count, so the queue never holds many more than this.
const FRONT: usize = 256;
/// Of those, P0 alone: risk grows with age, so a fresh P0 need not be among the riskiest.
const URGENT: usize = 64;
const TICK: Duration = Duration::from_millis(500);
/// A look is followed by a pause this many times as long.
const REST: u32 = 20;
/// How often to look when the budget was used up: room comes with time, not with a change.
const NO_ROOM: Duration = Duration::from_secs(10);

/// Looks at the query on every change, until told to stop.
pub(in crate::desk) async fn auto(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    let text = desk.settings.triage.auto.trim();
    if text.is_empty() {
        return;
    }
    let wanted = match query::parse(text, None) {
        Ok(query) => candidates(query),
        Err(e) => {
            tracing::error!(error = %e, "triage.auto is no query: nothing is triaged by itself");
            return;
        }
    };
    let (mut seen, mut next) = (None, Instant::now());
    while !stopped_within(&mut stop, TICK).await {
        let Ok(revision) = desk.revision() else { continue };
        if seen == Some(revision) || Instant::now() < next {
            continue;
        }
        let begun = Instant::now();
        let (of, query) = (Arc::clone(&desk), wanted.clone());
        let looked = tokio::task::spawn_blocking(move || of.queue_by_itself(&query)).await;
        next = Instant::now() + begun.elapsed() * REST;
        match looked {
            Ok(Ok(true)) => seen = Some(revision),
            Ok(Ok(false)) => next += NO_ROOM,
            Ok(Err(e)) => tracing::warn!(error = %e, "triage.auto"),
            Err(e) => tracing::error!(error = %e, "triage.auto"),
        }
    }
}

/// What of a query may be triaged without being asked for.
fn candidates(query: Query) -> Query {
    let not = |t| Query::Not(Box::new(Query::Term(t)));
    Query::And(vec![
        query,
        not(Term::Verdict("any".into())),
        not(Term::Status(Status::Closed)),
        not(Term::Status(Status::Suppressed)),
    ])
}

impl Desk {
    /// False: there was no room for all of them.
    fn queue_by_itself(&self, wanted: &Query) -> Result<bool> {
        let now = Timestamp::now();
        let per_hour = self.settings.triage.auto_per_hour;
        let room = self.store.auto_room(per_hour, now)?;
        if room == 0 {
            return Ok(false);
        }
        let urgent = Query::And(vec![wanted.clone(), Query::Term(Term::Priority(Cmp::Eq, Priority::P0))]);
        let mut ids: Vec<AlertId> = Vec::new();
        for (query, limit) in [(&urgent, URGENT), (wanted, FRONT)] {
            let rows = self.store.rows(query, SortKey::Risk, Page::First, limit, now)?;
            ids.extend(rows.iter().map(|r| r.id));
        }
        ids.dedup();
        let added = self.store.enqueue_triage(&ids, &Wanted::Auto { per_hour }, now)?;
        Ok(added < room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_hidden_or_judged_is_no_candidate() {
        let query = candidates(query::parse("sev>=high", None).unwrap());
        let text = query.to_string();
        assert_eq!(text, r#"sev>=high not verdict:"any" not status:closed not status:suppressed"#);
        assert_eq!(query::parse(&text, None).unwrap(), query);
    }
}
