//! How an asset stands against its objective. Pure: what was read, what was kept, and the time.

use jiff::SignedDuration;
use jiff::Timestamp;

use super::config::AssetConfig;
use super::config::Config;
use super::grade::grade;
use super::schedule::Cron;
use super::schedule::span;
use super::source::Schedule;
use crate::model::backup::AssetStatus;
use crate::model::backup::Backup;
use crate::model::backup::Copies;
use crate::model::backup::EvidenceKind;
use crate::model::backup::Grade;
use crate::model::backup::Graded;
use crate::model::health::SourceState;
use crate::model::health::SourceWord;
use crate::model::health::Tri;
use crate::text::clean;

/// A drill older than this proves nothing about tonight.
pub const DRILL_STALE_DAYS: i64 = 35;
/// A run is missed only this long after it was due, in seconds.
const GRACE: i64 = 300;
/// Drills the restore time is taken from.
const DRILLS: usize = 3;

/// What is known of all sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Of every source, with what history adds.
    pub backups: &'a [Backup],
    pub schedules: &'a [(String, Schedule)],
    pub sources: &'a [SourceState],
}

/// Every asset, worst first.
pub fn all(config: &Config, known: Known<'_>, now: Timestamp) -> Vec<AssetStatus> {
    let mut out: Vec<AssetStatus> = config.assets.iter().map(|a| status(a, config, known, now)).collect();
    out.sort_by(|a, b| badness(b).total_cmp(&badness(a)).then_with(|| a.asset.name.cmp(&b.asset.name)));
    out
}

/// Whether nothing is missed and nothing is unknown.
pub fn verdict(s: &AssetStatus) -> Tri {
    // A restore time nobody measured lately is unknown, and says so; without any drill the answer stays "not known".
    s.rpo.and(s.rto)
}

fn badness(s: &AssetStatus) -> f64 {
    let word = |t: Tri| match t {
        Tri::Fail => 2.0,
        Tri::Unknown => 1.0,
        Tri::Pass => 0.0,
    };
    let used = s.rpo_actual_seconds.map_or(1.0, |a| (a / s.asset.rpo_seconds.max(1) as f64).clamp(0.0, 1e6) / 1e6);
    word(s.rpo) * 100.0 + word(s.rto) * 10.0 + used
}

/// One asset.
pub fn status(config: &AssetConfig, all: &Config, known: Known<'_>, now: Timestamp) -> AssetStatus {
    let asset = &config.asset;
    let own = |b: &&Backup| b.source == asset.source || config.copies.contains(&b.source);
    let concerns = |b: &&Backup| {
        asset.covers.is_empty() || b.covers.is_empty() || asset.covers.iter().any(|w| super::grade::is_covered(w, b))
    };
    let peers: Vec<Backup> = known.backups.iter().filter(own).filter(concerns).cloned().collect();
    let mut graded: Vec<Graded> = peers.iter().map(|b| grade(b, asset, &peers, now)).collect();
    graded.sort_by(|a, b| b.backup.start.cmp(&a.backup.start).then_with(|| a.backup.id.cmp(&b.backup.id)));
    let source = known.sources.iter().find(|s| s.name == asset.source);
    let good = graded.iter().find(|g| g.grade.is_good());
    let newest = graded.first();
    let rpo = rpo(asset.rpo_seconds, good, &graded, source, now);
    let drills = Drills::of(&graded, asset.rto_seconds, now);
    let due = Due::of(config, known, &graded, newest.and_then(|n| n.backup.start), now);
    let mut why = rpo.why.clone();
    why.extend(due.why.iter().cloned());
    why.extend(newest.filter(|n| !n.grade.is_good()).and_then(|n| n.why.first()).map(|w| format!("newest: {w}")));
    why.extend(drills.why.clone());
    let copies = copies(config, all, &graded);
    why.extend(three_two_one(copies));
    AssetStatus {
        asset: asset.clone(),
        at: now,
        grade: good.or(newest).map_or(Grade::Unknown, |g| g.grade),
        newest_good: good.map(|g| g.backup.id.clone()),
        newest: newest.map(|g| g.backup.id.clone()),
        rpo_actual_seconds: rpo.actual,
        rpo: rpo.word,
        rto_actual_seconds: drills.took,
        rto: drills.word,
        drilled: drills.newest,
        drill_stale: drills.newest.is_some_and(|n| stale(n, now)),
        next_run: due.next,
        next_breach: rpo.breach,
        expires: good.and_then(|g| g.backup.expires),
        copies,
        why,
        backups: graded,
    }
}

struct Rpo {
    actual: Option<f64>,
    word: Tri,
    breach: Option<Timestamp>,
    why: Vec<String>,
}

fn rpo(goal: u64, good: Option<&Graded>, graded: &[Graded], source: Option<&SourceState>, now: Timestamp) -> Rpo {
    let live = source.is_some_and(|s| s.state == SourceWord::Live);
    let blind = |s: Option<&SourceState>| match s {
        Some(s) if s.detail.is_empty() => format!("source {} is {}", s.name, s.state.word()),
        Some(s) => format!("source {} is {}: {}", s.name, s.state.word(), clean(&s.detail)),
        None => "its source was not asked yet".into(),
    };
    let start = good.and_then(|g| g.backup.start);
    let Some(start) = start else {
        // What could still turn out good leaves it open; else there is nothing.
        let open = !live || graded.iter().any(|g| g.grade == Grade::Unknown && g.backup.gone_since.is_none());
        let claims = graded.iter().filter(|g| g.grade == Grade::D).count();
        let mut why = Vec::new();
        if !live {
            why.push(blind(source));
        }
        why.push(match (graded.len(), claims) {
            (0, _) => "there is no backup of it".into(),
            (_, 0) => "there is no good backup of it".to_owned(),
            (_, n) => format!("there is no good backup of it, only {n} that claim to be"),
        });
        return Rpo { actual: None, word: if open { Tri::Unknown } else { Tri::Fail }, breach: None, why };
    };
    let actual = now.duration_since(start).as_secs_f64().max(0.0);
    let breach = i64::try_from(goal).ok().and_then(|g| start.checked_add(SignedDuration::from_secs(g)).ok());
    let met = actual <= goal as f64;
    let word = match (met, live) {
        (true, true) => Tri::Pass,
        (false, true) => Tri::Fail,
        (_, false) => Tri::Unknown,
    };
    let mut why = Vec::new();
    if !live {
        why.push(blind(source));
    }
    if !met {
        why.push(format!("would lose {}, may lose {}", span(actual), span(goal as f64)));
    }
    Rpo { actual: Some(actual), word, breach: breach.filter(|b| *b > now), why }
}

fn stale(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) > SignedDuration::from_hours(DRILL_STALE_DAYS * 24)
}

struct Drills {
    took: Option<f64>,
    word: Tri,
    newest: Option<Timestamp>,
    why: Vec<String>,
}

impl Drills {
    /// The slowest of the newest three that worked; the newest one that failed is what counts until one works.
    fn of(graded: &[Graded], goal: u64, now: Timestamp) -> Self {
        let mut drills: Vec<_> = graded
            .iter()
            .flat_map(|g| &g.backup.evidence)
            .filter(|e| e.what == EvidenceKind::Drill && e.at.as_second() <= now.as_second() + 120)
            .collect();
        drills.sort_by_key(|e| std::cmp::Reverse(e.at));
        let Some(newest) = drills.first() else {
            return Self { took: None, word: Tri::Unknown, newest: None, why: vec!["never drilled".into()] };
        };
        let took = drills.iter().filter(|e| e.ok).filter_map(|e| e.took_seconds).take(DRILLS).reduce(f64::max);
        let (word, why) = match took {
            _ if !newest.ok => (Tri::Fail, Some(format!("the newest drill failed at {}", newest.at))),
            _ if stale(newest.at, now) => {
                let age = span(now.duration_since(newest.at).as_secs_f64());
                (Tri::Unknown, Some(format!("last drilled {age} ago, more than {DRILL_STALE_DAYS} days")))
            }
            None => (Tri::Unknown, Some("no drill says how long it took".into())),
            Some(t) if t > goal as f64 => {
                (Tri::Fail, Some(format!("a restore took {}, may take {}", span(t), span(goal as f64))))
            }
            Some(_) => (Tri::Pass, None),
        };
        Self { took, word, newest: Some(newest.at), why: why.into_iter().collect() }
    }
}

struct Due {
    next: Option<Timestamp>,
    why: Vec<String>,
}

impl Due {
    fn of(
        config: &AssetConfig,
        known: Known<'_>,
        graded: &[Graded],
        newest: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let asset = &config.asset;
        let theirs = graded.iter().find_map(|g| g.backup.schedule.as_ref()).and_then(|name| {
            known.schedules.iter().find(|(source, s)| *source == asset.source && s.name == *name).map(|(_, s)| s)
        });
        let mut why = Vec::new();
        if theirs.is_some_and(|s| s.paused) {
            why.push("its schedule is paused".to_owned());
        }
        if let Some(s) = theirs.filter(|s| s.failing) {
            why.push(format!("its schedule fails: {}", clean(&s.said)));
        }
        let parsed = match (&asset.schedule, theirs) {
            (Some(own), _) => Cron::parse(own, &asset.zone),
            (None, Some(s)) => Cron::parse(s.expression.expose(), s.zone.as_deref().unwrap_or("UTC")),
            (None, None) => return Self { next: None, why },
        };
        let cron = match parsed {
            Ok(cron) => cron,
            Err(e) => {
                why.push(format!("its schedule cannot be read: {e}"));
                return Self { next: None, why };
            }
        };
        let last = newest.or_else(|| theirs.and_then(|s| s.last_run));
        let missed = last.map_or(0, |last| {
            // The run that made the newest backup was due a little before it began.
            let from = last.checked_add(SignedDuration::from_secs(1)).unwrap_or(last);
            let until = now.checked_sub(SignedDuration::from_secs(GRACE)).unwrap_or(now);
            cron.due(from, until)
        });
        if missed > 0 {
            why.push(format!("{missed} {} missed", if missed == 1 { "run" } else { "runs" }));
        }
        let goal = asset.rpo_seconds as f64;
        let takes = usual(graded);
        if let Some(pause) = cron.longest_pause(now)
            && pause + takes > goal
        {
            let and = if takes >= 1.0 { format!(" and a run takes {}", span(takes)) } else { String::new() };
            why.push(format!(
                "its schedule cannot keep the objective: up to {} between runs{and}, may lose {}",
                span(pause),
                span(goal)
            ));
        }
        let next = cron.next(now, last).filter(|_| !theirs.is_some_and(|s| s.paused));
        if next.is_none() && why.is_empty() {
            why.push("its schedule never runs again".into());
        }
        Self { next, why }
    }
}

/// How long one takes: the median of the newest nine good ones, in seconds.
fn usual(graded: &[Graded]) -> f64 {
    let took = |g: &Graded| Some(g.backup.end?.duration_since(g.backup.start?).as_secs_f64());
    let mut all: Vec<f64> = graded.iter().filter(|g| g.grade.is_good()).filter_map(took).take(9).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

/// The original and one copy for each place that has a good backup; places nobody described leave media and off-site
/// copies unknown unless enough are known without them.
fn copies(config: &AssetConfig, all: &Config, graded: &[Graded]) -> Copies {
    let mut places: Vec<(&str, &str)> = graded
        .iter()
        .filter(|g| g.grade.is_good())
        .map(|g| (g.backup.source.as_str(), g.backup.location.as_deref().unwrap_or(&g.backup.source)))
        .collect();
    places.sort_unstable();
    places.dedup();
    let facts: Vec<_> = places.iter().map(|(s, l)| all.locations.get(*l).or_else(|| all.locations.get(*s))).collect();
    let mut media: Vec<Option<&str>> = facts.iter().map(|f| f.and_then(|f| f.medium.as_deref())).collect();
    media.push(config.medium.as_deref());
    let unknown = media.iter().any(Option::is_none);
    let mut media: Vec<&str> = media.into_iter().flatten().collect();
    media.sort_unstable();
    media.dedup();
    let kinds = u32::try_from(media.len()).ok();
    let away = facts.iter().filter(|f| f.and_then(|f| f.offsite) == Some(true)).count();
    let dark = facts.iter().any(|f| f.and_then(|f| f.offsite).is_none());
    Copies {
        copies: u32::try_from(places.len() + 1).ok(),
        media: kinds.filter(|n| !unknown || *n >= 2),
        offsite: u32::try_from(away).ok().filter(|n| !dark || *n >= 1),
    }
}

fn three_two_one(c: Copies) -> Option<String> {
    let met = [(c.copies, 3), (c.media, 2), (c.offsite, 1)];
    if met.iter().all(|(n, want)| n.is_some_and(|n| n >= *want)) {
        return None;
    }
    let word = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    Some(format!("3-2-1 is {}-{}-{}", word(c.copies), word(c.media), word(c.offsite)))
}
