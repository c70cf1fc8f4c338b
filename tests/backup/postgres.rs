//! What a real pgBackRest and a real pg_dump write, also of a repository that is taken away and of a dump cut off.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use watchfloor::model::backup::{AssetStatus, BackupPhase, Grade};
use watchfloor::model::health::Tri;

use super::desk;

struct Postgres {
    dir: tempfile::TempDir,
}

impl Postgres {
    fn new() -> Option<Self> {
        let it = Self { dir: tempfile::tempdir().unwrap() };
        // The server's own user must be able to pass.
        std::fs::set_permissions(it.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let out = it.script(&["start"], &[]);
        if out.status.code() == Some(77) {
            println!("skipped: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Some(it)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, verb: &[&str], args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/postgres.sh");
        Command::new("bash").arg(script).args(verb).arg(self.dir.path()).args(args).output().unwrap()
    }

    fn must(&self, verb: &str, args: &[&str]) -> Vec<u8> {
        let out = self.script(&[verb], args);
        assert!(out.status.success(), "{verb} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.script(&["stop"], &[]);
    }
}

async fn read(desk: &watchfloor::desk::Desk) -> [AssetStatus; 2] {
    let mut assets = desk.backups().await.unwrap().assets;
    assets.sort_by(|a, b| a.asset.name.cmp(&b.asset.name));
    assets.try_into().unwrap()
}

fn of<'a>(a: &'a AssetStatus, id: &str) -> &'a watchfloor::model::backup::Graded {
    a.backups.iter().find(|b| b.backup.id.ends_with(id)).unwrap_or_else(|| panic!("no {id}: {a:#?}"))
}

#[tokio::test]
async fn a_real_pgbackrest_and_a_real_pg_dump_are_graded() {
    let Some(pg) = Postgres::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (info, dumps) = (dir.path().join("info.json"), pg.path("dumps"));
    let backups = format!(
        "[[sources]]\nname = \"pg\"\nkind = \"pgbackrest\"\npath = \"info.json\"\n\
         [[sources]]\nname = \"dumps\"\nkind = \"pg_dump\"\npath = {dumps:?}\n\
         [[assets]]\nname = \"cluster\"\nsource = \"pg\"\ncovers = [\"soc\"]\nprofile = \"1h/24h\"\n\
         [[assets]]\nname = \"database\"\nsource = \"dumps\"\ncovers = [\"soc\"]\nprofile = \"1h/24h\"\n"
    );
    std::fs::write(dir.path().join("backups.toml"), backups).unwrap();
    std::fs::write(dir.path().join("actions.toml"), "").unwrap();
    std::fs::create_dir(&dumps).unwrap();
    std::fs::set_permissions(&dumps, std::fs::Permissions::from_mode(0o777)).unwrap();
    let desk = desk::open(dir.path(), "alice");

    // A stanza without a backup is not an error, and not a backup.
    std::fs::write(&info, pg.must("info", &[])).unwrap();
    let [cluster, _] = read(&desk).await;
    assert_eq!(
        (cluster.grade, cluster.rpo, cluster.backups.len()),
        (Grade::Unknown, Tri::Fail, 0),
        "{:?}",
        cluster.why
    );
    pg.must("backup", &["full"]);
    pg.must("backup", &["incr"]);
    std::fs::write(&info, pg.must("info", &[])).unwrap();
    let file = |name: &str| dumps.join(name);
    pg.must("dump", &[file("whole.sql").to_str().unwrap(), "plain"]);
    pg.must("dump", &[file("whole.dump").to_str().unwrap(), "custom"]);
    let whole = std::fs::read(file("whole.sql")).unwrap();
    std::fs::write(file("cut.sql"), &whole[..whole.len() / 2]).unwrap();
    let custom = std::fs::read(file("whole.dump")).unwrap();
    std::fs::write(file("cut.dump"), &custom[..custom.len() / 2]).unwrap();

    let [cluster, database] = read(&desk).await;
    let (full, incr) = (of(&cluster, "F"), of(&cluster, "I"));
    assert_eq!((full.grade, incr.grade), (Grade::C, Grade::C), "{:?} {:?}", full.why, incr.why);
    assert!(full.backup.bytes > Some(1 << 20) && full.backup.end > full.backup.start, "{full:?}");
    assert!(incr.backup.said.expose().starts_with("incr"), "{incr:?}");
    assert_eq!((cluster.rpo, cluster.newest_good.as_deref()), (Tri::Pass, Some(incr.backup.id.as_str())));
    assert_eq!(of(&database, "whole.sql").grade, Grade::C, "{:?}", of(&database, "whole.sql"));
    assert_eq!(of(&database, "whole.dump").grade, Grade::D, "{:?}", of(&database, "whole.dump"));
    assert_eq!(of(&database, "cut.sql").backup.phase, BackupPhase::Partial);
    assert_eq!(of(&database, "cut.sql").grade, Grade::Bad);
    assert!(!of(&database, "cut.dump").grade.is_good(), "{:?}", of(&database, "cut.dump"));

    // The repository is gone: pgBackRest answers with success and lists nothing.
    std::fs::rename(pg.path("repo/backup"), pg.path("away")).unwrap();
    std::fs::write(&info, pg.must("info", &[])).unwrap();
    let [cluster, _] = read(&desk).await;
    assert_eq!(cluster.newest_good, None, "{:?}", cluster.why);
    assert!(cluster.backups.iter().all(|b| b.grade == Grade::Bad && b.backup.gone_since.is_some()), "{cluster:?}");
}
