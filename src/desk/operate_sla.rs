//! Agreements: probes by the leading process, months and exclusions for everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::Result;
use super::live::stopped_within;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::model::ids::PersonId;
use crate::model::person::Role;
use crate::model::sla::Exclusion;
use crate::model::sla::ExclusionKind;
use crate::model::sla::ProbeResult;
use crate::model::sla::SlaMonth;
use crate::operate::sla;
use crate::operate::sla::Agreement;
use crate::operate::sla::Month;
use crate::operate::sla::Service;
use crate::operate::sla::probe::Prober;
use crate::operate::sla::status::StatusPage;
use crate::store::Entry;
use crate::store::Store;
use crate::text::Untrusted;

pub use crate::operate::sla::month::counts;
pub use crate::operate::sla::report::kind_word;
pub use crate::operate::sla::report::met_word;
pub use crate::operate::sla::report::percent;
pub use crate::operate::sla::report::span;

/// Series of probes, one for each service.
const PROBE: &str = "probe";
/// Exclusions asked for.
const EXCLUSION: &str = "exclusion";
/// Exclusions looked at: a desk has a few a month.
const EXCLUSIONS_MAX: usize = 10_000;
/// More than a service has in 90 days of probes every five seconds.
const PROBES_MAX: usize = 2_000_000;
/// How long probes are kept, and how many are forgotten in one go.
const KEPT_DAYS: i64 = 400;
const FORGET: usize = 10_000;
/// What is wrong with the file is tried again after.
const AGAIN: Duration = Duration::from_secs(30);

/// What somebody asks to be excluded.
#[derive(Clone, Debug)]
pub struct ExclusionDraft {
    pub service: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub kind: ExclusionKind,
    pub reason: Untrusted,
}

/// A month of every service.
#[derive(Clone, Debug)]
pub struct SlaReport {
    agreement: Agreement,
    pub months: Vec<SlaMonth>,
    at: Timestamp,
}

impl SlaReport {
    pub fn markdown(&self) -> String {
        sla::report::markdown(&self.agreement, &self.months, self.at)
    }

    pub fn html(&self) -> String {
        sla::report::html(&self.agreement, &self.months, self.at)
    }
}

impl Desk {
    /// What was promised.
    pub fn agreement(&self) -> Result<Agreement> {
        let Some(path) = &self.settings.operate.sla else {
            return Err(DeskError::Usage(
                "nothing was promised: there is no sla.toml beside the settings file, and operate.sla names none"
                    .into(),
            ));
        };
        Agreement::load(path).map_err(|f| DeskError::Usage(f.to_string()))
    }

    /// A month (`2026-10`; without one, the present) of every service, or of one.
    pub fn sla_report(&self, month: Option<&str>, service: Option<&str>) -> Result<SlaReport> {
        let mut agreement = self.agreement()?;
        if let Some(name) = service {
            known(&agreement, name)?;
            agreement.services.retain(|s| s.name == name);
        }
        let at = Timestamp::now();
        let month = match month {
            Some(text) => text.parse().map_err(DeskError::Usage)?,
            None => Month::of(at, &agreement.zone),
        };
        let exclusions = self.exclusions()?;
        let (from, until) = month.bounds(&agreement.zone).map_err(DeskError::Usage)?;
        let mut months = Vec::new();
        for s in &agreement.services {
            let probes = self.probes_of(s, from, until)?;
            let judged = sla::evaluate(&agreement, s, month, &probes, &exclusions, at);
            months.push(judged.map_err(DeskError::Usage)?);
        }
        worst_first(&mut months);
        Ok(SlaReport { agreement, months, at })
    }

    /// The public status page, as data and as HTML.
    pub fn status_page(&self, title: Option<&str>) -> Result<(StatusPage, String)> {
        let agreement = self.agreement()?;
        let at = Timestamp::now();
        let exclusions = self.exclusions()?;
        let from = at - SignedDuration::from_hours(24 * (sla::status::DAYS + 1));
        let mut services = Vec::new();
        for s in agreement.services.iter().filter(|s| s.public) {
            let probes = self.probes_of(s, from, at + SignedDuration::from_secs(1))?;
            let public = sla::status::public(&agreement, s, &probes, &exclusions, at);
            services.push(public.map_err(DeskError::Usage)?);
        }
        let now = services.iter().map(|s| s.now).max().unwrap_or(sla::status::Now::Unknown);
        let page = StatusPage { title: title.unwrap_or("Status").to_owned(), at, now, services };
        let html = sla::status::html(&page, &agreement);
        Ok((page, html))
    }

    /// Asks each service once, now, and keeps nothing.
    pub async fn probe_once(&self) -> Result<Vec<(String, ProbeResult)>> {
        if self.exercise.is_some() {
            return Err(DeskError::Refused("a demo sends nothing anywhere".into()));
        }
        let agreement = self.agreement()?;
        let prober = Prober::new().map_err(DeskError::Unreachable)?;
        let mut out = Vec::new();
        for s in &agreement.services {
            out.push((s.name.clone(), prober.probe(s, Timestamp::now()).await));
        }
        Ok(out)
    }

    // --- exclusions --------------------------------------------------------------------------

    /// By when they were asked for.
    pub fn exclusions(&self) -> Result<Vec<Exclusion>> {
        let docs = self.store.docs(EXCLUSION, EXCLUSIONS_MAX)?;
        docs.iter().map(|d| read(&d.key, &d.body)).collect()
    }

    /// Asks for time that shall not count. It was announced when this is called: nobody can date it back.
    pub fn ask_exclusion(&self, by: &PersonId, draft: &ExclusionDraft) -> Result<Exclusion> {
        self.authorise(by)?;
        known(&self.agreement()?, &draft.service)?;
        if draft.until <= draft.from {
            return Err(DeskError::Usage("an exclusion ends after it begins".into()));
        }
        if draft.until.duration_since(draft.from) > SignedDuration::from_hours(24 * 31) {
            return Err(DeskError::Usage("an exclusion is of at most 31 days".into()));
        }
        if draft.reason.expose().trim().is_empty() {
            return Err(DeskError::Usage("an exclusion needs a reason".into()));
        }
        let now = Timestamp::now();
        let exclusion = Exclusion {
            id: ulid::Ulid::new().to_string(),
            service: draft.service.clone(),
            from: draft.from,
            until: draft.until,
            kind: draft.kind,
            reason: draft.reason.clone(),
            announced: now,
            asked_by: by.clone(),
            approved_by: None,
        };
        self.audit.append(Some(by), "sla.exclusion.ask", None, json!({ "exclusion": exclusion }), now)?;
        keep_exclusion(self.store.as_ref(), &exclusion, now)?;
        Ok(exclusion)
    }

    /// Says it shall not count: a commander or an approver, and not the one who asked.
    pub fn approve_exclusion(&self, by: &PersonId, id: &str) -> Result<Exclusion> {
        let person = self.authorise(by)?;
        let Some(doc) = self.store.doc(EXCLUSION, id)? else {
            return Err(DeskError::No(format!("no exclusion {id}: see `sla exclude list`")));
        };
        let mut exclusion = read(id, &doc.body)?;
        if !(person.has(Role::Commander) || person.has(Role::Approver)) {
            return Err(DeskError::Refused("an exclusion is approved by a commander or an approver".into()));
        }
        if exclusion.asked_by == *by {
            return Err(DeskError::Refused("you asked for it: somebody else must approve it".into()));
        }
        if let Some(who) = &exclusion.approved_by {
            return Err(DeskError::No(format!("{who} approved it already")));
        }
        exclusion.approved_by = Some(by.clone());
        let now = Timestamp::now();
        self.audit.append(Some(by), "sla.exclusion.approve", None, json!({ "exclusion": exclusion }), now)?;
        self.store.put_doc(EXCLUSION, id, &write(&exclusion)?, doc.rev, now)?;
        Ok(exclusion)
    }

    // --- probes ------------------------------------------------------------------------------

    /// Probes of a span and the ones just before it, oldest first. One that cannot be read is left out: a gap.
    fn probes_of(&self, service: &Service, from: Timestamp, until: Timestamp) -> Result<Vec<ProbeResult>> {
        let reach = SignedDuration::from_secs(2 * i64::from(service.interval_seconds));
        if let Some(probes) = self.demo_probes(service, from - reach, until) {
            return Ok(probes);
        }
        let entries = self.store.entries(PROBE, &service.name, from - reach, until, PROBES_MAX)?;
        Ok(entries.iter().filter_map(|e| serde_json::from_str(&e.body).ok()).collect())
    }

    fn keep_probe(&self, service: &str, result: &ProbeResult) -> Result<()> {
        self.store.add_entry(PROBE, service, &Entry { at: result.at, body: write(result)? })?;
        Ok(())
    }

    /// The present month into the reading; `seen` holds what was read before, so that only what is new is.
    fn read_sla(&self, agreement: &Agreement, seen: &mut Seen) -> Result<()> {
        let now = Timestamp::now();
        let month = Month::of(now, &agreement.zone);
        let (from, until) = month.bounds(&agreement.zone).map_err(DeskError::Usage)?;
        if seen.month != Some(month) {
            *seen = Seen { month: Some(month), probes: BTreeMap::new() };
        }
        let exclusions = self.exclusions()?;
        let mut months = Vec::new();
        for s in &agreement.services {
            let known = seen.probes.entry(s.name.clone()).or_default();
            // A probe is kept when it is over: one that began earlier may come after one that began later.
            let since = known.last().map_or(from, |p| p.at - SignedDuration::from_secs(600));
            let fresh = self.probes_of(s, since, until)?;
            if let Some(first) = fresh.first() {
                known.truncate(known.partition_point(|p| p.at < first.at));
                known.extend(fresh);
            }
            months.push(sla::evaluate(agreement, s, month, known, &exclusions, now).map_err(DeskError::Usage)?);
        }
        worst_first(&mut months);
        self.read_platform(|p| p.sla = months);
        Ok(())
    }
}

/// Keeps a new one.
pub(super) fn keep_exclusion(store: &dyn Store, exclusion: &Exclusion, now: Timestamp) -> Result<()> {
    store.put_doc(EXCLUSION, &exclusion.id, &write(exclusion)?, 0, now)?;
    Ok(())
}

/// What a process has read of the present month.
#[derive(Default)]
struct Seen {
    month: Option<Month>,
    probes: BTreeMap<String, Vec<ProbeResult>>,
}

fn worst_first(months: &mut [SlaMonth]) {
    let rank = |m: &SlaMonth| match m.met {
        Tri::Fail => 0,
        Tri::Unknown => 1,
        Tri::Pass => 2,
    };
    let uptime = |m: &SlaMonth| m.uptime.unwrap_or(0.0);
    months.sort_by(|a, b| rank(a).cmp(&rank(b)).then(uptime(a).total_cmp(&uptime(b))));
}

fn known(agreement: &Agreement, service: &str) -> Result<()> {
    if agreement.service(service).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = agreement.services.iter().map(|s| s.name.as_str()).collect();
    let meant = crate::config::fault::nearest(service, names.iter().copied());
    let meant = meant.map_or_else(|| format!("known: {}", names.join(", ")), |n| format!("did you mean {n}?"));
    Err(DeskError::Usage(format!("no service {service:?} in the agreement; {meant}")))
}

fn read(key: &str, body: &str) -> Result<Exclusion> {
    serde_json::from_str(body).map_err(|e| DeskError::Usage(format!("exclusion {key} cannot be read: {e}")))
}

fn write<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| DeskError::Usage(format!("cannot be written as JSON: {e}")))
}

/// Probes every service for as long as this process leads.
pub(super) async fn probes(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    // A demo sends nothing anywhere.
    if desk.settings.operate.sla.is_none() || desk.exercise.is_some() {
        return;
    }
    let (agreement, prober) = loop {
        match (desk.agreement(), Prober::new()) {
            (Ok(agreement), Ok(prober)) => break (agreement, prober),
            (Err(e), _) => tracing::warn!(error = %e, "no probes"),
            (_, Err(e)) => tracing::warn!(error = %e, "no probes"),
        }
        if stopped_within(&mut stop, AGAIN).await {
            return;
        }
    };
    let places = Arc::new(Semaphore::new(desk.settings.operate.parallel.max(1) as usize));
    let mut tasks = tokio::task::JoinSet::new();
    for (i, service) in agreement.services.into_iter().enumerate() {
        let (desk, stop, prober) = (Arc::clone(&desk), stop.clone(), prober.clone());
        // Not all in the same moment.
        let first = Duration::from_millis(50 * (i as u64 % 100));
        tasks.spawn(probe_service(desk, stop, prober, service, Arc::clone(&places), first));
    }
    tasks.spawn(forget(desk, stop));
    while tasks.join_next().await.is_some() {}
}

async fn probe_service(
    desk: Arc<Desk>,
    mut stop: watch::Receiver<bool>,
    prober: Prober,
    service: Service,
    places: Arc<Semaphore>,
    first: Duration,
) {
    let every = Duration::from_secs(u64::from(service.interval_seconds));
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let service = Arc::new(service);
    loop {
        tokio::select! {
            _ = stop.wait_for(|s| *s) => return,
            _ = ticks.tick() => {}
        }
        let result = {
            let Ok(_place) = places.acquire().await else { return };
            prober.probe(&service, Timestamp::now()).await
        };
        let (desk, of) = (Arc::clone(&desk), Arc::clone(&service));
        let kept = tokio::task::spawn_blocking(move || desk.keep_probe(&of.name, &result)).await;
        if let Ok(Err(e)) = kept {
            tracing::warn!(service = %service.name, error = %e, "a probe could not be kept: a gap");
        }
    }
}

async fn forget(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    while !stopped_within(&mut stop, Duration::from_secs(600)).await {
        let desk = Arc::clone(&desk);
        let before = Timestamp::now() - SignedDuration::from_hours(24 * KEPT_DAYS);
        let done = tokio::task::spawn_blocking(move || desk.store.drop_entries(PROBE, before, FORGET)).await;
        if let Ok(Err(e)) = done {
            tracing::warn!(error = %e, "old probes");
        }
    }
}

/// Keeps the present month of every service in this process's reading.
pub(super) async fn months(desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
    if desk.settings.operate.sla.is_none() {
        return;
    }
    // Often enough that a probe is seen soon after it was made.
    let pause = Duration::from_secs(desk.settings.operate.refresh_seconds.clamp(5, 60));
    let mut seen = Seen::default();
    loop {
        let reader = Arc::clone(&desk);
        let done = tokio::task::spawn_blocking(move || {
            let read = reader.agreement().and_then(|a| reader.read_sla(&a, &mut seen));
            (read, seen)
        });
        let Ok((read, kept)) = done.await else { return };
        seen = kept;
        let (state, detail) = match &read {
            Ok(()) => (SourceWord::Live, String::new()),
            Err(e) => (SourceWord::Unreadable, e.to_string()),
        };
        let now = Timestamp::now();
        let next_try = now.checked_add(SignedDuration::try_from(pause).unwrap_or_default()).ok();
        desk.read_platform(|p| {
            let old = p.sources.iter().position(|s| s.kind == "agreement").map(|i| p.sources.remove(i));
            let last_good = if read.is_ok() { Some(now) } else { old.and_then(|o| o.last_good) };
            p.sources.push(SourceState {
                name: "sla".into(),
                kind: "agreement".into(),
                state,
                detail: Untrusted::new(detail),
                last_good,
                next_try: next_try.filter(|_| read.is_err()),
            });
        });
        if stopped_within(&mut stop, pause).await {
            return;
        }
    }
}

#[cfg(test)]
#[path = "operate_sla_tests.rs"]
mod tests;
