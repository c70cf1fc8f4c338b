//! Who may, when, and what voids it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn another_person_approves_and_it_runs_once() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.propose(draft("isolate", &["web1", "web2", "web1"], &[])).await.unwrap();
    assert_eq!((r.state, r.body.targets.len()), (RequestState::Pending, 2));
    let approve = |who: &str, digest: &str| d.responder.approve(&id(who), &r.body.id, digest, now());
    refused(approve("alice", &r.digest), "somebody else must approve");
    refused(approve("dave", &r.digest), "may only read");
    refused(approve("mallory", &r.digest), "not on the roster");
    refused(approve("bob", &"0".repeat(64)), "digest differs");
    refused(d.execute(&r).await, "waits for approval: 0 of 1");
    let a = approve("bob", &r.digest).unwrap();
    assert_eq!((a.state, a.approvals.len()), (RequestState::Approved, 1));
    assert!(matches!(approve("carol", &r.digest), Err(RespondError::Conflict(_))));
    let done = d.execute(&r).await.unwrap();
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done; 2]));
    let again = d.execute(&r).await;
    assert!(matches!(&again, Err(RespondError::Conflict(w)) if w.contains("ran already by alice")), "{again:?}");
    assert_eq!(d.kinds(&r.body.id), ["action.proposed", "action.approved", "action.intent", "action.outcome"]);
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0);
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_executors_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    let others: Vec<Desk> = (0..4).map(|_| open(dir.path())).collect();
    let tries = others.iter().flat_map(|o| [o.execute(&r), o.execute(&r)]);
    let ended: Vec<_> = futures_util::future::join_all(tries).await;
    assert_eq!(ended.iter().filter(|e| e.is_ok()).count(), 1, "{ended:?}");
    assert!(ended.iter().all(|e| e.is_ok() || matches!(e, Err(RespondError::Conflict(_)))), "{ended:?}");
    assert_eq!(d.kinds(&r.body.id).iter().filter(|k| *k == "action.intent").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_ask_for_none_one_or_two() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let look = d.propose(draft("look", &["web1"], &[])).await.unwrap();
    assert_eq!(look.state, RequestState::Approved);
    assert_eq!(d.execute(&look).await.unwrap().state, RequestState::Done);
    let mut by_model = draft("look", &["web1"], &[]);
    by_model.suggested_by = Suggested::Model;
    assert_eq!(d.propose(by_model).await.unwrap().state, RequestState::Pending, "a model starts nothing alone");

    let wipe = d.propose(draft("wipe", &["web1"], &[])).await.unwrap();
    let approve = |who: &str| d.responder.approve(&id(who), &wipe.body.id, &wipe.digest, now());
    assert_eq!(approve("bob").unwrap().state, RequestState::Pending);
    refused(approve("bob"), "approved it already");
    refused(d.execute(&wipe).await, "1 of 2");
    assert_eq!(approve("carol").unwrap().state, RequestState::Approved);
    let done = d.responder.execute(&id("bob"), &wipe.body.id, now()).await.unwrap();
    assert_eq!(done.state, RequestState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_refuses_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "[[protect]]\ntargets = [\"dc*\"]\nwhy = \"domain controllers\"\n[[caps]]\nper_hour = 2\n";
    let d = desk(dir.path(), DEMO, policy);
    refused(
        d.propose(draft("isolate", &["dc01.corp.example"], &[])).await,
        "protected: dc01.corp.example (domain controllers)",
    );
    for bad in ["-x", "a b", "$(id)", "a;b", ""] {
        let e = d.propose(draft("isolate", &[bad], &[])).await;
        assert!(matches!(e, Err(RespondError::Usage(_))), "{bad:?}: {e:?}");
    }
    assert!(
        matches!(d.propose(draft("isolat", &["a"], &[])).await, Err(RespondError::Usage(w)) if w.contains("did you mean"))
    );
    assert!(matches!(d.propose(draft("isolate", &["a"], &[("x", "1")])).await, Err(RespondError::Usage(_))));
    let mut unreasoned = draft("isolate", &["a"], &[]);
    unreasoned.reason = " \n".into();
    assert!(matches!(d.propose(unreasoned).await, Err(RespondError::Usage(_))));
    refused(d.responder.propose(&id("dave"), draft("isolate", &["a"], &[]), now()).await, "may only read");
    // The cap counts starts, so it holds at the start.
    let one = d.approved(draft("isolate", &["web1", "web2"], &[])).await;
    let two = d.approved(draft("isolate", &["web3"], &[])).await;
    assert_eq!(d.execute(&one).await.unwrap().state, RequestState::Done);
    refused(d.execute(&two).await, "above the cap of 2");
    assert_eq!(d.state(&two), RequestState::Approved, "it may start when the hour is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_expires_and_the_default_is_no() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "[tiers.T2]\napprove_minutes = 10\nexecute_minutes = 5\n");
    let start = now();
    let at = |minutes| start + SignedDuration::from_mins(minutes);
    let alice = id("alice");
    let propose = |host| d.responder.propose(&alice, draft("isolate", &[host], &[]), start);
    let (waits, ready) = (propose("web1").await.unwrap(), propose("web2").await.unwrap());
    d.responder.approve(&id("bob"), &ready.body.id, &ready.digest, start).unwrap();
    assert_eq!(d.responder.sweep(at(9)).unwrap(), 0);
    refused(d.responder.approve(&id("bob"), &waits.body.id, &waits.digest, at(11)), "too late");
    refused(d.responder.execute(&id("alice"), &ready.body.id, at(16)).await, "too late");
    assert_eq!(d.responder.sweep(at(11)).unwrap(), 1);
    assert_eq!(d.state(&waits), RequestState::Expired);
    assert_eq!(d.responder.sweep(at(16)).unwrap(), 1);
    assert_eq!(d.state(&ready), RequestState::Expired);
    assert!(matches!(d.execute(&ready).await, Err(RespondError::Conflict(_))));
    assert_eq!(d.kinds(&ready.body.id).last().unwrap(), "action.expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_and_withdrawn_are_final() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    refused(d.responder.deny(&id("alice"), &r.body.id, "no".into(), now()), "may not decide");
    let denied = d.responder.deny(&id("carol"), &r.body.id, "not now".into(), now()).unwrap();
    assert_eq!((denied.state, denied.denied.unwrap().by), (RequestState::Denied, id("carol")));
    assert!(matches!(d.execute(&r).await, Err(RespondError::Conflict(w)) if w.contains("denied by carol")));
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    refused(d.responder.withdraw(&id("bob"), &r.body.id, now()), "only alice");
    assert_eq!(d.responder.withdraw(&id("alice"), &r.body.id, now()).unwrap().state, RequestState::Withdrawn);
    assert!(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()).is_err());
}

/// Changes the stored request behind everybody's back.
fn tamper(dir: &Path, r: &Request, change: impl Fn(&mut serde_json::Value)) {
    let conn = rusqlite::Connection::open(dir.join("store.sqlite")).unwrap();
    let text: String =
        conn.query_row("SELECT json FROM request WHERE id = ?", [r.body.id.as_str()], |row| row.get(0)).unwrap();
    let mut v: serde_json::Value = serde_json::from_str(&text).unwrap();
    change(&mut v);
    let state: RequestState = serde_json::from_value(v["state"].clone()).unwrap();
    let n = conn.execute(
        "UPDATE request SET json = ?, state = ? WHERE id = ?",
        rusqlite::params![v.to_string(), state.id(), r.body.id.as_str()],
    );
    assert_eq!(n.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_request_is_void() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    // Edited while it waits: the approver's digest still fits, the contents do not.
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    tamper(dir.path(), &r, |v| v["body"]["targets"][0] = "web9".into());
    refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "void: its contents are not");
    assert_eq!(d.state(&r), RequestState::Stale);
    // Edited after approval, each part of it.
    type Edit = fn(&mut serde_json::Value);
    let edits: [(Edit, &str); 4] = [
        (|v| v["body"]["commands"][0]["argv"][2] = "web9".into(), "contents"),
        (|v| v["body"]["execute_by"] = "2099-01-01T00:00:00Z".into(), "contents"),
        (|v| v["body"]["requester"] = "bob".into(), "contents"),
        (|v| v["approvals"][0]["by"] = "carol".into(), "does not hold the approval by carol"),
    ];
    for (edit, why) in edits {
        let r = d.approved(draft("isolate", &["web1"], &[])).await;
        tamper(dir.path(), &r, edit);
        refused(d.execute(&r).await, why);
        assert_eq!(d.state(&r), RequestState::Stale);
        assert!(!d.kinds(&r.body.id).contains(&"action.intent".to_owned()));
    }
    // Edited by somebody who also computes the new digest everywhere: the audit log knows no such thing.
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    tamper(dir.path(), &r, |v| {
        v["body"]["reason"] = "another".into();
        let body = serde_json::from_value(v["body"].clone()).unwrap();
        let digest = watchfloor::respond::digest::of_request(&body).unwrap();
        v["digest"] = digest.clone().into();
        v["approvals"][0]["digest"] = digest.into();
    });
    refused(d.execute(&r).await, "the audit log does not hold its proposal");
    // Set back to approved after it ran.
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    d.execute(&r).await.unwrap();
    tamper(dir.path(), &r, |v| v["state"] = "approved".into());
    refused(d.execute(&r).await, "the audit log holds its action.intent already");
    // Marked approved without anybody.
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    tamper(dir.path(), &r, |v| v["state"] = "approved".into());
    refused(d.execute(&r).await, "0 approvals of 1");
    d.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_or_catalogue_voids_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    let s = d.approved(draft("isolate", &["web1"], &[])).await;
    fs::write(dir.path().join("policy.toml"), "max_targets = 3\n").unwrap();
    refused(d.responder.approve(&id("bob"), &r.body.id, &r.digest, now()), "the policy changed");
    refused(d.execute(&s).await, "the policy changed");
    let t = d.approved(draft("isolate", &["web1"], &[])).await;
    fs::write(dir.path().join("actions.toml"), DEMO.replace("open -> closed", "open -> shut")).unwrap();
    refused(d.execute(&t).await, "changed in the catalogue");
    // Rules that cannot be read are not replaced by the old ones.
    fs::write(dir.path().join("policy.toml"), "max_targets = ").unwrap();
    let e = d.propose(draft("isolate", &["web1"], &[])).await;
    assert!(matches!(&e, Err(RespondError::Unavailable(w)) if w.contains("policy.toml:1:")), "{e:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_log_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.approved(draft("isolate", &["web1"], &[])).await;
    let log = d.audit.log_path();
    fs::rename(&log, dir.path().join("kept")).unwrap();
    fs::create_dir(&log).unwrap();
    for e in [d.propose(draft("isolate", &["web1"], &[])).await, d.execute(&r).await] {
        assert!(matches!(e, Err(RespondError::Unavailable(_))), "{e:?}");
    }
    assert!(d.responder.deny(&id("bob"), &r.body.id, "x".into(), now()).is_err());
    assert_eq!(d.state(&r), RequestState::Approved, "reading goes on, and nothing was used up");
    // Stopping must work all the same.
    d.responder.kill(&id("alice"), true, now()).unwrap();
    assert!(d.responder.kill(&id("bob"), false, now()).is_err(), "releasing needs its record");
    fs::remove_dir(&log).unwrap();
    fs::rename(dir.path().join("kept"), &log).unwrap();
    refused(d.execute(&r).await, "kill switch was set by alice");
    d.responder.kill(&id("bob"), false, now()).unwrap();
    assert_eq!(d.execute(&r).await.unwrap().state, RequestState::Done);
    d.verify();
}

/// Whoever stops and whoever releases write log and store one after the other, each in their order: the last word in
/// the log is what holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_beside_a_release_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let other = open(dir.path());
    let mut last = [0, 0];
    for i in 0..60 {
        d.responder.kill(&id("carol"), true, now()).unwrap();
        // One of them begins a little later: before, in the middle of, or after the other.
        let later = |mine: bool| {
            if mine {
                std::thread::sleep(std::time::Duration::from_micros(i / 2 % 15 * 300));
            }
        };
        std::thread::scope(|s| {
            s.spawn(|| {
                later(i % 2 == 0);
                match d.responder.kill(&id("bob"), false, now()) {
                    Ok(()) => {}
                    Err(RespondError::Conflict(w)) => assert!(w.contains("set again by alice"), "{w}"),
                    Err(e) => panic!("{e}"),
                }
            });
            s.spawn(|| {
                later(i % 2 == 1);
                other.responder.kill(&id("alice"), true, now()).unwrap();
            });
        });
        let all = d.audit.records(&AuditFilter::default(), usize::MAX).unwrap();
        let on = all.last().unwrap().kind == "kill.on";
        last[usize::from(on)] += 1;
        assert_eq!(d.store.kill_switch().unwrap().is_some(), on, "round {i}");
        if on {
            d.responder.kill(&id("bob"), false, now()).unwrap();
        }
    }
    println!("the release was last {} times, the stop {} times", last[0], last[1]);
    d.verify();
}

/// The executor died after recording the outcome and before telling the store.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_only_the_audit_log_knows_is_taken_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "");
    let r = d.approved(draft("isolate", &["web1", "web2"], &[])).await;
    d.execute(&r).await.unwrap();
    tamper(dir.path(), &r, |v| {
        v["state"] = "executing".into();
        v["receipts"] = serde_json::json!([v["receipts"][0]]);
    });
    assert_eq!(d.responder.recover(now()).unwrap(), 1);
    let ended = d.store.request(&r.body.id).unwrap().unwrap();
    assert_eq!((ended.state, states(&ended)), (RequestState::Done, vec![ReceiptState::Done; 2]));
    assert_eq!(d.kinds(&r.body.id).iter().filter(|k| *k == "action.outcome").count(), 1, "recorded once");
    assert_eq!(d.responder.running(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_not_known_holds_approval_and_start_until_a_commander_sets_it_aside() {
    let dir = tempfile::tempdir().unwrap();
    let d = desk(dir.path(), DEMO, "[[budget]]\nactions = [\"isolate\"]\n");
    let r = d.propose(draft("isolate", &["web1"], &[])).await.unwrap();
    assert!(r.findings.iter().any(|f| !f.refuses && f.text.contains("error budget")), "{:?}", r.findings);
    let why = "the error budget is not known for normal changes: nothing is read here";
    refused(d.responder.approve(&id("carol"), &r.body.id, &r.digest, now()), why);
    let over = |who: &str, reason: &str| {
        d.responder.approve_over_budget(&id(who), &r.body.id, &r.digest, reason.into(), now())
    };
    refused(over("bob", "it is the fix"), "it takes the role commander");
    assert!(matches!(over("carol", " "), Err(RespondError::Usage(_))));
    assert_eq!(d.kinds(&r.body.id), ["action.proposed"], "nothing was set aside yet");
    let approved = over("carol", "it is the fix").unwrap();
    assert_eq!(approved.state, RequestState::Approved);
    let shown = approved.findings.iter().any(|f| f.text.ends_with("overridden by carol: it is the fix"));
    assert!(shown, "{:?}", approved.findings);
    assert_eq!(d.execute(&r).await.unwrap().state, RequestState::Done);
    let kinds = d.kinds(&r.body.id);
    assert_eq!(kinds[..3], ["action.proposed", "budget.override", "action.approved"]);
    d.verify();
}
