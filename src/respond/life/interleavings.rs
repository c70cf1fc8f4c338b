//! A million lives of a request, with several people in two processes who all work from copies that may be old, and a
//! process that dies in between. Everything is decided by the code that decides for real ([`decide`], [`apply`],
//! [`agreed`]); what is made up is the world around it: a store that compares and sets, a log that only grows, a clock,
//! and who is on the roster. Beside it runs an oracle that knows nothing of that code: it reads only what was stored and
//! logged.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Facts, Filed, Said, Wish, agreed, apply, decide, fit};
use crate::model::action::{Means, Receipt, ReceiptState, Request, RequestBody, RequestState as S, Signed, Tier};
use crate::model::ids::PersonId;
use crate::model::person::{Person, Role, Roster};
use crate::respond::approve::{APPROVED, GLASS, INTENT, OUTCOME};
use crate::respond::policy::{Rules, TierRule};
use crate::respond::sign::Decision;
use crate::respond::testing;
use jiff::{SignedDuration, Timestamp};

const LIVES: usize = 1_000_000;
/// Things that happen in one life, at most.
const STEPS: usize = 26;
const PEOPLE: [(&str, &[Role]); 6] = [
    ("alice", &[Role::Analyst]),
    ("bob", &[Role::Lead]),
    ("carol", &[Role::Commander]),
    ("dora", &[Role::Approver]),
    ("erin", &[Role::Approver, Role::Analyst]),
    ("frank", &[Role::Auditor]),
];

/// xorshift64* (Vigna 2014): a test build has no time for better ones.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

/// What is the same in every life, made once.
struct Kit {
    ids: Vec<PersonId>,
    rules: Rules,
    roster: Rc<Roster>,
    /// By author (the first two people) and tier (the lower one first).
    drafts: [[Rc<Request>; 2]; 2],
    start: Timestamp,
}

impl Kit {
    fn new() -> Self {
        let ids: Vec<PersonId> = PEOPLE.iter().map(|p| PersonId::new(p.0).unwrap()).collect();
        let start = "2026-11-21T12:00:00Z".parse().unwrap();
        let draft = |author: usize, tier| Rc::new(draft_of(&ids[author], tier, start));
        let drafts = [0, 1].map(|author| [Tier::T1, Tier::T3].map(|tier| draft(author, tier)));
        let roster = Rc::new(Roster { people: (0..PEOPLE.len()).map(person).collect() });
        Self { rules: rules(), roster, drafts, start, ids }
    }
}

/// A record as far as anybody looks at it.
struct Record {
    request: usize,
    kind: &'static str,
    by: Option<usize>,
    digest: Rc<str>,
    at: Timestamp,
}

/// Somebody's work that is under way: what they read, what they want, how far they are.
struct Work {
    process: usize,
    request: usize,
    copy: Rc<Request>,
    wish: Wish,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Read, nothing done yet.
    Read,
    /// The record is written; the store is next.
    Recorded,
    /// The store let it begin; the intent is next.
    Begun,
    /// It runs.
    Running,
    /// The outcome is in the log; the store is next.
    Ended,
}

struct World<'k> {
    kit: &'k Kit,
    /// Present on the roster.
    roster: Rc<Roster>,
    /// Whose key is revoked.
    revoked: [bool; PEOPLE.len()],
    now: Timestamp,
    store: Vec<Rc<Request>>,
    log: Vec<Record>,
    work: Vec<Work>,
    /// Which process holds the lock of each request.
    leases: Vec<Option<usize>>,
    digests: u32,
    /// Processes that really start something, per request: what the oracle counts.
    started: Vec<u32>,
    seen: BTreeSet<(u8, u8, &'static str)>,
}

fn who(people: &[PersonId], p: Option<&PersonId>) -> Option<usize> {
    p.and_then(|p| people.iter().position(|x| x == p))
}

fn person(i: usize) -> Person {
    let (id, roles) = PEOPLE[i];
    testing::person(id, roles)
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    // Two tiers that differ in everything that counts here.
    rules.tiers.insert(Tier::T1, TierRule { approvals: Some(1), signed: Some(Means::Agent), ..TierRule::default() });
    rules.tiers.insert(Tier::T3, TierRule { approvals: Some(2), signed: Some(Means::Agent), ..TierRule::default() });
    rules
}

fn draft_of(by: &PersonId, tier: Tier, now: Timestamp) -> Request {
    let mut body = testing::body(&["h"]);
    body.requester = by.clone();
    body.tier = tier;
    body.commands = vec![];
    // A draft lives as long as what is asked may wait.
    (body.created, body.approve_by, body.execute_by) = (now, now + SignedDuration::from_mins(20), now);
    Request::new(body, "", S::Draft)
}

impl<'k> World<'k> {
    fn new(kit: &'k Kit, rng: &mut Dice) -> Self {
        let author = usize::from(rng.percent(20));
        Self {
            kit,
            roster: Rc::clone(&kit.roster),
            revoked: [false; PEOPLE.len()],
            now: kit.start,
            store: vec![Rc::clone(&kit.drafts[author][rng.below(2)])],
            log: vec![],
            work: vec![],
            leases: vec![None],
            digests: 0,
            started: vec![0],
            seen: BTreeSet::new(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts { people: &self.roster, rules: &self.kit.rules, leaving: &[], now: self.now }
    }

    /// What a signature is worth: nothing once its key is revoked. It says who made it, and for what.
    fn worth<'a>(
        &'a self,
        r: &'a Request,
    ) -> impl Fn(&PersonId, Option<&Signed>, Timestamp, Decision) -> Result<Means, String> + 'a {
        move |by, signed, _, decision| {
            let Some(s) = signed else { return Ok(Means::KeyPress) };
            let i = who(&self.kit.ids, Some(by)).unwrap_or(0);
            let right = s.statement.strip_prefix(&*r.digest).is_some_and(|d| d == format!(" {decision:?}"));
            if self.revoked[i] || s.signature != by.as_str() || !right {
                return Err(String::new());
            }
            Ok(Means::Agent)
        }
    }

    /// Whether it still is carried, asked as the start asks. `begun`: the store let it begin.
    fn carried(&self, request: usize, r: &Request, begun: bool) -> bool {
        let mine = self.log.iter().filter(|x| x.request == request);
        let said: Vec<Said<'_>> =
            mine.map(|x| Said { kind: x.kind, by: x.by.map(|b| &self.kit.ids[b]), digest: Some(&x.digest) }).collect();
        let worth = self.worth(r);
        if begun { agreed(r, &self.facts(), &said, &worth) } else { fit(r, &self.facts(), &said, &worth) }.is_ok()
    }

    fn record(&mut self, request: usize, wish: &Wish, digest: &str) {
        let by = who(&self.kit.ids, wish.by());
        self.log.push(Record { request, kind: wish.kind(), by, digest: digest.into(), at: self.now });
    }

    /// Compare and set: only over what was read.
    fn set(&mut self, request: usize, over: u64, wish: &Wish, state: S) -> bool {
        if self.store[request].rev != over {
            return false;
        }
        let before = self.store[request].state;
        let facts = Facts { people: &self.roster, rules: &self.kit.rules, leaving: &[], now: self.now };
        let r = Rc::make_mut(&mut self.store[request]);
        apply(r, wish, state, &facts);
        r.rev += 1;
        self.stored(request, before, wish);
        true
    }

    /// The oracle looks at each change of the store.
    fn stored(&mut self, request: usize, before: S, wish: &Wish) {
        let after = self.store[request].state;
        let what = word(wish);
        assert!(LEGAL.contains(&(before.word(), what, after.word())), "{before:?} {what} {after:?} is not legal");
        self.seen.insert((before.id() as u8, after.id() as u8, what));
    }

    /// The oracle looks at each start, from the log alone: who said what about these contents, who is there, whose key
    /// counts.
    fn starts(&mut self, request: usize) {
        self.started[request] += 1;
        assert_eq!(self.started[request], 1, "it started twice");
        let r = &self.store[request];
        let digest = r.digest.as_str();
        assert!(!digest.is_empty());
        let mine = || self.log.iter().filter(|x| x.request == request);
        assert!(
            !mine().any(|x| ["action.denied", "action.withdrawn", "action.expired", "action.void"].contains(&x.kind))
        );
        assert_eq!(mine().filter(|x| x.kind == INTENT).count(), 1);
        let there = |i: usize| self.roster.people.iter().any(|p| p.id == self.kit.ids[i]) && !self.revoked[i];
        let author = who(&self.kit.ids, Some(&r.body.requester)).unwrap();
        let in_time = |x: &&Record| *x.digest == *digest && x.at <= r.body.approve_by;
        let glass = mine().filter(in_time).filter(|x| x.kind == GLASS).filter_map(|x| x.by);
        // Carol and Bob are the only ones who may, and only for the lower tier.
        if glass.into_iter().any(|i| (i == 1 || i == 2) && there(i)) && r.body.tier == Tier::T1 {
            return;
        }
        let people: BTreeSet<usize> = mine()
            .filter(in_time)
            .filter(|x| x.kind == APPROVED)
            .filter_map(|x| x.by)
            .filter(|i| *i != author && (1..=4).contains(i) && there(*i))
            // Somebody may have been late with the store; who counts is who it holds.
            .filter(|i| r.approvals.iter().any(|a| a.by == self.kit.ids[*i]))
            .collect();
        let needed = match (r.body.reason.expose(), r.body.tier) {
            ("free", _) => 0,
            (_, Tier::T1) => 1,
            _ => 2,
        };
        assert!(people.len() >= needed, "{} of {needed} people", people.len());
        let executor = who(&self.kit.ids, r.executor.as_ref()).unwrap();
        assert!(r.body.tier < Tier::T3 || executor != author, "who asked started it");
        assert!(r.started.unwrap() <= r.body.execute_by);
    }
}

/// Every transition there is, written down and not computed.
const LEGAL: [(&str, &str, &str); 23] = [
    ("draft", "edit", "draft"),
    ("draft", "submit", "pending"),
    ("draft", "withdraw", "withdrawn"),
    ("draft", "expire", "expired"),
    ("pending", "approve", "pending"),
    ("pending", "approve", "approved"),
    ("pending", "glass", "approved"),
    ("pending", "deny", "denied"),
    ("pending", "withdraw", "withdrawn"),
    ("pending", "expire", "expired"),
    ("pending", "void", "stale"),
    ("pending", "ask", "pending"),
    ("pending", "answer", "pending"),
    ("approved", "deny", "denied"),
    ("approved", "withdraw", "withdrawn"),
    ("approved", "expire", "expired"),
    ("approved", "void", "stale"),
    ("approved", "ask", "approved"),
    ("approved", "answer", "approved"),
    ("approved", "begin", "executing"),
    ("executing", "end", "done"),
    ("executing", "end", "failed"),
    ("draft", "submit", "approved"),
];

fn word(wish: &Wish) -> &'static str {
    match wish {
        Wish::Edit { .. } => "edit",
        Wish::Submit { .. } => "submit",
        Wish::Approve { .. } => "approve",
        Wish::BreakGlass { .. } => "glass",
        Wish::Deny { .. } => "deny",
        Wish::Withdraw { .. } => "withdraw",
        Wish::Expire => "expire",
        Wish::Void { .. } => "void",
        Wish::Begin { .. } => "begin",
        Wish::End { .. } => "end",
        Wish::Ask { .. } => "ask",
        Wish::Answer { .. } => "answer",
        Wish::Climb { .. } => "climb",
        Wish::Ticket { .. } => "ticket",
    }
}

fn filed(body: &RequestBody, digest: u32, free: bool, now: Timestamp) -> Filed {
    let mut body = body.clone();
    let minutes = SignedDuration::from_mins;
    if free {
        (body.tier, body.reason) = (Tier::T0, "free".into());
    }
    body.approvals_needed = match body.tier {
        Tier::T0 => 0,
        Tier::T1 | Tier::T2 => 1,
        Tier::T3 => 2,
    };
    (body.created, body.approve_by, body.execute_by) = (now, now + minutes(20), now + minutes(35));
    Filed { body, digest: digest.to_string(), preview: vec![], findings: vec![] }
}

fn end(state: ReceiptState, at: Timestamp) -> Wish {
    let receipt = Receipt { target: "h".into(), state, changed: None, detail: "".into(), at };
    Wish::End { receipts: vec![receipt], note: None }
}

/// What somebody may take into their head.
fn wish(w: &mut World, rng: &mut Dice, who: usize, r: &Request) -> Wish {
    let by = w.kit.ids[who].clone();
    let digest = if rng.percent(3) { "0".to_owned() } else { r.digest.clone() };
    let signed =
        |decision: Decision| Signed { statement: format!("{} {decision:?}", r.digest), signature: by.to_string() };
    // Mostly what leads on from where it stands; anything at all now and then.
    let likely = match r.state {
        S::Draft => [0, 1, 1, 1, 1],
        S::Pending => [2, 2, 2, 2, 4],
        S::Approved => [3, 3, 3, 3, 2],
        _ => [2, 3, 5, 6, 8],
    };
    match if rng.percent(85) { likely[rng.below(5)] } else { rng.below(11) } {
        0 => Wish::Edit { body: Box::new(r.body.clone()), by },
        1 => {
            w.digests += 1;
            // A few need nobody, as reading does.
            let free = rng.percent(5);
            Wish::Submit { filed: Box::new(filed(&r.body, w.digests, free, w.now)), by }
        }
        2 => Wish::Approve { digest, means: Means::Agent, signed: Some(signed(Decision::Approve)), told: vec![], by },
        3 => Wish::Begin { digest, by },
        4 => {
            let signed = Some(signed(Decision::BreakGlass));
            Wish::BreakGlass { digest, reason: "x".into(), means: Means::Agent, signed, by }
        }
        5 => Wish::Deny { reason: "no".into(), by },
        6 => Wish::Withdraw { by },
        7 => Wish::Expire,
        8 => Wish::Void { why: "w".into() },
        9 => Wish::Ask { text: "?".into(), by },
        _ => Wish::Answer { text: "!".into(), by },
    }
}

/// Somebody reads, and wants something.
fn begin_work(w: &mut World, rng: &mut Dice) {
    let (process, request) = (rng.below(2), w.store.len() - 1 - usize::from(w.store.len() > 1 && rng.percent(30)));
    let copy = Rc::clone(&w.store[request]);
    // Mostly those who can do something.
    let author = who(&w.kit.ids, Some(&copy.body.requester)).unwrap_or(0);
    let someone = match copy.state {
        S::Draft if rng.percent(90) => author,
        _ => rng.below(PEOPLE.len()),
    };
    let wish = wish(w, rng, someone, &copy);
    w.work.push(Work { process, request, copy, wish, stage: Stage::Read });
}

/// One thing more of some work. True: it goes on later.
fn go_on(w: &mut World, rng: &mut Dice, job: &mut Work) -> bool {
    let i = job.request;
    match (job.stage, &job.wish) {
        (Stage::Read, Wish::Begin { .. }) => {
            // As `ready`: decided and looked at from the copy, under the lock.
            if w.leases[i].is_some_and(|p| p != job.process) || w.leases[i].is_some() {
                return false;
            }
            let now = Rc::clone(&w.store[i]);
            if decide(&now, &job.wish, &w.facts()).is_err() {
                return false;
            }
            if !w.carried(i, &now, false) {
                let void = Wish::Void { why: "w".into() };
                w.record(i, &void, &job.copy.digest);
                if let Ok(state) = decide(&w.store[i], &void, &w.facts()) {
                    let rev = w.store[i].rev;
                    w.set(i, rev, &void, state);
                }
                return false;
            }
            w.leases[i] = Some(job.process);
            job.copy = now;
            job.stage = Stage::Recorded;
            true
        }
        // The store's own one transaction.
        (Stage::Recorded, Wish::Begin { digest, .. }) => {
            let now = Rc::clone(&w.store[i]);
            let ok = now.may_begin(digest, None, w.now).is_ok();
            // What the transaction does is what the wish does.
            if ok && w.set(i, now.rev, &job.wish, S::Executing) {
                job.stage = Stage::Begun;
                return true;
            }
            w.leases[i] = None;
            false
        }
        (Stage::Begun, Wish::Begin { .. }) => {
            let begun = Rc::clone(&w.store[i]);
            if w.carried(i, &begun, true) {
                w.record(i, &job.wish, &begun.digest);
                w.starts(i);
                job.stage = Stage::Running;
                return true;
            }
            let skipped = end(ReceiptState::Skipped, w.now);
            close(w, i, &skipped);
            w.leases[i] = None;
            false
        }
        (Stage::Running, Wish::Begin { .. }) => {
            let how = if rng.percent(70) { ReceiptState::Done } else { ReceiptState::Failed };
            job.wish = end(how, w.now);
            w.record(i, &job.wish, &job.copy.digest);
            job.stage = Stage::Ended;
            true
        }
        (Stage::Ended, wish) => {
            close(w, i, wish);
            w.leases[i] = None;
            false
        }
        (Stage::Read, wish) => {
            // Decided from what was read, which may be old.
            if decide(&job.copy, wish, &w.facts()).is_err() {
                return false;
            }
            // A signature is looked at when it is given.
            if let Wish::Approve { by, signed, .. } | Wish::BreakGlass { by, signed, .. } = wish {
                let kind = if matches!(wish, Wish::Approve { .. }) { Decision::Approve } else { Decision::BreakGlass };
                if w.worth(&job.copy)(by, signed.as_ref(), w.now, kind).is_err() {
                    return false;
                }
            }
            let digest = if let Wish::Submit { filed, .. } = wish { &filed.digest } else { &job.copy.digest };
            w.record(i, wish, digest);
            job.stage = Stage::Recorded;
            true
        }
        (Stage::Recorded, wish) => {
            // Over what was read; if that is gone, decided again for what is there.
            let rev = w.store[i].rev;
            if let Ok(state) = decide(&w.store[i], wish, &w.facts()) {
                w.set(i, rev, wish, state);
                if matches!(wish, Wish::Withdraw { .. }) && rng.percent(50) && w.store.len() < 3 {
                    edited(w, i);
                }
            }
            false
        }
        (_, _) => false,
    }
}

/// An edit of what waits: it was withdrawn, and a draft names it.
fn edited(w: &mut World, i: usize) {
    let body = &w.store[i].body;
    let author = usize::from(body.requester != w.kit.ids[0]);
    w.store.push(Rc::clone(&w.kit.drafts[author][usize::from(body.tier == Tier::T3)]));
    w.leases.push(None);
    w.started.push(0);
}

fn close(w: &mut World, i: usize, wish: &Wish) {
    if let Ok(state) = decide(&w.store[i], wish, &w.facts()) {
        let rev = w.store[i].rev;
        w.set(i, rev, wish, state);
    }
}

/// A process dies with all it had under way; the other one, or the next, ends what it left.
fn restart(w: &mut World, process: usize) {
    w.work.retain(|j| j.process != process);
    for lease in &mut w.leases {
        if *lease == Some(process) {
            *lease = None;
        }
    }
    for i in 0..w.store.len() {
        if w.store[i].state != S::Executing || w.leases[i].is_some() {
            continue;
        }
        let logged = |kind| w.log.iter().any(|x| x.request == i && x.kind == kind);
        let how = if logged(INTENT) { ReceiptState::Unknown } else { ReceiptState::Skipped };
        let wish = end(how, w.now);
        if !logged(OUTCOME) {
            w.record(i, &wish, "");
        }
        close(w, i, &wish);
    }
}

/// Somebody leaves the roster, comes back, or loses their key.
fn revoke(w: &mut World, rng: &mut Dice) {
    let i = 1 + rng.below(PEOPLE.len() - 1);
    if rng.percent(50) {
        w.revoked[i] = !w.revoked[i];
        return;
    }
    let people = &mut Rc::make_mut(&mut w.roster).people;
    match people.iter().position(|p| p.id == w.kit.ids[i]) {
        Some(at) => drop(people.remove(at)),
        None => people.push(person(i)),
    }
}

fn live(kit: &Kit, rng: &mut Dice, seen: &mut BTreeSet<(u8, u8, &'static str)>) -> u32 {
    let mut w = World::new(kit, rng);
    for _ in 0..STEPS {
        match rng.below(100) {
            0..=41 => begin_work(&mut w, rng),
            42..=92 if !w.work.is_empty() => {
                let i = rng.below(w.work.len());
                let mut job = w.work.swap_remove(i);
                if go_on(&mut w, rng, &mut job) {
                    w.work.push(job);
                }
            }
            93..=94 => {
                let process = rng.below(2);
                restart(&mut w, process);
            }
            95..=96 => revoke(&mut w, rng),
            97..=99 => w.now += SignedDuration::from_secs(60 + rng.below(840) as i64),
            _ => {}
        }
        if w.store.iter().all(|r| r.state.is_final()) && w.work.is_empty() {
            break;
        }
    }
    seen.append(&mut w.seen);
    w.started.iter().sum()
}

#[test]
fn a_million_interleavings_start_nothing_twice_and_nothing_without_its_people() {
    const THREADS: usize = 4;
    let run = |n: usize| {
        move || {
            let kit = Kit::new();
            let mut rng = Dice(0x5EED_0000 + 7919 * n as u64);
            let (mut seen, mut ran) = (BTreeSet::new(), 0u64);
            for _ in 0..LIVES / THREADS {
                ran += u64::from(live(&kit, &mut rng, &mut seen));
            }
            (seen, ran)
        }
    };
    let parts: Vec<_> = std::thread::scope(|s| {
        let all: Vec<_> = (0..THREADS).map(|n| s.spawn(run(n))).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let started: u64 = parts.iter().map(|(_, ran)| ran).sum();
    let word = |id: u8| S::from_id(i64::from(id)).unwrap().word();
    let seen: BTreeSet<_> =
        parts.into_iter().flat_map(|(seen, _)| seen).map(|(a, b, what)| (word(a), what, word(b))).collect();
    let missing: Vec<_> = LEGAL.iter().filter(|t| !seen.contains(*t)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    // Enough of them came to a start for the rest to mean something.
    assert!(started > 50_000, "{started} starts in {LIVES} lives");
}
