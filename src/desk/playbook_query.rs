//! The search a step carries, run when a person wants it and kept as evidence. It only reads: OpenSearch alone, through the
//! connection of a source this desk has, in indices the settings let be searched.

use jiff::SignedDuration;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::Digest as _;
use sha2::Sha256;

use super::Desk;
use super::DeskError;
use super::Result;
use crate::config::settings::OpensearchSettings;
use crate::config::settings::SourceSettings;
use crate::intake::source::opensearch::Fault;
use crate::intake::source::opensearch::search::search;
use crate::model::ids::PersonId;
use crate::model::playbook::Step;
use crate::model::playbook_run::Event;
use crate::model::playbook_run::Evidence;
use crate::model::playbook_run::Found;
use crate::model::playbook_run::Run;
use crate::playbook::evidence;
use crate::playbook::run::kind_of;
use crate::playbook::run::value_of;
use crate::playbook::search as asked;
use crate::playbook::search::Search;
use crate::store::Store;
use crate::store::StoreError;
use crate::text::Untrusted;

/// Bytes of an answer that is kept.
const LARGEST: u64 = 1 << 20;
/// Searches of one step.
const MOST: usize = 8;
const AT_WORK: &str = "playbook.query";
/// A process that was killed while it searched holds the step no longer than this, for each search.
const HELD: SignedDuration = SignedDuration::from_secs(60);

/// Who searches from a step, so that two do not at once.
#[derive(Serialize, Deserialize)]
struct AtWork {
    by: PersonId,
    until: Timestamp,
}

/// Lets the step go when it is dropped, also when the search is given up.
struct Hold<'d> {
    desk: &'d Desk,
    key: String,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.desk.store.drop_doc(AT_WORK, &self.key) {
            tracing::warn!(step = %self.key, error = %e, "a search's hold on its step stays until it runs out");
        }
    }
}

/// What is kept: what was asked of whom, and the server's answer as it came.
#[derive(Serialize)]
struct Kept<'a> {
    run: &'a str,
    step: &'a str,
    by: &'a PersonId,
    at: Timestamp,
    source: &'a str,
    indices: &'a [String],
    search: &'a serde_json::Value,
    answer: &'a RawValue,
}

impl Desk {
    /// Why no step's search can be run here.
    ///
    /// # Errors
    /// Which setting says so.
    pub fn may_search(&self) -> Result<()> {
        let (_, _) = self.searched()?;
        Ok(())
    }

    /// The source that is asked.
    fn searched(&self) -> Result<(&str, &OpensearchSettings)> {
        let set = &self.settings.playbooks;
        let no = |m: String| Err(DeskError::Usage(m));
        if set.query_indices.is_empty() {
            return no("no index may be searched here (playbooks.query_indices)".into());
        }
        let mut all = self.settings.intake.sources.iter().filter_map(|(name, s)| match s {
            SourceSettings::Opensearch(os) => Some((name.as_str(), os)),
            _ => None,
        });
        if let Some(wanted) = &set.query_source {
            let found = all.find(|(name, _)| name == wanted);
            return found
                .ok_or_else(|| DeskError::Usage(format!("no OpenSearch source {wanted:?} (playbooks.query_source)")));
        }
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => no("this desk has no OpenSearch source (intake.sources)".into()),
            (Some(_), Some(_)) => {
                no("more than one OpenSearch source: say which is searched (playbooks.query_source)".into())
            }
        }
    }

    /// Runs the searches of a step and keeps each answer as its evidence. What went wrong stands in the step as a note.
    pub async fn query_step(&self, by: &PersonId, run: &str, visit: u32) -> Result<Vec<Evidence>> {
        self.authorise(by)?;
        let (run, book) = tokio::task::block_in_place(|| self.playbook_run(Some(by), run))?;
        let at = run.visit(visit);
        let at = at.ok_or_else(|| DeskError::Usage(format!("run {} has no step number {visit}", run.id)))?;
        let step = book.step(&at.step).filter(|s| s.searches());
        let step = step.ok_or_else(|| DeskError::No(format!("step {visit} ({}) searches nothing", at.key)))?;
        let (source, connection) = self.searched()?;
        // All of them before any is sent.
        let searches = self.ready(&run, step)?;
        let hold = tokio::task::block_in_place(|| self.hold(by, &run, visit, searches.len()))?;
        let mut out = Vec::new();
        for (i, one) in searches.iter().enumerate() {
            let name = match i {
                0 => format!("query-{}.json", at.key),
                i => format!("query-{}-{}.json", at.key, i + 1),
            };
            tokio::task::block_in_place(|| self.record_search(by, &run, visit, source, one))?;
            let when = Timestamp::now();
            let answered = search(connection, &self.secrets, &one.indices, one.body.clone(), LARGEST).await;
            let read = answered.map_err(|f| (said(&f), unreachable(&f))).and_then(|(bytes, size)| {
                let found = asked::read(&bytes, &one.indices.join(","), size).map_err(|why| (why, false))?;
                Ok((bytes, found))
            });
            let (bytes, found) = match read {
                Ok(read) => read,
                Err((why, away)) => {
                    let text = format!("searched {}: no answer, nothing is attached: {why}", one.indices.join(","));
                    tokio::task::block_in_place(|| self.note_search(by, &run, visit, text))?;
                    return Err(if away { DeskError::Unreachable(why) } else { DeskError::No(why) });
                }
            };
            let answer: &RawValue =
                serde_json::from_slice(&bytes).map_err(|e| DeskError::No(format!("the answer cannot be kept: {e}")))?;
            let (indices, body) = (&one.indices, &one.body);
            let kept = Kept { run: &run.id, step: &at.key, by, at: when, source, indices, search: body, answer };
            let piece = tokio::task::block_in_place(|| self.keep_search(&kept, visit, name, found))?;
            out.push(piece);
        }
        drop(hold);
        Ok(out)
    }

    fn ready(&self, run: &Run, step: &Step) -> Result<Vec<Search>> {
        let allowed = &self.settings.playbooks.query_indices;
        let mut value = |name: &str| {
            let text = value_of(run, Some(step), name)?;
            Some(asked::Known { text, kind: kind_of(run, step, name) })
        };
        let all = asked::of_step(step).take(MOST);
        all.map(|c| {
            asked::prepare(c, allowed, &mut value).map_err(|why| DeskError::Refused(format!("not searched: {why}")))
        })
        .collect()
    }

    /// One at a time for each step, of all processes of this desk.
    fn hold(&self, by: &PersonId, run: &Run, visit: u32, searches: usize) -> Result<Hold<'_>> {
        let key = format!("{}:{visit}", run.id);
        let now = Timestamp::now();
        let busy = |who: &str| DeskError::No(format!("{who} searches from this step already: wait for the answer"));
        let mut rev = 0;
        if let Some(doc) = self.store.doc(AT_WORK, &key)? {
            rev = doc.rev;
            let held: Option<AtWork> = serde_json::from_str(&doc.body).ok();
            if let Some(held) = held.filter(|h| h.until > now) {
                return Err(busy(held.by.as_str()));
            }
        }
        let each = i32::try_from(searches).unwrap_or(i32::MAX);
        let until = now.checked_add(HELD.saturating_mul(each)).unwrap_or(now);
        let body = json!(AtWork { by: by.clone(), until }).to_string();
        match self.store.put_doc(AT_WORK, &key, &body, rev, now) {
            Ok(_) => Ok(Hold { desk: self, key }),
            Err(StoreError::Conflict(_)) => Err(busy("somebody")),
            Err(e) => Err(e.into()),
        }
    }

    /// Recorded before it is sent. What a restricted run searches for is told by its hash alone.
    fn record_search(&self, by: &PersonId, run: &Run, visit: u32, source: &str, one: &Search) -> Result<()> {
        let text = one.body.to_string();
        let mut body = json!({
            "run": run.id, "visit": visit, "key": run.visit(visit).map(|v| &v.key), "source": source,
            "indices": one.indices, "search_sha256": hex::encode(Sha256::digest(&text)),
        });
        if run.restricted.is_empty() {
            body["search"] = crate::text::front(&text, 4 << 10).into();
        }
        self.audit.append(Some(by), "playbook.step.query", Some(&run.id), body, Timestamp::now())?;
        Ok(())
    }

    fn keep_search(&self, kept: &Kept<'_>, visit: u32, name: String, found: Found) -> Result<Evidence> {
        let bytes = serde_json::to_vec(kept).map_err(|e| DeskError::No(format!("the answer cannot be kept: {e}")))?;
        let (sha256, bytes) = evidence::keep(&self.evidence_folder(), &mut bytes.as_slice()).map_err(DeskError::No)?;
        let text = format!("searched: {}; kept as {name}", found.words());
        let (by, found) = (kept.by.clone(), Some(Box::new(found)));
        let piece = Evidence { sha256, bytes, name: name.into(), by, at: Timestamp::now(), found };
        let attach = Event::Attach { visit, evidence: piece.clone() };
        let run = self.playbook_event(kept.by, kept.run, &attach)?;
        self.note_search(kept.by, &run, visit, text)?;
        Ok(piece)
    }

    fn note_search(&self, by: &PersonId, run: &Run, visit: u32, text: String) -> Result<()> {
        self.playbook_event(by, &run.id, &Event::Note { visit, text: Untrusted::new(text) })?;
        Ok(())
    }
}

/// Why there is no answer, for people.
fn said(fault: &Fault) -> String {
    match fault {
        Fault::TooLarge(n) => {
            format!("one document alone makes {n} bytes, more than {LARGEST}: name its fields in _source")
        }
        fault => fault.to_string(),
    }
}

fn unreachable(fault: &Fault) -> bool {
    matches!(fault, Fault::Unreachable(_) | Fault::Timeout(_) | Fault::NotReady(_) | Fault::Tls(_) | Fault::Busy(_))
}
