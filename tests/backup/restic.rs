//! A real repository of restic: listed, read back, broken, locked out of, and pruned by people.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use watchfloor::model::action::{ReceiptState, RequestState};
use watchfloor::model::backup::Grade;
use watchfloor::model::health::SourceWord;

use super::desk;

pub const PASSWORD: &str = "quiet-harbour-19";

pub struct Repo {
    pub dir: tempfile::TempDir,
}

impl Repo {
    pub fn new() -> Option<Self> {
        if !Path::new("/usr/bin/restic").is_file() {
            println!("skipped: /usr/bin/restic is not installed");
            return None;
        }
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(repo.path("soc")).unwrap();
        repo.must(&["init"]);
        Some(repo)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, password: &str, args: &[&str]) -> Output {
        Command::new("/usr/bin/restic")
            .args(["--no-cache", "-r"])
            .arg(self.path("repo"))
            .args(args)
            .env("RESTIC_PASSWORD", password)
            .env("TZ", "UTC")
            .output()
            .unwrap()
    }

    fn must(&self, args: &[&str]) -> Vec<u8> {
        let out = self.run(PASSWORD, args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    /// One of so many days ago, each with data of its own.
    pub fn backup(&self, days: i64) {
        // No power of two bytes of one letter: it must not compress away into the tree.
        let noise: String = (0..4000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9 + days as u64))).collect();
        std::fs::write(self.path("soc").join(format!("{days}.txt")), noise).unwrap();
        let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
        let at = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        self.must(&["backup", "--time", &at, self.path("soc").to_str().unwrap()]);
    }

    /// What the job beside the repository writes, see `assets/backups.sample.toml`.
    pub fn list(&self) -> Vec<String> {
        let list = self.must(&["snapshots", "--json"]);
        std::fs::write(self.path("snapshots.json"), &list).unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
        list.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }

    pub fn check(&self, password: &str) -> i32 {
        let out = self.run(password, &["check", "--read-data"]);
        let code = out.status.code().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let told = json!({ "exit_code": code, "read_data": true, "at": Timestamp::now(), "message": said });
        std::fs::write(self.path("check.json"), told.to_string()).unwrap();
        code
    }

    pub fn describe(&self) {
        let soc = self.path("soc");
        let backups = format!(
            "[[sources]]\nname = \"files\"\nkind = \"restic\"\npath = \"snapshots.json\"\ncheck = \"check.json\"\n\
             prune = \"forget\"\n[[assets]]\nname = \"soc\"\nsource = \"files\"\ncovers = [{soc:?}]\nprofile = \"1h/24h\"\n\
             keep = \"10d\"\n"
        );
        std::fs::write(self.path("backups.toml"), backups).unwrap();
        let repo = self.path("repo");
        let actions = format!(
            "[[actions]]\nname = \"forget\"\ntitle = \"Forget\"\ntier = \"T2\"\ntargets = {{ is = {{ type = \"snapshot\" }} }}\n\
             executor = {{ kind = \"restic\", repository = {repo:?}, password = \"env:RESTIC\", timeout_seconds = 120 }}\n"
        );
        std::fs::write(self.path("actions.toml"), actions).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_restic_repository_is_graded_by_what_was_read_back_and_pruned_by_two_people() {
    let Some(repo) = Repo::new() else { return };
    repo.describe();
    for days in [40, 20, 0] {
        repo.backup(days);
    }
    let all = repo.list();
    let desk = desk::open(repo.dir.path(), "alice");

    // Versions before 0.17 tell neither size nor end: a claim, until its data was read back.
    let soc = desk::asset(&desk).await;
    assert_eq!(soc.backups.len(), 3);
    assert!(matches!(soc.grade, Grade::D | Grade::C), "{soc:?}");
    assert_eq!(repo.check(PASSWORD), 0);
    let soc = desk::asset(&desk).await;
    assert_eq!((soc.grade, soc.newest_good.as_ref()), (Grade::B, Some(&all[2])), "{:?}", soc.why);

    prunes(&desk, &repo, &all).await;

    // A bit rots in a pack.
    let left = repo.list();
    assert_eq!(left, [all[2].clone()]);
    let pack = largest(&repo.path("repo/data"));
    let sound = std::fs::read(&pack).unwrap();
    let mut rotten = sound.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    write(&pack, &rotten);
    let soc = desk::asset(&desk).await;
    assert_eq!(soc.grade, Grade::B, "what was read back once counts until somebody reads again");
    assert_ne!(repo.check(PASSWORD), 0);
    let soc = desk::asset(&desk).await;
    assert_eq!((soc.grade, soc.newest_good.as_ref()), (Grade::Bad, None), "{:?}", soc.why);
    write(&pack, &sound);
    assert_eq!(repo.check(PASSWORD), 0);
    assert_eq!(desk::asset(&desk).await.grade, Grade::B);

    // What cannot be opened cannot be restored, whatever the list says.
    assert_ne!(repo.check("wrong"), 0);
    let soc = desk::asset(&desk).await;
    assert_eq!((soc.grade, soc.newest_good.as_ref()), (Grade::Bad, None), "{:?}", soc.why);
    assert_eq!(repo.check(PASSWORD), 0);
    std::fs::rename(repo.path("repo"), repo.path("away")).unwrap();
    assert_ne!(repo.check(PASSWORD), 0);
    assert_eq!(desk::asset(&desk).await.grade, Grade::Bad);
    // The job beside it writes nothing when restic fails.
    std::fs::write(repo.path("snapshots.json"), "").unwrap();
    let read = desk.backups().await.unwrap();
    assert_eq!(read.sources[0].state, SourceWord::Unreadable);
    assert!(!read.assets[0].grade.is_good(), "{:?}", read.assets[0].why);
    assert_eq!(read.assets[0].backups.len(), 3, "history is kept, also of those that were forgotten");
}

async fn prunes(desk: &watchfloor::desk::Desk, repo: &Repo, all: &[String]) {
    let (alice, bob) = (desk::who("alice"), desk::who("bob"));
    desk::refused(desk.propose(&alice, desk::draft("forget", &all[2])).await, "would miss its objective");
    desk::refused(desk.propose(&alice, desk::draft("forget", &"0".repeat(64))).await, "no backup this desk has read");
    let plan = desk.propose_prune(&alice, "past retention").await.unwrap();
    assert!(plan.left.is_empty(), "{:?}", plan.left);
    let [request] = plan.requests.as_slice() else { panic!("{plan:?}") };
    let mut targets = request.body.targets.clone();
    targets.sort();
    let mut old = all[..2].to_vec();
    old.sort();
    assert_eq!((targets, request.state), (old, RequestState::Pending));
    assert!(request.preview.iter().all(|p| p.diff.expose().contains("is forgotten")), "{:?}", request.preview);
    assert!(!serde_json::to_string(request).unwrap().contains(PASSWORD));
    assert!(desk.approve(&alice, &request.body.id, &request.digest).is_err(), "nobody approves what they propose");
    desk::approved(repo.dir.path(), request);

    // Held meanwhile: looked at again at the start.
    let lead = desk::open(repo.dir.path(), "bob");
    lead.hold_backup(&bob, "files", &all[0], Some("case 7")).unwrap();
    desk::refused(desk.execute(&alice, &request.body.id).await, "held: case 7");
    assert_eq!(repo.list().len(), 3);
    lead.hold_backup(&bob, "files", &all[0], None).unwrap();
    let done = desk.execute(&alice, &request.body.id).await.unwrap();
    assert_eq!(done.state, RequestState::Done, "{done:?}");
    assert!(done.receipts.iter().all(|r| r.state == ReceiptState::Done));
    assert_eq!(repo.list().len(), 1);
    let soc = desk::asset(desk).await;
    assert_eq!(soc.backups.iter().filter(|b| b.backup.gone_since.is_some()).count(), 2);
    assert_eq!(soc.newest_good.as_ref(), Some(&all[2]));
    desk::refused(desk.propose(&alice, desk::draft("forget", &all[2])).await, "the last good one of soc");
    let again = desk.propose_prune(&alice, "past retention").await.unwrap();
    assert!(again.requests.is_empty() && again.left.is_empty(), "{again:?}");
}

fn largest(below: &Path) -> PathBuf {
    super::files(below).into_iter().max_by_key(|p| std::fs::metadata(p).unwrap().len()).unwrap()
}

/// Packs are written read-only.
fn write(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
