//! Drafts, broken glass, questions, the ladder, policy and roster as requests, and what two processes do to each other.

use watchfloor::model::action::Governed;
use watchfloor::model::course::MessageKind;
use watchfloor::respond::govern;
use watchfloor::respond::notify::from_audit::bulletin;

use super::*;

const ROSTER: &str = r#"
[[people]]
id = "alice"
roles = ["analyst"]
[[people]]
id = "bob"
roles = ["lead", "approver"]
[[people]]
id = "carol"
roles = ["commander", "approver"]
[[people]]
id = "erin"
roles = ["approver"]
"#;

/// A desk whose roster is a file.
fn with_roster(dir: &Path, policy: &str) -> Desk {
    fs::write(dir.join("roster.toml"), ROSTER).unwrap();
    desk(dir, DEMO, policy)
}

fn without(who: &str) -> String {
    let parts = ROSTER.split("[[people]]").filter(|p| !p.contains(&format!("\"{who}\"")) && !p.trim().is_empty());
    parts.map(|p| format!("[[people]]{p}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_its_authors_until_it_is_submitted() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "[[protect]]\ntargets = [\"dc*\"]\nwhy = \"by hand\"\n");
    let r = &d.responder;
    let kept = r.keep_draft(&id("alice"), draft("isolate", &["dc1"], &[]), now()).unwrap();
    assert_eq!((kept.state, kept.digest.as_str()), (RequestState::Draft, ""));
    refused(r.edit(&id("bob"), &kept.body.id, draft("isolate", &["web1"], &[]), now()), "alice's draft");
    refused(r.submit(&id("bob"), &kept.body.id, now()).await, "alice's draft");
    // The policy is asked when it is submitted, and the draft stays.
    refused(r.submit(&id("alice"), &kept.body.id, now()).await, "protected: dc1");
    assert!(r.approve(&id("bob"), &kept.body.id, "", now()).is_err());
    assert_eq!(d.state(&kept), RequestState::Draft);
    let edited = r.edit(&id("alice"), &kept.body.id, draft("isolate", &["web1"], &[]), now()).unwrap();
    assert_eq!((edited.state, edited.body.targets), (RequestState::Draft, vec!["web1".to_owned()]));
    let waits = r.submit(&id("alice"), &kept.body.id, now()).await.unwrap();
    assert_eq!((waits.state, &waits.body.id), (RequestState::Pending, &kept.body.id));
    assert!(!waits.preview.is_empty() && waits.digest.len() == 64);
    let approved = r.approve(&id("bob"), &waits.body.id, &waits.digest, now()).unwrap();
    assert_eq!(approved.state, RequestState::Approved);
    // An edit of what is approved takes it back: nothing of the approval is left.
    let new = r.edit(&id("alice"), &waits.body.id, draft("isolate", &["web2"], &[]), now()).unwrap();
    assert_eq!((new.state, new.body.replaces.as_ref()), (RequestState::Draft, Some(&waits.body.id)));
    assert_eq!(d.state(&waits), RequestState::Withdrawn);
    assert!(matches!(d.execute(&waits).await, Err(RespondError::Conflict(_))));
    let again = r.submit(&id("alice"), &new.body.id, now()).await.unwrap();
    assert_eq!((again.approvals.len(), again.body.replaces.as_ref()), (0, Some(&waits.body.id)));
    r.approve(&id("bob"), &again.body.id, &again.digest, now()).unwrap();
    assert_eq!(d.execute(&again).await.unwrap().state, RequestState::Done);
    assert_eq!(
        d.kinds(&kept.body.id),
        ["action.drafted", "action.edited", "action.proposed", "action.approved", "action.withdrawn"]
    );
    let dropped = r.keep_draft(&id("alice"), draft("isolate", &["web1"], &[]), now()).unwrap();
    assert_eq!(r.withdraw(&id("alice"), &dropped.body.id, now()).unwrap().state, RequestState::Withdrawn);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_nobody_submits_expires_and_nobody_else_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "draft_days = 2\n");
    let (r, at) = (&d.responder, now());
    let day = |n: i64| at + SignedDuration::from_hours(24 * n);
    let kept = r.keep_draft(&id("alice"), draft("isolate", &["web1"], &[]), at).unwrap();
    assert_eq!(kept.body.approve_by, day(2));
    assert_eq!(r.sweep(day(2)).unwrap(), 0, "to the end of its time");
    // An edit begins it anew.
    let edited = r.edit(&id("alice"), &kept.body.id, draft("isolate", &["web2"], &[]), day(1)).unwrap();
    assert_eq!((edited.body.approve_by, r.sweep(day(3)).unwrap()), (day(3), 0));
    // After it, not even its author goes on with it, swept or not.
    let late = day(3) + SignedDuration::from_secs(1);
    let again = draft("isolate", &["web3"], &[]);
    refused(r.edit(&id("alice"), &kept.body.id, again.clone(), late), "alice did not submit the draft by");
    refused(r.submit(&id("alice"), &kept.body.id, late).await, "too late");
    assert_eq!((r.sweep(late).unwrap(), r.sweep(late).unwrap()), (1, 0), "once");
    let gone = d.store.request(&kept.body.id).unwrap().unwrap();
    assert_eq!(gone.state, RequestState::Expired);
    assert!(gone.note.as_ref().is_some_and(|n| n.contains("did not submit")), "{:?}", gone.note);
    assert!(!gone.was_asked() && gone.finished == Some(late));
    assert!(matches!(r.edit(&id("alice"), &kept.body.id, again, late), Err(RespondError::Conflict(_))));
    assert!(matches!(r.submit(&id("alice"), &kept.body.id, late).await, Err(RespondError::Conflict(_))));
    assert_eq!(d.kinds(&kept.body.id), ["action.drafted", "action.edited", "action.expired"]);
    let records = d.audit.records(&AuditFilter::request(kept.body.id.as_str()), 10).unwrap();
    assert!(records.iter().all(|r| bulletin(r, Some(&gone), "desk").is_none()), "it was asked of nobody");
    // What was asked keeps its own, shorter times.
    let waits = r.propose(&id("alice"), draft("isolate", &["web1"], &[]), at).await.unwrap();
    assert_eq!(r.sweep(day(1)).unwrap(), 1);
    assert_eq!(d.state(&waits), RequestState::Expired);
    let of = AuditFilter::request(waits.body.id.as_str());
    assert!(d.audit.records(&of, 10).unwrap().iter().filter_map(|r| bulletin(r, None, "desk")).count() >= 2);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_glass_runs_on_one_word_pages_everybody_and_is_reviewed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "[tiers.T2]\napprovals = 2\n[[protect]]\ntargets = [\"dc*\"]\nwhy = \"by hand\"\n");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let glass =
        |by: &str, reason: &str| d.responder.break_glass(&id(by), &r.body.id, &r.digest, reason.into(), None, now());
    refused(glass("alice", "it burns"), "takes the role commander or lead");
    assert!(matches!(glass("carol", " "), Err(RespondError::Usage(_))));
    let broken = glass("carol", "it burns").unwrap();
    assert_eq!((broken.state, broken.approvals.len()), (RequestState::Approved, 0));
    let done = d.responder.execute(&id("carol"), &r.body.id, now()).await.unwrap();
    assert_eq!(done.state, RequestState::Done);
    assert_eq!(d.kinds(&r.body.id), ["action.proposed", "action.glass", "action.intent", "action.outcome"]);
    let open = d.responder.reviews(false).unwrap();
    assert_eq!((open.len(), open[0].overdue(now())), (1, false));
    let later = now() + SignedDuration::from_hours(25);
    assert!(open[0].overdue(later));
    assert_eq!((d.responder.chase_reviews(later).unwrap(), d.responder.chase_reviews(later).unwrap()), (1, 0));
    let close = |by: &str| d.responder.close_review(&id(by), &r.body.id, true, "it was right".into(), now());
    assert!(matches!(close("carol"), Err(RespondError::Refused(w)) if w.contains("somebody else reviews")));
    assert!(matches!(close("alice"), Err(RespondError::Refused(_))));
    assert!(close("bob").unwrap().closed.is_some_and(|c| c.justified));
    assert!(matches!(close("bob"), Err(RespondError::Conflict(_))));
    assert!(d.responder.reviews(false).unwrap().is_empty());
    // Never the highest tier, unless the policy says so; never what the policy forbids.
    let wipe = d.propose(draft("wipe", &["web1"], &[])).await.unwrap();
    refused(
        d.responder.break_glass(&id("carol"), &wipe.body.id, &wipe.digest, "x".into(), None, now()),
        "does not let T3",
    );
    refused(d.propose(draft("isolate", &["dc1"], &[])).await, "protected");
    // A process that died before it could tell anybody: the next one does.
    let r = d.propose(draft("isolate", &["web2"], &[])).await.unwrap();
    d.responder.break_glass(&id("bob"), &r.body.id, &r.digest, "x".into(), None, now()).unwrap();
    d.store.drop_doc("glass.review", r.body.id.as_str()).unwrap();
    assert_eq!((d.responder.settle_glass(now()).unwrap(), d.responder.settle_glass(now()).unwrap()), (1, 0));
    assert_eq!(d.responder.reviews(false).unwrap().len(), 1);
    d.verify();
}

/// Another process says that the review is overdue between our reading it and our closing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_is_chased_at_that_moment_is_closed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let other = open(dir.path());
    let mut broken = Vec::new();
    for i in 0..40 {
        let r = d.propose(draft("isolate", &[&format!("web{i}")], &[])).await.unwrap();
        d.responder.break_glass(&id("carol"), &r.body.id, &r.digest, "it burns".into(), None, now()).unwrap();
        broken.push(r.body.id);
    }
    let later = now() + SignedDuration::from_hours(25);
    std::thread::scope(|s| {
        s.spawn(|| other.responder.chase_reviews(later).unwrap());
        s.spawn(|| {
            for r in &broken {
                d.responder.close_review(&id("bob"), r, true, "it was right".into(), now()).unwrap();
            }
        });
    });
    assert_eq!(d.responder.reviews(false).unwrap(), []);
    for r in &broken {
        let kinds = d.kinds(r);
        assert_eq!(kinds.iter().filter(|k| *k == "glass.reviewed").count(), 1, "{kinds:?}");
    }
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_broke_the_glass_must_still_be_allowed_when_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let d = with_roster(dir.path(), "");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    d.responder.break_glass(&id("carol"), &r.body.id, &r.digest, "x".into(), None, now()).unwrap();
    fs::write(dir.path().join("roster.toml"), without("carol")).unwrap();
    refused(d.execute(&r).await, "carol broke the glass, but may not any more");
    assert_eq!(d.state(&r), RequestState::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_left_the_roster_carries_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let d = with_roster(dir.path(), "");
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    fs::write(dir.path().join("roster.toml"), without("bob")).unwrap();
    refused(d.execute(&r).await, "bob approved it, but is not on the roster");
    refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "not on the roster");
}

#[tokio::test(flavor = "multi_thread")]
async fn approvers_ask_back_and_the_clock_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let ask = |by: &str, text: &str| d.responder.ask(&id(by), &r.body.id, text.into(), now());
    refused(ask("alice", "why?"), "approvers ask back");
    assert!(matches!(ask("bob", " \n"), Err(RespondError::Usage(_))));
    assert!(matches!(ask("bob", &"x".repeat(5000)), Err(RespondError::Usage(_))));
    ask("bob", "why this one?").unwrap();
    refused(d.responder.answer(&id("carol"), &r.body.id, "x".into(), now()), "only alice answers");
    let told = d.responder.answer(&id("alice"), &r.body.id, "it beacons".into(), now()).unwrap();
    let kinds: Vec<MessageKind> = told.course.thread.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [MessageKind::Question, MessageKind::Answer]);
    assert_eq!((told.body.approve_by, &told.digest), (r.body.approve_by, &r.digest), "what is signed is the same");
    assert_eq!(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap().state, RequestState::Approved);
    assert_eq!(d.kinds(&r.body.id), ["action.proposed", "action.question", "action.answer", "action.approved"]);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_is_climbed_once_whatever_processes_look() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "[tiers.T2]\napprove_minutes = 30\n[[escalate]]\nafter_minutes = 20\nto = [\"commander\"]\n\
                  [[escalate]]\nafter_minutes = 10\nto = [\"lead\"]\n[[escalate]]\nafter_minutes = 45\nto = [\"lead\"]\n";
    let d = desk(dir.path(), DEMO, policy);
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let at = |m| r.body.created + SignedDuration::from_mins(m);
    let all = d.responder.ladder(&r).unwrap();
    assert_eq!(all.iter().map(|x| (x.number, x.at)).collect::<Vec<_>>(), [(1, at(10)), (2, at(20))], "45 is too late");
    assert_eq!(d.responder.climb(at(9)).unwrap(), 0);
    let others: Vec<Desk> = (0..3).map(|_| open(dir.path())).collect();
    std::thread::scope(|s| {
        for o in &others {
            s.spawn(|| o.responder.climb(at(21)).unwrap());
        }
    });
    let now_is = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!((now_is.state, now_is.course.rungs.len(), now_is.approvals.len()), (RequestState::Pending, 2, 0));
    assert_eq!(now_is.course.rungs[1].to, [id("carol")]);
    assert_eq!(d.kinds(&r.body.id).iter().filter(|k| *k == "action.escalated").count(), 2, "each once");
    assert_eq!(d.responder.climb(at(25)).unwrap(), 0);
    // A process that recorded a rung and died before it stored it: recorded once all the same.
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roster_changes_by_request_and_never_by_those_it_removes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let d = with_roster(dir.path(), "");
    let file = dir.path().join("roster.toml");
    d.responder.watch_governed(now()).unwrap();
    let propose = |text: String| d.propose(govern::draft(Governed::Roster, &text, "they left".into()));
    refused(propose("[[people]]\nid = 5\n".into()).await, "cannot be read");
    let only_alice = "[[people]]\nid = \"alice\"\nroles = [\"analyst\"]\n";
    refused(propose(only_alice.into()).await, "nobody who may approve");
    // It takes their say from bob and erin; the two of them together are not enough.
    let new = without("bob")
        .replace("[\"approver\"]", "[\"analyst\"]")
        .replace("[\"commander\", \"approver\"]", "[\"commander\"]")
        + "[[people]]\nid = \"fred\"\nroles = [\"lead\"]\n";
    let r = propose(new.clone()).await.unwrap();
    assert_eq!((r.body.tier.word(), r.body.approvals_needed), ("T3 irreversible", 2));
    let diff = r.preview[0].diff.expose();
    assert!(diff.contains("-id = \"bob\"") && diff.contains("+id = \"fred\""), "{diff}");
    assert!(r.findings.iter().any(|f| f.text.contains("cannot carry it alone")), "{:?}", r.findings);
    let approve = |by: &str| d.responder.approve(&id(by), &r.body.id, &r.digest, now()).unwrap().state;
    assert_eq!((approve("bob"), approve("erin")), (RequestState::Pending, RequestState::Pending));
    refused(
        d.responder.break_glass(&id("carol"), &r.body.id, &r.digest, "x".into(), None, now()),
        "never one person's",
    );
    assert_eq!(approve("carol"), RequestState::Approved);
    refused(d.execute(&r).await, "somebody else must start it");
    let done = d.responder.execute(&id("carol"), &r.body.id, now()).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), new);
    assert!(d.responder.people().get(&id("bob")).is_none() && d.responder.people().get(&id("fred")).is_some());
    assert!(d.responder.watch_governed(now()).unwrap().is_empty(), "that was the desk's own change");
    // Past the desk: noticed once, recorded, shown.
    fs::write(&file, ROSTER).unwrap();
    assert_eq!(open(dir.path()).responder.watch_governed(now()).unwrap(), [Governed::Roster]);
    assert!(d.responder.watch_governed(now()).unwrap().is_empty());
    let f = AuditFilter { kind: Some("roster.changed_outside".into()), ..AuditFilter::default() };
    let records = d.audit.records(&f, 10).unwrap();
    assert_eq!(records.len(), 1);
    let told = bulletin(&records[0], None, "desk").unwrap();
    assert!(told.what.to_all() && told.text.expose().contains("roster.toml"), "{told:?}");
    assert!(d.responder.governed().unwrap().iter().any(|(w, s)| *w == Governed::Roster && s.outside.is_some()));
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_changes_by_request_and_only_over_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let d = with_roster(dir.path(), "max_targets = 5\n");
    let file = dir.path().join("policy.toml");
    let propose = |text: &str| d.propose(govern::draft(Governed::Policy, text, "growth".into()));
    refused(propose("max_targets = \n").await, "cannot be read: policy.toml:1:");
    refused(propose("[tiers.T3]\napprove = [\"facilitator\"]\n").await, "nobody who may approve");
    let both = |r: &Request| {
        for by in ["bob", "carol"] {
            d.responder.approve(&id(by), &r.body.id, &r.digest, now()).unwrap();
        }
    };
    let r = propose("max_targets = 6\n").await.unwrap();
    both(&r);
    fs::write(&file, "max_targets = 7\n").unwrap();
    refused(d.responder.execute(&id("bob"), &r.body.id, now()).await, "changed since it was proposed");
    assert_eq!(fs::read_to_string(&file).unwrap(), "max_targets = 7\n");
    let r = propose("max_targets = 8\n").await.unwrap();
    both(&r);
    let done = d.responder.execute(&id("bob"), &r.body.id, now()).await.unwrap();
    assert_eq!(done.state, RequestState::Done);
    assert_eq!(fs::read_to_string(&file).unwrap(), "max_targets = 8\n");
    let trail = d.kinds(&r.body.id);
    assert_eq!(trail.iter().filter(|k| *k == "action.intent").count(), 1, "{trail:?}");
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "[tiers.T2]\nticket = true\n");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "needs a ticket");
    assert!(d.responder.set_ticket(Some(&id("bob")), &r.body.id, "CHG 1", now()).is_err());
    d.responder.set_ticket(Some(&id("bob")), &r.body.id, "CHG0042", now()).unwrap();
    d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).unwrap();
    assert_eq!(d.execute(&r).await.unwrap().state, RequestState::Done);
}

/// Approvals, denials, withdrawals and starts, all at once, through two handles on the same files. A denial that reached
/// the log before the start did stops it, though the store let it begin.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_interleavings_on_the_real_store_and_log() {
    use rand::{Rng as _, SeedableRng as _};
    const LIVES: usize = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let quick = DEMO.replace("millis_per_target = 5", "millis_per_target = 0");
    fs::write(dir.path().join("roster.toml"), ROSTER).unwrap();
    let first = desk(dir.path(), &quick, "");
    // Two processes' worth of handles on the same files.
    let second = open(dir.path());
    let mut rng = rand::rngs::StdRng::seed_from_u64(11);
    let (mut ended, mut ran) = (Vec::new(), 0);
    let stop = std::time::Instant::now() + std::time::Duration::from_secs(300);
    let mut lives = 0;
    while lives < LIVES && std::time::Instant::now() < stop {
        let r = first.propose(draft("isolate", &["web1"], &[])).await.unwrap();
        let mut acts = Vec::new();
        for _ in 0..rng.random_range(3..7) {
            let desk = if rng.random_bool(0.5) { &first } else { &second };
            let (responder, rid, digest) = (desk.responder.clone(), r.body.id.clone(), r.digest.clone());
            let what = rng.random_range(0..10);
            let who = ["alice", "bob", "carol", "erin"][rng.random_range(0..4)];
            acts.push(tokio::spawn(async move {
                let by = id(who);
                let one = |r: Result<Request, RespondError>| r.is_ok_and(|r| r.started.is_some());
                match what {
                    0..=4 => {
                        let (responder, by, rid) = (responder.clone(), by.clone(), rid.clone());
                        let approve = move || responder.approve(&by, &rid, &digest, now());
                        drop(tokio::task::spawn_blocking(approve).await.unwrap());
                        false
                    }
                    5..=7 => one(responder.execute(&by, &rid, now()).await),
                    8 => {
                        responder.deny(&by, &rid, "no".into(), now()).ok();
                        false
                    }
                    _ => {
                        responder.withdraw(&id("alice"), &rid, now()).ok();
                        false
                    }
                }
            }));
        }
        for act in acts {
            ran += u32::from(act.await.unwrap());
        }
        // Who would carry it out comes when people had their say, in every second life from both sides at once.
        if rng.random_bool(0.5) {
            let start = |d: &Desk| {
                let (responder, rid) = (d.responder.clone(), r.body.id.clone());
                tokio::spawn(async move { responder.execute(&id("alice"), &rid, now()).await })
            };
            for done in [start(&first), start(&second)] {
                ran += u32::from(done.await.unwrap().is_ok_and(|r| r.started.is_some()));
            }
        }
        ended.push(r.body.id);
        lives += 1;
    }
    let mut states = std::collections::BTreeMap::<&str, u32>::new();
    for rid in &ended {
        let r = first.store.request(rid).unwrap().unwrap();
        *states.entry(r.state.word()).or_default() += 1;
        let kinds = first.kinds(rid);
        let intents: Vec<usize> =
            kinds.iter().enumerate().filter(|(_, k)| *k == "action.intent").map(|(i, _)| i).collect();
        assert!(intents.len() <= 1, "{kinds:?}");
        if let Some(at) = intents.first() {
            assert!(kinds[..*at].contains(&"action.approved".to_owned()), "{kinds:?}");
            let ended_before = kinds[..*at].iter().any(|k| k == "action.denied" || k == "action.withdrawn");
            assert!(!ended_before, "it ran after somebody had ended it: {kinds:?}");
            assert!(r.approvals.iter().any(|a| a.by != id("alice")));
        }
        assert!(intents.len() == 1 || r.receipts.iter().all(|x| x.state == ReceiptState::Skipped), "{r:?}");
    }
    assert!(
        ran >= lives as u32 / 20 && ["done", "denied", "withdrawn", "pending"].iter().all(|s| states.contains_key(s)),
        "{ran} runs: {states:?}"
    );
    println!("{lives} lives, {ran} runs: {states:?}");
    assert!(lives >= LIVES / 10, "{lives} only");
    first.verify();
}
