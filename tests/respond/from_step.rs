//! What a step of a playbook asks for, from the proposal to the run that shows what came of it: real Ansible, a real
//! HTTP server, a real sshd, two people at their own consoles.

use std::collections::BTreeMap;

use watchfloor::config::Settings;
use watchfloor::desk::playbook_propose::from_receipts;
use watchfloor::desk::playbook_runs::Start;
use watchfloor::desk::{self, DeskError, DeskOptions, Known};
use watchfloor::model::playbook::ACTION;
use watchfloor::model::playbook_run::{Event, Run, Visit, VisitState};
use watchfloor::text::Untrusted;

use super::*;

/// The whole desk in `dir`, at the console of one person: `actions.toml` and `books/` are there.
fn console(dir: &Path, me: &str) -> desk::Desk {
    let mut settings = Settings::default();
    settings.triage.playbooks = Some(dir.join("books"));
    desk::Desk::open(DeskOptions {
        data_dir: dir.join("data"),
        settings,
        roster: roster(),
        roster_file: None,
        me: Some(id(me)),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::load(&dir.join("actions.toml")).unwrap(),
        policy: Policy::built_in(),
        secrets: Arc::new(|reference| match reference {
            "keyring:soar" => Ok("s3cr3t-t0ken-0042".to_owned()),
            other => Err(format!("{other} is not set")),
        }),
        assets: Arc::new(|_| 100),
        known: Known::default(),
        notices: Vec::new(),
    })
    .unwrap()
}

/// A playbook whose first step asks for something in one way (`ansible = "..."`), and goes on by whether it worked.
fn book(dir: &Path, way: &str) {
    fs::create_dir_all(dir.join("books")).unwrap();
    let text = format!(
        "key = \"one-way\"\ntitle = \"One way\"\ncreated = \"2026-01-31T09:00:00.000Z\"\nexception = \"tell\"\n\n\
         [vars.host]\ntype = \"string\"\nexternal = true\n[vars.address]\ntype = \"ipv4-addr\"\nexternal = true\n\
         [vars.done]\ntype = \"bool\"\n\n\
         [[steps]]\nkey = \"act\"\nname = \"Act\"\ndo = \"Act on __host__:value, which is __address__:value.\"\n{way}\n\
         gives = [\"done\"]\n\n[[steps]]\nkey = \"worked\"\nname = \"Did it work?\"\nif = \"__done__:value\"\n\
         yes = \"good\"\nno = \"tell\"\nthen = \"end\"\n\n[[steps]]\nkey = \"good\"\nname = \"Write it down\"\n\
         do = \"Write it down.\"\nthen = \"end\"\n\n[[steps]]\nkey = \"tell\"\nname = \"Tell the lead\"\n\
         do = \"Say what failed.\"\nthen = \"end\"\n"
    );
    fs::write(dir.join("books/one-way.toml"), text).unwrap();
}

fn begun(alice: &desk::Desk, host: &str) -> Run {
    let values = [("host", host), ("address", "203.0.113.25")];
    let values = values.map(|(n, v)| (n.to_owned(), Untrusted::new(v))).to_vec();
    let run = alice.start_playbook(&id("alice"), "one-way", Start { values, ..Start::default() }).unwrap();
    assert_eq!(run.visits[0].key, "act");
    run
}

/// Proposed from the first step by alice as the step offers it, with these parameters; never carried by her alone.
async fn proposed(alice: &desk::Desk, run: &Run, action: &str, params: &[(&str, &str)]) -> Request {
    let offer = alice.step_offer(&id("alice"), &run.id, 1).unwrap();
    let act = offer.actions.iter().find(|a| a.action == action).unwrap_or_else(|| panic!("{offer:?}"));
    let target = act.targets.clone().unwrap_or_else(|| panic!("no target is known: {act:?}"));
    assert!(target.from.ends_with("of this playbook"), "{target:?}");
    let mut d = draft(action, &[target.value.expose()], params);
    d.reason = offer.reason.clone();
    let request = alice.propose_from_step(&id("alice"), &run.id, 1, d).await.unwrap();
    assert_eq!((request.state, request.body.suggested_by), (RequestState::Pending, Suggested::Playbook));
    assert!(request.body.reason.expose().starts_with("playbook one-way (run "), "{:?}", request.body.reason);
    let alone = alice.approve(&id("alice"), &request.body.id, &request.digest);
    assert!(matches!(&alone, Err(DeskError::Refused(w)) if w.contains("somebody else")), "{alone:?}");
    request
}

/// Approved by bob at his own console, run by alice; the step then knows how it ended, for everybody.
async fn carried_out(dir: &Path, alice: &desk::Desk, run: &Run, request: &Request) -> Request {
    let early = alice.execute(&id("alice"), &request.body.id).await;
    assert!(early.is_err(), "nobody approved it yet: {early:?}");
    let bob = console(dir, "bob");
    bob.approve(&id("bob"), &request.body.id, &request.digest).unwrap();
    let done = alice.execute(&id("alice"), &request.body.id).await.unwrap();
    for at in [alice, &bob] {
        let (now, _) = at.playbook_run(Some(&id("bob")), &run.id).unwrap();
        assert_eq!(now.visits[0].requests, std::slice::from_ref(&request.body.id));
        let shown = at.requests_of(&now).unwrap();
        assert_eq!((shown.len(), shown[0].state), (1, done.state));
        assert_eq!(states(&shown[0]), states(&done));
    }
    done
}

/// The step is done with what follows from the receipts, and they are kept with it. Gives the run and where it is now.
fn told(alice: &desk::Desk, run: &Run, request: &Request) -> (Run, Visit) {
    let known = from_receipts("__done__", "bool", request).map(Untrusted::new);
    let done = Event::Done { visit: 1, outputs: BTreeMap::from([("done".to_owned(), known)]) };
    let run = alice.playbook_event(&id("alice"), &run.id, &done).unwrap();
    let [kept] = run.visits[0].evidence.as_slice() else { panic!("{:?}", run.visits[0].evidence) };
    assert!(kept.name.expose().starts_with(&format!("receipts-{}-", request.body.action)), "{kept:?}");
    let file = alice.evidence_folder().join(&kept.sha256[..2]).join(&kept.sha256);
    let file = if file.exists() { file } else { alice.evidence_folder().join(&kept.sha256) };
    let receipts: Request = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!((&receipts.body.id, receipts.state), (&request.body.id, request.state));
    let (run, book) = alice.playbook_run(Some(&id("alice")), &run.id).unwrap();
    let sheet = desk::playbook::sheet(&book, Some((&run, &[])));
    assert!(sheet.contains(&format!("action asked for: request {}", request.body.id.as_str())), "{sheet}");
    assert!(sheet.contains("evidence receipts-"), "{sheet}");
    let now = run.open().last().unwrap().clone();
    (run, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_names_an_ansible_playbook_runs_it_and_goes_on_by_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    if super::ansible::ansible_desk(dir.path()).is_none() {
        return;
    }
    // The file of that name, whatever folder its author had it in.
    book(dir.path(), "ansible = \"roles/edge/quarantine.yml\"");
    let alice = console(dir.path(), "alice");
    let run = begun(&alice, "web1");
    let offer = alice.step_offer(&id("alice"), &run.id, 1).unwrap();
    assert!(offer.named && offer.actions.len() == 1, "{offer:?}");
    let request = proposed(&alice, &run, "quarantine", &[]).await;
    assert!(request.preview[0].diff.expose().contains("+zone quarantine"), "{:?}", request.preview);
    let file = dir.path().join("web1.conf");
    assert!(!file.exists(), "a proposal changes nothing");
    let done = carried_out(dir.path(), &alice, &run, &request).await;
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done]), "{done:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "zone quarantine\nlevel high\n");
    let (run, now) = told(&alice, &run, &done);
    assert_eq!(run.visits[0].outputs["__done__"], Some(Untrusted::new("true")));
    assert_eq!((now.key.as_str(), now.state.over()), ("good", false));
    // What is over proposes nothing any more.
    let late = alice.propose_from_step(&id("alice"), &run.id, 1, draft("quarantine", &["web1"], &[])).await;
    assert!(matches!(&late, Err(DeskError::No(w)) if w.contains("already")), "{late:?}");

    // One that fails is told as failed, and the run takes the other way.
    let run = begun(&alice, "web2");
    let request = proposed(&alice, &run, "quarantine", &[("level", "odd")]).await;
    let failed = carried_out(dir.path(), &alice, &run, &request).await;
    assert_eq!((failed.state, states(&failed)), (RequestState::Failed, vec![ReceiptState::Failed]), "{failed:?}");
    assert_eq!(told(&alice, &run, &failed).1.key, "tell");
    assert!(audit::verify(&dir.path().join("data/audit"), None).unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_a_call_of_an_interface_is_sent_once_when_another_approved_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = super::http::server();
    fs::write(dir.path().join("actions.toml"), super::http::actions(server.port)).unwrap();
    // What its author wrote is shown, never sent: what is sent is the action of the catalogue.
    book(dir.path(), "http = \"POST https://elsewhere.example/block\"");
    let alice = console(dir.path(), "alice");
    let run = begun(&alice, "web1");
    let offer = alice.step_offer(&id("alice"), &run.id, 1).unwrap();
    assert!(!offer.named && offer.actions.len() > 1, "{offer:?}");
    let request = proposed(&alice, &run, "ok", &[("hours", "7")]).await;
    let sent = || server.got.lock().unwrap().clone();
    assert!(sent().is_empty(), "a proposal sends nothing");
    let done = carried_out(dir.path(), &alice, &run, &request).await;
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done]), "{done:?}");
    let [got] = sent().try_into().unwrap();
    let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((body["address"].as_str(), &body["hours"]), (Some("203.0.113.25"), &7.into()), "the run's address");
    assert!(body["text"][0].as_str().unwrap().starts_with("alice: playbook one-way (run "), "{body}");
    assert!(receipt(&done, "203.0.113.25").detail.expose().contains("\"ticket\":42"), "{done:?}");
    assert_eq!(told(&alice, &run, &done).1.key, "good");

    // One bob denies: nothing is sent, no receipt is kept, and nothing is said to have worked.
    let run = begun(&alice, "web1");
    let request = proposed(&alice, &run, "ok", &[]).await;
    let denied = console(dir.path(), "bob").deny(&id("bob"), &request.body.id, "not ours".into()).unwrap();
    assert_eq!(denied.state, RequestState::Denied);
    let (now, _) = alice.playbook_run(Some(&id("alice")), &run.id).unwrap();
    assert_eq!(alice.requests_of(&now).unwrap()[0].state, RequestState::Denied);
    assert!(alice.execute(&id("alice"), &request.body.id).await.is_err());
    assert!(from_receipts("done", "bool", &denied).is_none_or(|worked| worked == "false"));
    assert_eq!(sent().len(), 1);
    // The server's no is a failure.
    let request = proposed(&alice, &run, "broken", &[]).await;
    console(dir.path(), "bob").approve(&id("bob"), &request.body.id, &request.digest).unwrap();
    let failed = alice.execute(&id("alice"), &request.body.id).await.unwrap();
    assert_eq!((failed.state, states(&failed)), (RequestState::Failed, vec![ReceiptState::Failed]));
    let (now, _) = alice.playbook_run(Some(&id("alice")), &run.id).unwrap();
    let ended: Vec<RequestState> = alice.requests_of(&now).unwrap().iter().map(|r| r.state).collect();
    assert_eq!(ended, [RequestState::Denied, RequestState::Failed], "both stand in the step");
    assert_eq!(from_receipts("done", "bool", &failed).as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_over_ssh_runs_on_the_host_of_the_run_and_what_is_not_known_is_decided_by_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sshd) = super::remote::Sshd::start(dir.path()) else { return };
    drop(super::remote::site(dir.path(), &sshd, 1));
    book(dir.path(), "ssh = \"show __host__:value\"");
    let alice = console(dir.path(), "alice");
    let run = begun(&alice, "web1");
    let request = proposed(&alice, &run, "show", &[("a", "$(touch pwned)")]).await;
    assert!(!dir.path().join("web1.args").exists());
    let done = carried_out(dir.path(), &alice, &run, &request).await;
    assert_eq!((done.state, states(&done)), (RequestState::Done, vec![ReceiptState::Done]), "{done:?}");
    assert!(receipt(&done, "web1").detail.expose().contains("hello from web1"), "{done:?}");
    let args = fs::read_to_string(dir.path().join("web1.args")).unwrap();
    let args: Vec<&str> = args.trim_end_matches('\0').split('\0').collect();
    assert_eq!(args[..3], ["web1", "--", "$(touch pwned)"]);
    assert_eq!(told(&alice, &run, &done).1.key, "good");

    // Whether it happened is not known: nothing follows from it, and the branch waits for somebody who says.
    let run = begun(&alice, "web3");
    let request = proposed(&alice, &run, "hang", &[]).await;
    let hung = carried_out(dir.path(), &alice, &run, &request).await;
    assert_eq!((hung.state, states(&hung)), (RequestState::Failed, vec![ReceiptState::Unknown]), "{hung:?}");
    assert_eq!(from_receipts("done", "bool", &hung), None);
    let (_, now) = told(&alice, &run, &hung);
    assert_eq!((now.key.as_str(), now.state), ("worked", VisitState::Undecided));
    let decide = Event::Decide { visit: now.n, branch: "no".into(), reason: Untrusted::new("it still beacons") };
    let decided = alice.playbook_event(&id("alice"), &run.id, &decide).unwrap();
    assert_eq!(decided.open().last().map(|v| v.key.as_str()), Some("tell"));

    // A host the catalogue does not list, and an action it does not have.
    let run = begun(&alice, "web9");
    let stranger = alice.propose_from_step(&id("alice"), &run.id, 1, draft("show", &["web9"], &[])).await;
    assert!(matches!(&stranger, Err(DeskError::Refused(w)) if w.contains("not among the hosts")), "{stranger:?}");
    let (now, _) = alice.playbook_run(Some(&id("alice")), &run.id).unwrap();
    assert!(now.visits[0].requests.is_empty());
    book(dir.path(), "action = \"shwo\"");
    let run = begun(&alice, "web1");
    let missing = alice.step_offer(&id("alice"), &run.id, 1);
    let said = format!("no action of the catalogue does this step's {ACTION}");
    assert!(
        matches!(&missing, Err(DeskError::No(w)) if w.contains(&said) && w.contains("did its author mean \"show\"?")),
        "{missing:?}"
    );
}
