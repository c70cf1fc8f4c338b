//! One backup's grade, by proof. Pure; every reason in words, worst first.
//!
//! Taking facts away never makes a backup good: what a source does not tell is not assumed. An expiry left out means
//! that it does not expire.

use jiff::SignedDuration;
use jiff::Timestamp;

use super::schedule::Cron;
use super::schedule::span;
use crate::model::backup::Asset;
use crate::model::backup::Backup;
use crate::model::backup::BackupPhase;
use crate::model::backup::Evidence;
use crate::model::backup::EvidenceKind;
use crate::model::backup::Grade;
use crate::model::backup::Graded;
use crate::model::health::Tri;
use crate::text::clean;

/// Clocks may differ by this many seconds.
const SKEW: i64 = 120;

/// Reasons by how much they weigh.
#[derive(Default)]
struct Reasons {
    bad: Vec<String>,
    unknown: Vec<String>,
    /// Why it is a claim only.
    claims: Vec<String>,
    notes: Vec<String>,
}

/// Grades `backup` for what `asset` wants. `peers` are the asset's other backups (itself may be among them): one that
/// expires before another good one stands is of no use.
pub fn grade(backup: &Backup, asset: &Asset, peers: &[Backup], now: Timestamp) -> Graded {
    let mut r = Reasons::default();
    own(backup, asset, now, &mut r);
    if r.bad.is_empty() && r.unknown.is_empty() {
        succession(backup, asset, peers, now, &mut r);
    }
    let proven = proof(backup, asset, now, &mut r);
    let grade = if !r.bad.is_empty() {
        Grade::Bad
    } else if !r.unknown.is_empty() {
        Grade::Unknown
    } else if !r.claims.is_empty() {
        Grade::D
    } else {
        proven.unwrap_or(Grade::C)
    };
    let Reasons { bad, unknown, claims, notes } = r;
    let why = bad.into_iter().chain(unknown).chain(claims).chain(notes).collect();
    Graded { backup: backup.clone(), grade, why }
}

fn own(b: &Backup, asset: &Asset, now: Timestamp, r: &mut Reasons) {
    presence(b, r);
    phase(b, r);
    times(b, now, r);
    content(b, asset, now, r);
    covers(b, asset, r);
    if b.warnings > 0 {
        r.notes.push(format!("{} warnings", b.warnings));
    }
    if let Some(held) = &b.held {
        r.notes.push(format!("held: {held}"));
    }
}

fn presence(b: &Backup, r: &mut Reasons) {
    if let Some(since) = b.gone_since {
        r.bad.push(format!("gone: its source no longer has it since {since}"));
    }
    match (b.location_reachable, &b.location) {
        (Tri::Fail, l) => r.bad.push(format!("its location {} is unavailable", l.as_deref().unwrap_or("(not named)"))),
        (Tri::Unknown, _) => r.claims.push("whether its location can be reached is not known".into()),
        (Tri::Pass, None) => r.claims.push("where it is kept is not told".into()),
        (Tri::Pass, Some(_)) => {}
    }
}

fn phase(b: &Backup, r: &mut Reasons) {
    let said = if b.said.is_empty() { String::new() } else { format!(": {}", clean(&b.said)) };
    match b.phase {
        BackupPhase::Failed => r.bad.push(format!("failed{said}")),
        BackupPhase::Partial => r.bad.push(format!("partial{said}")),
        BackupPhase::Deleting => r.bad.push(format!("is being deleted{said}")),
        BackupPhase::Running => r.unknown.push("still running: nothing is proven yet".into()),
        BackupPhase::Unknown => r.unknown.push(format!("what became of it is not known{said}")),
        BackupPhase::Completed if b.errors > 0 => r.bad.push(format!("{} errors{said}", b.errors)),
        BackupPhase::Completed => {}
    }
}

fn times(b: &Backup, now: Timestamp, r: &mut Reasons) {
    let late = now.checked_add(SignedDuration::from_secs(SKEW)).unwrap_or(now);
    match (b.start, b.end) {
        (None, _) => r.unknown.push("when it was begun is not told".into()),
        (Some(s), _) if s > late => r.bad.push(format!("begins in the future, at {s}")),
        (Some(s), Some(e)) if s > e => r.bad.push(format!("ends at {e}, before it begins at {s}")),
        (Some(_), Some(e)) if e > late => r.bad.push(format!("ends in the future, at {e}")),
        _ => {}
    }
    if b.expires.is_some_and(|e| e <= now) {
        r.bad.push("expired".into());
    }
}

fn content(b: &Backup, asset: &Asset, now: Timestamp, r: &mut Reasons) {
    // What it has so far says nothing of what it will have.
    if matches!(b.phase, BackupPhase::Running | BackupPhase::Unknown) {
        return;
    }
    let counted = |n: Option<(u64, u64)>, what: &str, r: &mut Reasons| match n {
        Some((all, done)) if done < all => r.bad.push(format!("partial: {done} of {all} {what}")),
        Some((all, done)) if done > all => r.bad.push(format!("{done} of {all} {what}: the count cannot be")),
        _ => {}
    };
    counted(b.items, "items", r);
    counted(b.volumes, "volumes", r);
    if b.items.is_some_and(|(all, _)| all == 0) {
        r.bad.push("empty: zero items in it".into());
    }
    if b.bytes == Some(0) {
        r.bad.push("empty: zero bytes".into());
    }
    if asset.volumes && b.volumes.is_some_and(|(all, _)| all == 0) {
        r.bad.push("empty: zero volumes in it, and its volumes are wanted".into());
    }
    // A drill that worked shows that what is needed was there.
    let worked = |kind| latest(b, kind, now).is_some_and(|e| e.ok) && whole(b, asset, kind, now);
    if worked(EvidenceKind::Drill) {
        return;
    }
    if asset.volumes && b.volumes.is_none() {
        r.claims.push("whether its volumes are in it is not told".into());
    }
    let proven = [EvidenceKind::Restore, EvidenceKind::Verify].into_iter().any(worked);
    if !proven && b.items.is_none() && b.bytes.is_none() {
        r.claims.push("neither its items nor its size are told".into());
    }
    if !proven && b.end.is_none() {
        r.claims.push("when it ended is not told".into());
    }
}

fn covers(b: &Backup, asset: &Asset, r: &mut Reasons) {
    if asset.covers.is_empty() {
        return;
    }
    if b.covers.is_empty() {
        r.claims.push("what is in it is not told".into());
        return;
    }
    let lacking: Vec<&str> = asset.covers.iter().filter(|w| !is_covered(w, b)).map(String::as_str).collect();
    if !lacking.is_empty() {
        r.bad.push(format!("does not cover {}", lacking.join(", ")));
    }
}

/// `wanted` may hold `*`. A backup that says `*` has everything of its source in it.
pub fn is_covered(wanted: &str, b: &Backup) -> bool {
    b.covers.iter().any(|c| c.expose() == "*" || fits(wanted, c.expose()))
}

/// `*` is any run of characters; case matters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// The newest evidence of a kind that can speak of this backup: after its start, not in the future.
pub fn latest(b: &Backup, kind: EvidenceKind, now: Timestamp) -> Option<&Evidence> {
    let start = b.start?;
    // Of two at one time the failed one counts.
    b.evidence
        .iter()
        .filter(|e| e.what == kind && e.at >= start && e.at.as_second() <= now.as_second() + SKEW)
        .max_by_key(|e| (e.at, !e.ok))
}

/// Whether what was looked at with success, taken together, is all that is wanted.
fn whole(b: &Backup, asset: &Asset, kind: EvidenceKind, now: Timestamp) -> bool {
    let speaks = |e: &&Evidence| {
        e.what == kind && e.ok && b.start.is_some_and(|s| e.at >= s) && e.at.as_second() <= now.as_second() + SKEW
    };
    let seen: Vec<&Evidence> = b.evidence.iter().filter(speaks).collect();
    let looked = |wanted: &str| seen.iter().any(|e| e.covers.iter().any(|c| fits(wanted, c.expose())));
    if seen.iter().any(|e| e.covers.is_empty()) {
        return true;
    }
    match asset.covers.is_empty() {
        true => !b.covers.is_empty() && b.covers.iter().all(|c| c.expose() != "*" && looked(c.expose())),
        false => asset.covers.iter().all(|w| looked(w)),
    }
}

/// What was proven, if anything; a proof that failed makes it bad, whatever worked before it.
fn proof(b: &Backup, asset: &Asset, now: Timestamp, r: &mut Reasons) -> Option<Grade> {
    let kinds = [
        (EvidenceKind::Drill, Grade::A, "restored in a drill", "its newest drill failed"),
        (EvidenceKind::Restore, Grade::B, "restored", "its newest restore failed"),
        (EvidenceKind::Verify, Grade::B, "content verified", "its newest verification failed"),
    ];
    let mut best = None;
    for (kind, grade, good, failed) in kinds {
        let Some(e) = latest(b, kind, now) else { continue };
        if e.ok && !whole(b, asset, kind, now) {
            let what: Vec<String> = e.covers.iter().map(|c| clean(c).as_str().to_owned()).collect();
            r.notes.push(format!("only {} of it {good} at {}", what.join(", "), e.at));
        } else if e.ok {
            best = best.or(Some(grade));
            r.notes.push(format!("{good} at {}", e.at));
        } else {
            let detail = if e.detail.is_empty() { String::new() } else { format!(": {}", clean(&e.detail)) };
            r.bad.insert(0, format!("{failed} at {}{detail}", e.at));
        }
    }
    best
}

/// Whether another good one will stand when this one expires.
fn succession(b: &Backup, asset: &Asset, peers: &[Backup], now: Timestamp, r: &mut Reasons) {
    let (Some(expires), Some(start)) = (b.expires, b.start) else { return };
    let outlives =
        |p: &&Backup| p.id != b.id && p.expires.is_none_or(|e| e > expires) && p.start.is_some_and(|s| s >= start);
    let stands = |p: &Backup| {
        let mut own_reasons = Reasons::default();
        own(p, asset, now, &mut own_reasons);
        own_reasons.bad.is_empty() && own_reasons.unknown.is_empty() && own_reasons.claims.is_empty()
    };
    if peers.iter().filter(outlives).any(stands) {
        return;
    }
    let cron = asset.schedule.as_deref().and_then(|s| Cron::parse(s, &asset.zone).ok());
    let took = b.end.map_or(SignedDuration::ZERO, |e| e.duration_since(start));
    let next = match cron {
        Some(cron) => cron.next(start, Some(start)),
        None => {
            i64::try_from(asset.rpo_seconds).ok().and_then(|s| start.checked_add(SignedDuration::from_secs(s)).ok())
        }
    };
    let Some(next) = next.and_then(|n| n.checked_add(took).ok()) else { return };
    if expires < next {
        let short = span(next.duration_since(expires).as_secs_f64());
        r.bad.push(format!("expires at {expires}, {short} before the next one can stand"));
    }
}
