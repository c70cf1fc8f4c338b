//! The runbook that asks the desk whether there is a fresh, proven backup, over a real repository of restic: it goes on by
//! itself, refuses, or says that it does not know and asks a commander.

use std::collections::BTreeMap;

use watchfloor::desk::playbook_runs::Start;
use watchfloor::desk::{Desk, DeskError};
use watchfloor::model::health::Tri;
use watchfloor::model::playbook::BACKUPS_FRESH;
use watchfloor::model::playbook_run::{Event, Run, RunState};
use watchfloor::text::Untrusted;

use super::desk;
use super::restic::{PASSWORD, Repo};

const BOOK: &str = "infrastructure-update";

fn done(desk: &Desk, run: &Run, visit: u32, given: &[(&str, &str)]) -> Result<Run, DeskError> {
    let outputs: BTreeMap<_, _> = given.iter().map(|(n, v)| ((*n).to_owned(), Some(Untrusted::new(*v)))).collect();
    desk.playbook_event(&desk::who("alice"), &run.id, &Event::Done { visit, outputs })
}

/// The first step worked by somebody who claims that all is well: what the desk found out, in its words, and where the
/// run is then.
fn asked(desk: &Desk) -> (Run, String, String) {
    let run = desk.start_playbook(&desk::who("alice"), BOOK, Start::default()).unwrap();
    let run = done(desk, &run, 1, &[("fresh", "true")]).unwrap();
    let said = run.visits[0].notes.iter().map(|n| n.text.expose().to_owned()).collect::<Vec<_>>().join("\n");
    let at = run.open().next().unwrap().key.clone();
    (run, said, at)
}

/// Nobody gets past the refusal without a commander; who gives it up has nothing updated.
fn is_refused(desk: &Desk, run: &Run) {
    let n = run.open().next().unwrap().n;
    let over = done(desk, run, n, &[("overruled", "true")]);
    assert!(matches!(&over, Err(DeskError::Refused(w)) if w.contains("commander")), "{over:?}");
    let sign = Event::Sign { visit: n, role: "commander".into(), named: None };
    let signed = desk.playbook_event(&desk::who("alice"), &run.id, &sign);
    assert!(matches!(signed, Err(DeskError::Refused(_))), "{signed:?}");
    let set = Event::Set { name: "fresh".into(), value: Some(Untrusted::new("true")) };
    assert!(matches!(desk.playbook_event(&desk::who("alice"), &run.id, &set), Err(DeskError::Refused(_))));
    let (now, _) = desk.playbook_run(Some(&desk::who("alice")), &run.id).unwrap();
    assert_eq!(now.open().next().map(|v| v.key.as_str()), Some("refuse"));
    assert!(now.visits.iter().all(|v| !["window", "small", "roll"].contains(&v.key.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_on_only_over_a_backup_that_is_fresh_and_was_read_back() {
    let Some(repo) = Repo::new() else { return };
    std::fs::write(repo.path("actions.toml"), "").unwrap();
    let fact = |desk: &Desk| desk.fact(BACKUPS_FRESH).0;

    // Nothing is described: not known, and it asks.
    let desk = desk::open(repo.dir.path(), "alice");
    let (run, said, at) = asked(&desk);
    assert!(said.contains("fresh is unknown") && said.contains("no backups are described"), "{said}");
    assert_eq!(at, "refuse");
    is_refused(&desk, &run);

    // Described, and nobody has looked yet: a repository with no backup in it proves nothing either.
    repo.describe();
    let (run, said, at) = asked(&desk);
    assert!(said.contains("fresh is unknown"), "{said}");
    assert_eq!(at, "refuse");
    is_refused(&desk, &run);

    // One of today, on the list only: a claim.
    repo.backup(0);
    repo.list();
    desk.backups().await.unwrap();
    let (_, said, at) = asked(&desk);
    assert!(!said.contains("fresh is pass") && at == "refuse", "{said}");

    // Read back: the run goes on by itself, whatever was typed.
    assert_eq!(repo.check(PASSWORD), 0);
    desk.backups().await.unwrap();
    assert_eq!(fact(&desk), Tri::Pass);
    let run = desk.start_playbook(&desk::who("alice"), BOOK, Start::default()).unwrap();
    let run = done(&desk, &run, 1, &[("fresh", "false")]).unwrap();
    assert_eq!(run.visits[0].outputs["__fresh__"], Some(Untrusted::new("true")), "{:?}", run.visits[0].notes);
    assert_eq!(run.open().next().map(|v| v.key.as_str()), Some("window"));
    // Another console reads the same of the store, without asking anything.
    assert_eq!(fact(&desk::open(repo.dir.path(), "bob")), Tri::Pass);

    // What was good can no longer be opened.
    assert_ne!(repo.check("wrong"), 0);
    desk.backups().await.unwrap();
    let (run, said, at) = asked(&desk);
    assert!(said.contains("fresh is fail") && said.contains("soc (grade bad)"), "{said}");
    assert_eq!(at, "refuse");
    is_refused(&desk, &run);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_refused_over_a_stale_backup_and_starts_again_over_a_new_one() {
    let Some(repo) = Repo::new() else { return };
    repo.describe();
    repo.backup(3);
    repo.list();
    assert_eq!(repo.check(PASSWORD), 0);
    let desk = desk::open(repo.dir.path(), "alice");
    desk.backups().await.unwrap();
    let (run, said, at) = asked(&desk);
    assert!(said.contains("fresh is fail") && said.contains("soc (grade"), "read back, and three days old: {said}");
    assert_eq!(run.visits[0].outputs["__fresh__"], Some(Untrusted::new("false")));
    assert_eq!(at, "refuse");
    is_refused(&desk, &run);
    // The lead has no commander's word either: the run is given up, and says so.
    let reason = Untrusted::new("no commander; the backup is taken first");
    let n = run.open().next().unwrap().n;
    let over = desk.playbook_event(&desk::who("alice"), &run.id, &Event::Fail { visit: n, reason });
    assert!(over.is_ok(), "{over:?}");

    repo.backup(0);
    repo.list();
    assert_eq!(repo.check(PASSWORD), 0);
    desk.backups().await.unwrap();
    let (run, said, at) = asked(&desk);
    assert!(said.contains("fresh is pass: 1 asset has a fresh and proven backup"), "{said}");
    assert_eq!((at.as_str(), run.state), ("window", RunState::Running));
}
