//! Acting on what the platform's panes show. Nothing is done here: everything becomes a request that people approve.

use std::collections::BTreeMap;

use super::super::health;
use super::super::state::doc::{Doc, block};
use super::super::state::overlay::{FieldKind, Form, Pick, PickItem, Purpose, Trial};
use super::super::state::{Overlay, Sheet, State, own_words};
use super::super::theme::Role;
use super::super::words::{Said, say};
use super::{Effect, Out, approvals, open, submit};
use crate::desk::{Offer, OfferedAct};
use crate::model::action::{ActionDef, Draft, Executor, Request, RequestState, SnapshotVerb, Tried, VeleroVerb};
use crate::model::backup::{AssetStatus, EvidenceKind};
use crate::model::health::Tri;
use crate::model::rollout::{Rollout, RolloutVerb};

/// The name of the action that an abort is in the catalogue.
pub const ABORT: &str = "rollout-abort";

// --- rollouts ----------------------------------------------------------------------------------

/// What fits the rollout now; what does not, with why.
pub fn on_rollout(state: &mut State) {
    let Some(r) = health::rollout_in_hand(state) else { return };
    let tier = |action: &str| state.catalogue.iter().find(|a| a.name == action).map(|a| a.tier.word());
    let item = |o: Offer| {
        let label = health::offer_words(r, &o);
        // A catalogue of one's own may leave an act out.
        let tiers: Option<Vec<_>> = o.acts.iter().map(|a| tier(&a.action)).collect();
        let tier = tiers?.into_iter().max().unwrap_or_default();
        let (detail, disabled) = match &o.patch {
            Ok(patch) => (say!(tier, "  ", Said::of(patch)), None),
            Err(why) => (say!(tier), Some(Said::of(why))),
        };
        let mut acts = o.acts.into_iter();
        let first = acts.next();
        let (action, target, params) = first.map(|a| (a.action, a.target, a.params)).unwrap_or_default();
        let pick = Pick::ActOn { action, targets: vec![target], params, then: acts.collect() };
        Some(PickItem { pick, label, detail, disabled })
    };
    let items = state.platform.offers(r).into_iter().filter_map(item).collect();
    let title = say!("Propose for ", Said::of(&r.id.to_string()));
    open::pick(state, title, items, Vec::new());
}

/// One key: it is asked for at once, with what is known as its reason. What confirms it is what its tier demands.
pub fn abort(state: &mut State, out: &mut Out) {
    let Some(r) = health::rollout_in_hand(state).cloned() else { return };
    let offer = health::offer_of(state, &r, RolloutVerb::Abort);
    let acts = offer.map(|o| o.acts).unwrap_or_default();
    let asked = health::requests_about(state, &r).find(|q| is_abort(q, &acts)).cloned();
    if let Some(request) = asked {
        let run = request.state == RequestState::Approved;
        approvals::show(state, request, run, out);
        state.tell(Role::Warn, say!("its abort was asked for already: this is the request"));
        return;
    }
    if state.aborting {
        state.tell(Role::Warn, say!("an abort is being asked for"));
        return;
    }
    let Some(by) = state.my_id().cloned() else { return };
    let reason = own_words(why_abort(&r).as_str());
    let mut drafts = acts.iter().map(|a| a.draft(reason.clone()));
    let Some(mut draft) = drafts.next() else { return };
    let mut then: Vec<Draft> = drafts.collect();
    number(&mut draft, &mut then);
    state.aborting = true;
    state.tell(Role::Accent, say!("asking for the abort of ", Said::of(&r.id.name), ": the cluster tries it first"));
    out.push(Effect::Propose { by, draft, then });
}

/// Whether a request asks for what the abort key would: the abort itself, or one of the acts that are one.
fn is_abort(q: &Request, acts: &[OfferedAct]) -> bool {
    let same = |a: &OfferedAct| {
        q.body.action == a.action
            && q.body.targets == [a.target.as_str()]
            && a.params.iter().all(|(name, value)| q.body.params.get(name) == Some(value))
    };
    q.body.action == ABORT || acts.iter().any(same)
}

/// Says in the reasons of what belongs together which comes when.
pub fn number(first: &mut Draft, then: &mut [Draft]) {
    let all = then.len() + 1;
    if all == 1 {
        return;
    }
    for (i, draft) in std::iter::once(first).chain(then).enumerate() {
        draft.reason = own_words(say!(i + 1, " of ", all, ": ", Said::of(draft.reason.expose())).as_str());
    }
}

/// The reason an approver reads: where it stands and what speaks against it.
fn why_abort(r: &Rollout) -> Said {
    let mut said = say!("asked for with the abort key");
    if let Some(w) = r.set_weight {
        said.push(&say!(" at ", w, " %"));
    }
    let bad: Vec<_> = r.gates.iter().filter(|g| g.answer != Tri::Pass).collect();
    for g in bad.iter().take(3) {
        said.push(&say!("; ", Said::of(&g.name), " ", g.answer.word(), ": ", Said::of(&g.why)));
    }
    if let (true, Some((what, _))) = (bad.is_empty(), r.stuck.as_ref().filter(|_| !health::waits(r))) {
        said.push(&say!("; stuck: ", what));
    }
    said
}

/// Opens the newest open request about it.
pub fn its_request(state: &mut State, out: &mut Out) {
    let Some(r) = health::rollout_in_hand(state) else { return };
    let Some(request) = health::requests_about(state, r).next().cloned() else { return };
    let run = request.state == RequestState::Approved;
    approvals::show(state, request, run, out);
}

// --- backups -----------------------------------------------------------------------------------

/// An action takes, restores or tries only what lies where it works: in a cluster's Velero, or in this repository of
/// this OpenSearch.
fn fits(state: &State, a: &AssetStatus, def: &ActionDef) -> bool {
    let snapshots = state.snapshots.get(&a.asset.source);
    match &def.executor {
        Executor::Velero { .. } => state.velero.contains_key(&a.asset.source),
        Executor::OpensearchSnapshot { access, .. } => snapshots.is_some_and(|(url, repository)| {
            *repository == access.repository && url.trim_end_matches('/') == access.url.trim_end_matches('/')
        }),
        _ => snapshots.is_some(),
    }
}

/// What can be done about an asset: the catalogue's actions on backups, with what is known filled in.
pub fn on_backup(state: &mut State) {
    let Some(a) = health::asset_in_hand(state) else { return };
    let items: Vec<PickItem> = state
        .catalogue
        .iter()
        .filter(|def| health::is_backup_act(def) && fits(state, a, def))
        .map(|def| {
            let (targets, params) = known_of(state, a, &def.executor);
            let detail = say!(def.tier.word(), "  ", Said::of(&def.title));
            let pick = Pick::ActOn { action: def.name.clone(), targets, params, then: Vec::new() };
            open::item(pick, Said::of(&def.name), detail)
        })
        .collect();
    if items.is_empty() {
        let none = say!("no action of the catalogue works on ", Said::of(&a.asset.source), " (respond.catalogue)");
        return state.tell(Role::Dim, none);
    }
    let title = say!("Propose for ", Said::of(&a.asset.name));
    open::pick(state, title, items, Vec::new());
}

/// Targets and parameters that follow from the asset.
fn known_of(state: &State, a: &AssetStatus, what: &Executor) -> (Vec<String>, BTreeMap<String, String>) {
    let fresh = format!("manual-{}", state.now.strftime("%Y%m%d-%H%M%S"));
    let old = a.newest_good.clone().or_else(|| a.newest.clone()).unwrap_or_default();
    let mut params = BTreeMap::new();
    let mut know = |name: &str, value: String| drop(params.insert(name.to_owned(), value));
    match what {
        Executor::Velero { verb, .. } => {
            let name = if *verb == VeleroVerb::Take { &fresh } else { &old };
            let target = state.velero.get(&a.asset.source).map(|place| format!("{place}/{name}"));
            let first = a.asset.covers.first().cloned().unwrap_or_default();
            match verb {
                VeleroVerb::Take => know("namespaces", a.asset.covers.join(",")),
                VeleroVerb::Restore => {
                    know("from", first.clone());
                    know("into", first);
                }
                VeleroVerb::Drill => {
                    know("into", format!("{first}-drill"));
                    know("from", first);
                }
                VeleroVerb::Delete => {}
            }
            (target.into_iter().collect(), params)
        }
        Executor::OpensearchSnapshot { verb, .. } => {
            if *verb == SnapshotVerb::Delete {
                // Its targets are snapshots; which may go only a plan says (`backup prune`).
                return (Vec::new(), params);
            }
            know("snapshot", if *verb == SnapshotVerb::Take { fresh } else { old });
            (a.asset.covers.clone(), params)
        }
        _ => (a.asset.covers.clone(), params),
    }
}

/// What proves the backups of the asset, newest first.
pub fn evidence(state: &mut State) {
    let width = super::layout::sheet_size(state).0;
    let Some(a) = health::asset_in_hand(state) else { return };
    let mut doc = Doc::new(width);
    doc.text(0, &say!("A is restored in a drill, B has verified content, C is complete, D only says so."), Role::Dim);
    for g in &a.backups {
        let b = &g.backup;
        doc.heading(say!(Said::of(&b.id), "   ", g.grade.word()));
        for why in &g.why {
            doc.text(2, &Said::of(why), Role::Dim);
        }
        if b.evidence.is_empty() {
            doc.text(2, &say!("nothing proves it: nobody restored it or read it back"), Role::Warn);
        }
        let mut proofs: Vec<_> = b.evidence.iter().collect();
        proofs.sort_by_key(|e| std::cmp::Reverse(e.at));
        for e in proofs {
            let what = match e.what {
                EvidenceKind::Drill => "drill",
                EvidenceKind::Restore => "restore",
                EvidenceKind::Verify => "verified",
            };
            let (word, role) = if e.ok { ("worked", Role::Good) } else { ("FAILED", Role::Bad) };
            let took = e.took_seconds.map_or_else(Said::new, |s| say!(", took ", Said::span(s as i64)));
            doc.text(2, &say!(what, " ", word, "   ", Said::minute(e.at), took), role);
            doc.text(4, &block(&e.detail), Role::Text);
            if let Some(at) = &e.reference {
                doc.text(4, &say!("see ", Said::of(at)), Role::Dim);
            }
        }
    }
    if a.backups.is_empty() {
        doc.heading(say!("no backup of it was ever seen"));
    }
    let title = say!("Evidence for ", Said::of(&a.asset.name));
    state.overlays.push(Overlay::Sheet(Box::new(Sheet { title, doc, scroll: 0 })));
}

// --- tried before it is proposed ---------------------------------------------------------------

/// Whether an action of this kind is tried out while its form is filled in. What runs programs or calls others' web
/// hooks is not: that waits for the proposal.
pub fn is_tried(def: &ActionDef) -> bool {
    match def.executor {
        Executor::Ansible { .. } | Executor::Http { .. } | Executor::Ssh(_) => false,
        Executor::Demo { .. } => def.name.starts_with("rollout-") || health::is_backup_act(def),
        _ => true,
    }
}

/// Tries the form in front anew when what it would send is no longer what was tried. One at a time.
pub fn try_form(state: &mut State, out: &mut Out) {
    let by = state.my_id().cloned();
    let now = state.now;
    let (Some(form), Some(by)) = (trial_form(state), by) else { return };
    let (Purpose::Propose { action } | Purpose::ProposeStep { action, .. } | Purpose::EditRequest { action, .. }) =
        &form.purpose
    else {
        return;
    };
    let draft = submit::draft(form, action.clone(), "");
    let complete = form.fields.iter().all(|f| f.label == "reason" || !f.required || !is_empty(&f.kind));
    let Some(trial) = &mut form.trial else { return };
    if trial.draft != draft {
        (trial.draft, trial.result, trial.since) = (draft, None, now);
    }
    if complete && trial.result.is_none() && !trial.in_flight {
        trial.in_flight = true;
        out.push(Effect::TryOut { by, draft: trial.draft.clone() });
    }
}

fn is_empty(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text(i) => i.text().trim().is_empty(),
        FieldKind::Choice { chosen, .. } => chosen.is_none(),
    }
}

fn trial_form(state: &mut State) -> Option<&mut Form> {
    state.overlays.iter_mut().rev().find_map(|o| match o {
        Overlay::Form(f) if f.trial.is_some() => Some(&mut **f),
        _ => None,
    })
}

/// The answer of a trial; when the form says something else by now, that is tried next.
pub fn tried(state: &mut State, draft: &Draft, result: Result<Box<Tried>, Said>, out: &mut Out) {
    if let Some(trial) = trial_form(state).and_then(|f| f.trial.as_mut()) {
        trial.in_flight = false;
        if trial.draft == *draft {
            trial.result = Some(result);
        }
    }
    try_form(state, out);
}

/// What keeps a form from being sent: the trial is not done, or it failed.
pub fn not_tried(trial: &Trial) -> Option<Said> {
    match &trial.result {
        None => Some(say!("what it would do is still being found out")),
        Some(Err(_)) => Some(say!("it cannot be proposed like this: see above")),
        Some(Ok(t)) if t.findings.iter().any(|f| f.refuses) => Some(say!("it would be refused: see above")),
        Some(Ok(_)) => None,
    }
}
