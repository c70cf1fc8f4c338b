use std::collections::BTreeMap;
use std::io::BufRead as _;

use super::*;
use crate::desk::Demo;
use crate::model::action::Draft;
use crate::model::action::RequestState;
use crate::model::action::Suggested;
use crate::model::playbook_run::VisitState;

const CHILD: &str = "WATCHFLOOR_PLAYBOOK_CHILD";

fn id(name: &str) -> PersonId {
    PersonId::new(name).unwrap()
}

fn host() -> Start {
    Start { values: vec![("host".into(), Untrusted::new("fin-ws-014"))], ..Start::default() }
}

fn outputs(all: &[(&str, &str)]) -> BTreeMap<String, Option<Untrusted>> {
    all.iter().map(|(n, v)| ((*n).to_owned(), Some(Untrusted::new(*v)))).collect()
}

#[test]
fn a_run_is_kept_recorded_and_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let [alice, bob] = ["alice", "bob"].map(id);
    assert!(
        matches!(desk.start_playbook(&alice, "malwear", host()), Err(DeskError::Usage(m)) if m.contains("malware"))
    );
    assert!(
        matches!(desk.start_playbook(&alice, "malware", Start::default()), Err(DeskError::Usage(m)) if m.contains("host"))
    );
    let run = desk.start_playbook(&alice, "malware", host()).unwrap();
    // Evidence is kept by what is in it.
    let piece = desk.attach_evidence(&alice, &run.id, 1, "tree.txt", &mut &b"explorer > powershell"[..]).unwrap();
    let kept = evidence::path(&desk.evidence_folder(), &piece.sha256);
    assert_eq!(std::fs::read(&kept).unwrap(), b"explorer > powershell");
    let sha = "b".repeat(64);
    let done = Event::Done { visit: 1, outputs: outputs(&[("sha256", &sha), ("ran", "true")]) };
    let run = desk.playbook_event(&alice, &run.id[20..], &done).unwrap();
    assert_eq!(run.open().next().map(|v| v.key.as_str()), Some("judge"));
    // Another process, another time: the same run, and the same version even if the library changed.
    let (again, book) = desk.playbook_run(Some(&bob), &run.id).unwrap();
    assert_eq!((again.seq, book.hash.as_str()), (run.seq, run.version.as_str()));
    assert_eq!(again.visits[0].evidence, std::slice::from_ref(&piece));
    assert!(desk.broken_evidence(&again).is_empty());
    std::fs::write(&kept, "something else").unwrap();
    assert_eq!(desk.broken_evidence(&again).len(), 1);
    // Every transition stands in the log, in order, once.
    let filter = crate::audit::AuditFilter::request(&run.id);
    let mut seqs: Vec<u64> =
        desk.audit.records(&filter, 500).unwrap().iter().filter_map(|r| r.body["seq"].as_u64()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=run.seq).collect::<Vec<_>>());
    assert!(crate::audit::verify(&desk.data_dir.join("audit"), None).unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_knows_the_draft_kept_from_it_and_the_one_that_replaces_its_request() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let alice = id("alice");
    let run = desk.start_playbook(&alice, "malware", host()).unwrap();
    let draft = || Draft {
        action: "isolate-host".into(),
        targets: vec!["fin-ws-014".into()],
        params: BTreeMap::new(),
        alerts: vec![],
        case: None,
        reason: "".into(),
        suggested_by: Suggested::Person,
    };
    let of_step = || desk.playbook_run(Some(&alice), &run.id).unwrap().0.visits[0].requests.clone();
    let kept = desk.keep_from_step(&alice, &run.id, 1, draft()).unwrap();
    assert_eq!((kept.state, kept.body.suggested_by), (RequestState::Draft, Suggested::Playbook));
    assert!(kept.body.reason.expose().starts_with("playbook malware"), "{:?}", kept.body.reason);
    assert_eq!(of_step(), std::slice::from_ref(&kept.body.id));
    // It becomes the request; an edit of that one is another draft, and the step knows both.
    let waits = desk.submit(&alice, &kept.body.id).await.unwrap();
    assert_eq!((waits.state, &waits.body.id), (RequestState::Pending, &kept.body.id));
    let new = desk.edit_request(&alice, &waits.body.id, waits.as_draft()).unwrap();
    assert_eq!((new.state, new.body.replaces.as_ref()), (RequestState::Draft, Some(&waits.body.id)));
    assert_eq!(of_step(), [waits.body.id.clone(), new.body.id.clone()]);
    // A draft is changed in its place.
    let same = desk.edit_request(&alice, &new.body.id, new.as_draft()).unwrap();
    assert_eq!((&same.body.id, of_step().len()), (&new.body.id, 2));
    // Of a step that is over nothing is kept, and an edit goes its way without it.
    let outputs = outputs(&[("sha256", &"b".repeat(64)), ("ran", "true")]);
    desk.playbook_event(&alice, &run.id, &Event::Done { visit: 1, outputs }).unwrap();
    assert!(matches!(desk.keep_from_step(&alice, &run.id, 1, draft()), Err(DeskError::No(_))));
    let waits = desk.submit(&alice, &new.body.id).await.unwrap();
    assert!(desk.edit_request(&alice, &waits.body.id, waits.as_draft()).is_ok());
    assert_eq!(of_step().len(), 2);
}

#[test]
fn a_step_may_be_another_playbook() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let alice = id("alice");
    let service = Start { values: vec![("service".into(), Untrusted::new("api"))], ..Start::default() };
    let run = desk.start_playbook(&alice, "slow-responses", service).unwrap();
    let step = |event: Event| desk.playbook_event(&alice, &run.id, &event);
    step(Event::Done { visit: 1, outputs: BTreeMap::new() }).unwrap();
    step(Event::Done { visit: 2, outputs: outputs(&[("change", "false")]) }).unwrap();
    let (now, _) = desk.playbook_run(Some(&alice), &run.id).unwrap();
    let wait = now.open().next().unwrap().n;
    let now = step(Event::Done { visit: wait, outputs: outputs(&[("bottleneck", "memory")]) }).unwrap();
    let memory = now.open().next().unwrap();
    assert_eq!(memory.key, "memory");
    // It needs what this run does not know: a person gives it.
    let taken = step(Event::Take { visit: memory.n, over: false });
    assert!(matches!(&taken, Err(DeskError::No(m)) if m.contains("workload")), "{taken:?}");
    let start = Start {
        values: vec![("workload".into(), Untrusted::new("api"))],
        parent: Some((run.id.clone(), memory.n)),
        ..Start::default()
    };
    let child = desk.start_playbook(&alice, "memory", start).unwrap();
    let (now, _) = desk.playbook_run(Some(&alice), &run.id).unwrap();
    assert_eq!(now.visit(memory.n).unwrap().child.as_deref(), Some(child.id.as_str()));
    loop {
        let (c, _) = desk.playbook_run(Some(&alice), &child.id).unwrap();
        let Some(v) = c.open().next() else { break };
        desk.playbook_event(&alice, &child.id, &Event::Done { visit: v.n, outputs: BTreeMap::new() }).unwrap();
    }
    let (now, _) = desk.playbook_run(Some(&alice), &run.id).unwrap();
    assert_eq!(now.visit(memory.n).unwrap().state, VisitState::Done);
    assert_eq!(now.open().next().map(|v| v.key.as_str()), Some("verify"));
}

#[test]
fn a_restricted_run_is_not_there_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(id);
    let subject = Start { values: vec![("subject".into(), Untrusted::new("HERON"))], ..Start::default() };
    let run = desk.start_playbook(&bob, "insider-threat", subject).unwrap();
    assert!(desk.playbook_runs(Some(&alice)).unwrap().is_empty() && desk.playbook_runs(None).unwrap().is_empty());
    let note = Event::Note { visit: 1, text: Untrusted::new("a name") };
    let (known, unknown) =
        (desk.playbook_event(&alice, &run.id, &note), desk.playbook_event(&alice, "01NOTHERE", &note));
    assert!(matches!((known, unknown), (Err(DeskError::No(_)), Err(DeskError::No(_)))), "as if there were none");
    desk.playbook_event(&carol, &run.id, &Event::Admit { person: alice.clone() }).unwrap();
    desk.playbook_event(&alice, &run.id, &note).unwrap();
    let filter = crate::audit::AuditFilter::request(&run.id);
    let log = format!("{:?}", desk.audit.records(&filter, 500).unwrap());
    assert!(!log.contains("a name"), "{log}");
}

#[test]
fn what_the_desk_finds_out_nobody_types() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let [alice, carol] = ["alice", "carol"].map(id);
    // Nothing was read yet: not known, and so it is no.
    let (answer, why) = desk.fact(crate::model::playbook::BACKUPS_FRESH);
    assert_eq!(answer, Tri::Unknown, "{why}");
    let run = desk.start_playbook(&alice, "infrastructure-update", Start::default()).unwrap();
    let wished = Event::Done { visit: 1, outputs: outputs(&[("fresh", "true")]) };
    let run = desk.playbook_event(&alice, &run.id, &wished).unwrap();
    assert_eq!(run.visits[0].outputs["__fresh__"], Some(Untrusted::new("false")));
    assert!(run.visits[0].notes[0].text.expose().contains("fresh is unknown"), "{:?}", run.visits[0].notes);
    let refused = run.open().next().unwrap();
    assert_eq!(refused.key, "refuse");
    let set = Event::Set { name: "fresh".into(), value: Some(Untrusted::new("true")) };
    assert!(matches!(desk.playbook_event(&alice, &run.id, &set), Err(DeskError::Refused(_))));
    // Past it goes a commander, by name.
    let visit = refused.n;
    let over = Event::Done { visit, outputs: outputs(&[("overruled", "true")]) };
    assert!(matches!(desk.playbook_event(&carol, &run.id, &over), Err(DeskError::Refused(_))));
    let sign = Event::Sign { visit, role: "commander".into(), named: None };
    assert!(matches!(desk.playbook_event(&alice, &run.id, &sign), Err(DeskError::Refused(_))));
    desk.playbook_event(&carol, &run.id, &sign).unwrap();
    let run = desk.playbook_event(&carol, &run.id, &over).unwrap();
    assert_eq!(run.open().next().map(|v| v.key.as_str()), Some("window"));
}

#[test]
fn a_run_belongs_to_a_case_that_is_closed_with_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    demo.fill(60.0).unwrap();
    let desk = &demo.desk;
    let alice = id("alice");
    let query = desk.parse_query("look-alike", &alice).unwrap();
    let alert = desk
        .rows(&query, crate::model::query::SortKey::Risk, crate::model::query::Page::First, 1)
        .unwrap()
        .remove(0)
        .id;
    let offered = desk.offer_playbooks(Some(alert), None).unwrap();
    let best = &offered[0];
    assert_eq!(best.key, "phishing");
    let known = |name: &str| {
        let asked = best.asks.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("{name}: {:?}", best.asks));
        asked.filled.clone().unwrap()
    };
    assert_eq!(known("__sender__").value.expose(), "accounts@parcel-notice.example");
    assert!(known("__message_id__").from.contains("InternetMessageId"), "{:?}", known("__message_id__"));
    let values = best.asks.iter().filter_map(|a| Some((a.name.clone(), a.filled.clone()?.value))).collect();
    let run =
        desk.start_playbook(&alice, "phishing", Start { alert: Some(alert), values, ..Start::default() }).unwrap();
    let case = run.case.unwrap();
    assert_eq!(desk.detail(alert).unwrap().unwrap().at_work[0].run, run.id);
    desk.attach_evidence(&alice, &run.id, 1, "mail.eml", &mut &b"From: x"[..]).unwrap();
    let summary = Untrusted::new("It was phishing.");
    let disposition = crate::model::alert::Disposition::TruePositive;
    let at_work = desk.close_case(&alice, case, disposition, &summary);
    assert!(matches!(&at_work, Err(DeskError::Refused(m)) if m.contains("at work")), "{at_work:?}");
    let done = |visit, given: &[(&str, &str)]| {
        desk.playbook_event(&alice, &run.id, &Event::Done { visit, outputs: outputs(given) }).unwrap()
    };
    done(1, &[("message_id", "<1@x>"), ("sender", "a@x")]);
    let mut now = done(2, &[("is_phishing", "false")]);
    loop {
        let Some(n) = now.open().next().map(|v| v.n) else { break };
        now = done(n, &[]);
    }
    assert_eq!(now.state, crate::model::playbook_run::RunState::Done);
    let view = desk.case_view(Some(&alice), case).unwrap();
    assert_eq!((view.evidence.len(), view.alerts.len(), view.runs.len()), (1, 1, 1));
    let drawn = view.summary.expose();
    assert!(drawn.starts_with("Phishing message: done") && drawn.contains("is phishing false"), "{drawn}");
    let closed = desk.close_case(&alice, case, disposition, &summary).unwrap();
    assert!(closed.case.closed_at.is_some() && closed.closing.unwrap().summary == summary);
    assert_eq!(closed.alerts[0].status, crate::model::alert::Status::Closed);
    // Into a closed case nothing goes until somebody opens it again.
    let again = desk.start_playbook(&alice, "outage", Start { case: Some(case), ..Start::default() });
    assert!(matches!(again, Err(DeskError::Usage(_) | DeskError::Refused(_))));
    desk.reopen_case(&alice, case, &Untrusted::new("a second recipient")).unwrap();
    assert!(desk.case_view(None, case).unwrap().case.closed_at.is_none());
}

/// The child of the test below: works malware runs as fast as it can and prints what has been acknowledged.
#[test]
#[expect(clippy::disallowed_macros, reason = "this is how the parent hears what was acknowledged")]
fn killed_worker() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let desk = Demo::attach(dir.into(), Some("alice"), false).unwrap();
    let alice = id("alice");
    loop {
        let run = desk.start_playbook(&alice, "malware", host()).unwrap();
        println!("ACK {} {}", run.id, run.seq);
        let sha = "c".repeat(64);
        let given = outputs(&[("sha256", &sha), ("ran", "true"), ("verdict", "malicious"), ("others", "true")]);
        loop {
            let (now, book) = desk.playbook_run(Some(&alice), &run.id).unwrap();
            // The newest first, so that branches are open at the same time for long.
            let Some(v) = now.open().last().filter(|v| v.key != "rebuild") else { break };
            let asked = &book.step(&v.step).unwrap().out_args;
            let outputs =
                asked.iter().map(|n| (n.clone(), given.get(n.trim_matches('_')).cloned().flatten())).collect();
            let now = desk.playbook_event(&alice, &run.id, &Event::Done { visit: v.n, outputs }).unwrap();
            println!("ACK {} {}", now.id, now.seq);
            // So that the parent's kill comes near what it has read.
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test starts itself again as the process that is killed")]
fn kill_9_in_a_parallel_branch_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("d");
    drop(Demo::open(Some(folder.clone()), None).unwrap());
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..6_usize {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "desk::playbook_runs::tests::killed_worker", "--nocapture"])
            .env(CHILD, &folder)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        // Somewhere among the first steps, where three branches are open.
        for line in lines.map_while(std::result::Result::ok).filter(|l| l.contains("ACK ")).take(3 + round % 3) {
            let mut words = line.split("ACK ").nth(1).unwrap().split_whitespace();
            let (run, seq) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
            acknowledged.insert(run, seq);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(acknowledged.len() >= 6, "{acknowledged:?}");
    let desk = Demo::attach(folder, Some("alice"), false).unwrap();
    let alice = id("alice");
    let mut in_branches = 0;
    for (id, seq) in &acknowledged {
        let (run, book) = desk.playbook_run(Some(&alice), id).unwrap();
        assert!(run.seq >= *seq, "{id}: {seq} was acknowledged, {} is there", run.seq);
        let open = run.visits.iter().any(|v| v.key == "contain" && v.state == VisitState::Open);
        in_branches += usize::from(open);
        // Everything that is there was recorded first.
        let filter = crate::audit::AuditFilter::request(id);
        let seqs: std::collections::BTreeSet<u64> =
            desk.audit.records(&filter, 2000).unwrap().iter().filter_map(|r| r.body["seq"].as_u64()).collect();
        assert!((1..=run.seq).all(|n| seqs.contains(&n)), "{id}: a transition without a record");
        // It goes on where it was.
        let Some(v) = run.open().next() else { continue };
        let outputs = book.step(&v.step).unwrap().out_args.iter().map(|n| (n.clone(), None)).collect();
        if book.step(&v.step).unwrap().sign_off.is_empty() {
            desk.playbook_event(&alice, id, &Event::Done { visit: v.n, outputs }).unwrap();
        }
    }
    assert!(in_branches >= 2, "the kills missed the branches: {in_branches}");
    assert!(crate::audit::verify(&desk.data_dir.join("audit"), None).unwrap().ok);
}

#[test]
fn a_breach_has_deadlines_of_this_desks_own_clocks() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
    let desk = &demo.desk;
    let alice = id("alice");
    let values = vec![("aware_at".into(), Untrusted::new("30m ago"))];
    let run = desk.start_playbook(&alice, "data-breach", Start { values, ..Start::default() }).unwrap();
    let (run, book) = desk.playbook_run(Some(&alice), &run.id).unwrap();
    let all = desk.deadlines(&run, &book).unwrap();
    let gdpr = all.iter().find(|d| d.id == "gdpr-authority").unwrap();
    let left = gdpr.due.unwrap().duration_since(Timestamp::now());
    assert!((71..72).contains(&left.as_hours()), "{left:?}");
    assert!(all.iter().any(|d| d.id == "sec-8k" && d.began.is_none()), "nobody knows yet whether it is material");
    let mark = |clock: &str| {
        let word = Some(crate::model::playbook_run::DeadlineWord::Told);
        Event::Deadline { clock: clock.into(), word, text: "receipt 7".into() }
    };
    assert!(
        matches!(desk.playbook_event(&alice, &run.id, &mark("gdpr")), Err(DeskError::Usage(m)) if m.contains("gdpr"))
    );
    let run = desk.playbook_event(&alice, &run.id, &mark("gdpr-authority")).unwrap();
    assert!(!desk.deadlines(&run, &book).unwrap().last().unwrap().open());
    let sheet = dir.path().join("sheet.md");
    desk.write_sheet(Some(&alice), &run.id, &sheet).unwrap();
    let sheet = std::fs::read_to_string(sheet).unwrap();
    assert!(sheet.contains("[x] gdpr-authority") && sheet.contains("receipt 7"), "{sheet}");
    let aware = run.variables["__aware_at__"].value.as_ref().unwrap().expose();
    assert!(sheet.contains(&format!("{aware} is the time from which every deadline counts")), "{sheet}");
    assert!(sheet.contains("[ ] sec-8k") && sheet.contains("once material at is known"), "{sheet}");
}
