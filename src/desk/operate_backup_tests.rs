use super::*;
use crate::config::Settings;
use crate::desk::DeskOptions;
use crate::model::person::Person;
use crate::model::person::Role;
use crate::model::person::Roster;
use crate::respond::Catalogue;
use crate::respond::Policy;

/// One of several processes over a folder.
fn desk(dir: &Path) -> Arc<Desk> {
    let me = PersonId::new("alice").unwrap();
    let person = Person {
        id: me.clone(),
        name: "alice".into(),
        os_users: Vec::new(),
        uids: Vec::new(),
        keys: Vec::new(),
        roles: vec![Role::Analyst],
    };
    let mut settings = Settings::default();
    settings.operate.refresh_seconds = 1;
    settings.operate.backups = Some(dir.join("backups.toml"));
    let desk = Desk::open(DeskOptions {
        data_dir: dir.join("data"),
        settings,
        roster: Roster { people: vec![person] },
        roster_file: None,
        me: Some(me),
        read_only: false,
        exercise: None,
        catalogue: Catalogue::default(),
        policy: Policy::built_in(),
        secrets: Arc::new(|name| Err(format!("{name}: no secrets here"))),
        assets: Arc::new(|_| 100),
        known: Default::default(),
        notices: Vec::new(),
    });
    Arc::new(desk.unwrap())
}

fn describe(dir: &Path) {
    let toml = "[[sources]]\nname = \"vault\"\nkind = \"report\"\npath = \"vault.json\"\n\
                [[assets]]\nname = \"keys\"\nsource = \"vault\"\ncovers = [\"keys\"]\nprofile = \"1h/24h\"\n";
    std::fs::write(dir.join("backups.toml"), toml).unwrap();
}

fn report(dir: &Path, id: &str, ago: SignedDuration) {
    let start = Timestamp::now() - ago;
    let told = json!({ "backups": [{
        "id": id, "phase": "completed", "start": start, "end": start + SignedDuration::from_secs(9), "bytes": 9,
        "covers": ["keys"], "reachable": true,
    }]});
    std::fs::write(dir.join("vault.json"), told.to_string()).unwrap();
}

async fn until(what: &str, desk: &Desk, ok: impl Fn(&super::super::platform::Platform) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !ok(&desk.platform()) {
        assert!(Instant::now() < end, "no {what}: {:#?} {:#?}", desk.platform().assets, desk.platform().sources);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two processes; the file is written only when both are open, and the one that reads ends.
#[tokio::test(flavor = "multi_thread")]
async fn every_process_shows_what_one_reads_and_says_when_nobody_does_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (desk(dir.path()), desk(dir.path()));
    let first = one.start_live(None).unwrap();
    until("leader", &other, |_| other.is_led()).await;
    let second = other.start_live(None).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(one.platform().assets.is_empty() && other.platform().assets.is_empty());

    report(dir.path(), "v1", SignedDuration::from_hours(1));
    describe(dir.path());
    for desk in [&one, &other] {
        until("asset", desk, |p| p.assets.first().is_some_and(|a| a.newest_good.as_deref() == Some("v1"))).await;
        assert_eq!(desk.platform().assets[0].rpo, Tri::Pass);
        assert!(desk.platform().sources.iter().any(|s| s.name == "vault" && s.state == SourceWord::Live));
    }

    // A faulty file: what was shown stays and is not known any more.
    std::fs::write(dir.path().join("backups.toml"), "[[assets]]\n").unwrap();
    until("fault", &other, |p| p.sources.iter().any(|s| s.kind == "backups")).await;
    let shown = other.platform();
    assert_eq!((shown.assets.len(), shown.assets[0].rpo), (1, Tri::Unknown), "{:?}", shown.assets[0].why);
    describe(dir.path());
    until("mended", &other, |p| p.assets.first().is_some_and(|a| a.rpo == Tri::Pass)).await;

    // Whoever is left reads.
    drop(first);
    report(dir.path(), "v2", SignedDuration::from_mins(1));
    until("takeover", &other, |p| p.assets.first().is_some_and(|a| a.newest_good.as_deref() == Some("v2"))).await;
    drop(second);
    let kept = other.platform().assets[0].backups.clone();
    assert!(kept.iter().any(|b| b.backup.id == "v1" && b.backup.gone_since.is_some()), "{kept:?}");
}

#[tokio::test]
async fn a_repository_nobody_reads_any_more_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path());
    describe(dir.path());
    report(dir.path(), "v1", SignedDuration::from_hours(1));
    desk.backups().await.unwrap();
    let config = desk.backup_config().unwrap();
    let mut readings = history::readings(desk.store.as_ref()).unwrap();
    let fresh = desk.recalled_backups(&config, &readings).unwrap();
    assert_eq!((fresh.assets[0].rpo, fresh.sources[0].state), (Tri::Pass, SourceWord::Live));
    for (reading, _) in readings.values_mut() {
        reading.at -= SignedDuration::from_mins(10);
    }
    let stale = desk.recalled_backups(&config, &readings).unwrap();
    assert_eq!((stale.assets[0].rpo, stale.sources[0].state), (Tri::Unknown, SourceWord::Lost));
    assert!(stale.sources[0].detail.expose().starts_with("stale: last read at"), "{:?}", stale.sources);
    assert!(!stale.assets[0].grade.is_good());
    let none = desk.recalled_backups(&config, &HashMap::new()).unwrap();
    assert_eq!((none.assets[0].rpo, none.sources[0].state), (Tri::Unknown, SourceWord::Starting));
}
