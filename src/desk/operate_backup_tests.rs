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

/// In one piece: the desk reads it at any time, also between two writes of one file.
fn write(path: &Path, text: &str) {
    let part = path.with_extension("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(&part, path).unwrap();
}

fn describe(dir: &Path) {
    let toml = "[[sources]]\nname = \"vault\"\nkind = \"report\"\npath = \"vault.json\"\n\
                [[assets]]\nname = \"keys\"\nsource = \"vault\"\ncovers = [\"keys\"]\nprofile = \"1h/24h\"\n";
    write(&dir.join("backups.toml"), toml);
}

fn report(dir: &Path, id: &str, ago: SignedDuration) {
    let start = Timestamp::now() - ago;
    let told = json!({ "backups": [{
        "id": id, "phase": "completed", "start": start, "end": start + SignedDuration::from_secs(9), "bytes": 9,
        "covers": ["keys"], "reachable": true,
    }]});
    write(&dir.join("vault.json"), &told.to_string());
}

async fn until(what: &str, desk: &Desk, ok: impl Fn(&super::super::platform::Platform) -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
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
        let live = |p: &super::super::platform::Platform| {
            p.assets.first().is_some_and(|a| a.rpo == Tri::Pass)
                && p.sources.iter().any(|s| s.name == "vault" && s.state == SourceWord::Live)
        };
        until("a good reading", desk, live).await;
    }

    // A faulty file: what was shown stays and is not known any more.
    write(&dir.path().join("backups.toml"), "[[assets]]\n");
    until("fault", &other, |p| p.sources.iter().any(|s| s.kind == "backups")).await;
    let shown = other.platform();
    assert_eq!((shown.assets.len(), shown.assets[0].rpo), (1, Tri::Unknown), "{:?}", shown.assets[0].why);
    describe(dir.path());
    until("mended", &other, |p| p.assets.first().is_some_and(|a| a.rpo == Tri::Pass)).await;

    // Whoever is left reads.
    drop(first);
    report(dir.path(), "v2", SignedDuration::from_mins(1));
    // What it remembers of a reading is shown while it is still written, backup by backup: both are waited for.
    let gone = |a: &AssetStatus| a.backups.iter().any(|b| b.backup.id == "v1" && b.backup.gone_since.is_some());
    let taken_over = |a: &AssetStatus| a.newest_good.as_deref() == Some("v2") && gone(a);
    until("takeover", &other, |p| p.assets.first().is_some_and(taken_over)).await;
    drop(second);
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

/// A server of snapshots: the first list it is asked for is the old one, and comes only when it is let go.
async fn slow_once(go: Arc<tokio::sync::Notify>, asked: Arc<tokio::sync::Notify>) -> String {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (go, asked, first) = (Arc::clone(&go), Arc::clone(&asked), Arc::clone(&first));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = socket.read_u8().await else { return };
                    head.push(byte);
                }
                let snapshot = |name: &str, ago: i64| {
                    let at = (Timestamp::now() - SignedDuration::from_mins(ago)).as_millisecond();
                    json!({ "snapshot": name, "uuid": name, "state": "SUCCESS", "indices": ["logs"],
                        "start_time_in_millis": at, "end_time_in_millis": at + 1,
                        "shards": { "total": 1, "failed": 0, "successful": 1 } })
                };
                let (mut status, mut body) = ("404 Not Found", json!({ "error": "no handler" }));
                if head.starts_with(b"GET /_snapshot/nightly/_all") {
                    let mut all = vec![snapshot("one", 20)];
                    if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                        asked.notify_one();
                        go.notified().await;
                    } else {
                        all.push(snapshot("two", 10));
                    }
                    (status, body) = ("200 OK", json!({ "snapshots": all }));
                }
                let body = body.to_string();
                let answer =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reading_does_not_call_gone_what_another_process_found_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (go, asked) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let url = slow_once(Arc::clone(&go), Arc::clone(&asked)).await;
    let toml = format!(
        "[[sources]]\nname = \"search\"\nkind = \"opensearch\"\nurl = \"{url}\"\nrepository = \"nightly\"\n\
         timeout_seconds = 600\n[[assets]]\nname = \"logs\"\nsource = \"search\"\ncovers = [\"logs\"]\nprofile = \"1h/24h\"\n"
    );
    write(&dir.path().join("backups.toml"), &toml);
    let (slow, quick) = (desk(dir.path()), desk(dir.path()));
    let reading = tokio::spawn({
        let slow = Arc::clone(&slow);
        async move { slow.backups().await.unwrap() }
    });
    asked.notified().await;
    let ids = |backups: &[crate::model::backup::Graded]| {
        let mut ids: Vec<_> = backups.iter().map(|b| (b.backup.id.clone(), b.backup.gone_since.is_some())).collect();
        ids.sort();
        ids
    };
    let both = [("one".to_owned(), false), ("two".to_owned(), false)];
    assert_eq!(ids(&quick.backups().await.unwrap().assets[0].backups), both);
    go.notify_one();
    reading.await.unwrap();
    assert_eq!(ids(&quick.remembered_backups().unwrap().assets[0].backups), both);
}
