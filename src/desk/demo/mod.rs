//! The throwaway desk: bundled people, actions, policy and a scenario that runs by itself. No network, no settings.

mod backups;
mod cluster;
mod feed;
mod probes;
mod series;
mod world;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;

use super::Desk;
use super::DeskError;
use super::DeskOptions;
use super::Known;
use super::Result;
use super::live::stopped_within;
use super::scenario::Scenario;
use crate::config::Settings;
use crate::config::inventory;
use crate::config::roster;
use crate::config::settings::KubernetesSettings;
use crate::config::settings::OperateSettings;
use crate::config::settings::PrometheusSettings;
use crate::intake::format::Reader;
use crate::model::act::Act;
use crate::model::alert::Disposition;
use crate::model::alert::NewAlert;
use crate::model::alert::NewDeadLetter;
use crate::model::case::SavedView;
use crate::model::ids::PersonId;
use crate::model::query::Page;
use crate::model::query::SortKey;
use crate::respond::Catalogue;
use crate::respond::Policy;
use crate::store::Ingested;
use crate::store::Store;
use crate::text::Untrusted;

use self::world::Clock;

/// Marks a data folder as an exercise desk: its people may be switched and nothing real can run there.
const MARKER: &str = "exercise";
const BANNER: &str = "DEMO  nothing here is real";

/// What a demo's folder holds besides its store and log.
const FILES: [(&str, &str); 9] = [
    ("roster.toml", include_str!("../../../assets/demo/roster.toml")),
    ("inventory.csv", include_str!("../../../assets/demo/inventory.csv")),
    ("backups.toml", include_str!("../../../assets/demo/backups.toml")),
    ("rollouts.toml", include_str!("../../../assets/demo/rollouts.toml")),
    ("sla.toml", include_str!("../../../assets/demo/sla.toml")),
    ("slos/llm.yaml", include_str!("../../../assets/demo/slos/llm.yaml")),
    ("slos/log-intake.yaml", include_str!("../../../assets/demo/slos/log-intake.yaml")),
    ("slos/soc.toml", include_str!("../../../assets/demo/slos/soc.toml")),
    ("slos/triage-api.yml", include_str!("../../../assets/demo/slos/triage-api.yml")),
];

const ACTIONS: &str = include_str!("../../../assets/demo/actions.toml");
const POLICY: &str = include_str!("../../../assets/demo/policy.toml");

/// A demo desk. Its folder goes with it unless it was given one.
pub struct Demo {
    pub desk: Arc<Desk>,
    scenario: Scenario,
    _dir: Option<TempDir>,
}

impl Demo {
    /// Whether this folder holds a demo desk.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(MARKER).is_file()
    }

    /// Opens a demo in a folder of its own, or in `dir`: an empty or new folder, or one that holds a demo already.
    pub fn open(dir: Option<PathBuf>, person: Option<&str>) -> Result<Self> {
        let scenario = Scenario::bundled().map_err(|e| DeskError::Usage(format!("the bundled scenario: {e}")))?;
        let (dir, kept) = match dir {
            Some(dir) => {
                claim_folder(&dir)?;
                (dir, None)
            }
            None => {
                let temp = tempfile::Builder::new().prefix("watchfloor-demo-").tempdir();
                let temp = temp.map_err(|e| DeskError::Unreachable(format!("no folder for the demo: {e}")))?;
                claim_folder(temp.path())?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        let desk = Arc::new(Desk::open(demo_options(dir, person, false)?)?);
        if desk.store.revision()? == 0 {
            desk.store.set_checkpoint(MARKER, BANNER)?;
        }
        refuse_real_store(&desk)?;
        Ok(Self { desk, scenario, _dir: kept })
    }

    /// Opens the desk of a demo that another process started, as a second console does.
    pub fn attach(dir: PathBuf, person: Option<&str>, read_only: bool) -> Result<Desk> {
        let desk = Desk::open(demo_options(dir, person, read_only)?)?;
        refuse_real_store(&desk)?;
        Ok(desk)
    }

    /// Puts in what has happened before it opens: the first two scenario seconds and whatever `skip` passes over,
    /// each at the time it would have come in, and a little of the work people did on it.
    pub fn fill(&self, skip: f64) -> Result<()> {
        if self.desk.store.count(&crate::model::query::Query::All, 1, Timestamp::now())?.n > 0 {
            return Ok(());
        }
        let clock = Clock::new(skip.max(2.0), Timestamp::now(), 1.0);
        world::set_clock(self.desk.store.as_ref(), &clock)?;
        let start = clock.start();
        let scenario = self.scenario.clone().starting(start, 1.0);
        let mut reader = Reader::auto();
        for (at, record) in scenario.due(0.0, skip.max(2.0)) {
            let came = start + jiff::SignedDuration::from_millis((at * 1000.0) as i64);
            self.desk.take_in(&mut reader, &record, came)?;
        }
        self.early_work()?;
        self.desk.furnish_platform()
    }

    /// The rest of the scenario, from scenario second `skip` on.
    pub fn replay(&self, skip: f64, speed: f64) -> Replay {
        let from = skip.max(2.0);
        let mut scenario = self.scenario.clone();
        let now = Timestamp::now();
        scenario.retime(from, now, speed);
        if let Err(e) = world::set_clock(self.desk.store.as_ref(), &Clock::new(from, now, speed)) {
            tracing::warn!(error = %e, "the platform of the demo stands still");
        }
        Replay { scenario, from, speed }
    }

    /// A desk that people work at has notes, owners, closed noise and saved views.
    fn early_work(&self) -> Result<()> {
        let now = Timestamp::now();
        let store = &self.desk.store;
        let Some(bob) = PersonId::new("bob") else { return Ok(()) };
        let views = [
            ("open", "status:open", "risk"),
            ("urgent", "status:open pri<=P1", "risk"),
            ("finance", "status:open host:fin-*", "risk"),
            ("mine", "owner:me status:open", "risk"),
        ];
        for (name, query, sort) in views {
            let view = SavedView { name: name.into(), query: query.into(), sort: sort.into(), by: None };
            store.put_view(&view)?;
        }
        let query = self.desk.parse_query("sev<=low", &bob).map_err(|e| DeskError::Usage(e.to_string()))?;
        let noise = store.rows(&query, SortKey::Oldest, Page::First, 7, now)?;
        let ids: Vec<_> = noise.iter().map(|r| r.id).collect();
        if let Some((first, rest)) = ids.split_first() {
            let close = Act::Close {
                disposition: Disposition::FalsePositive,
                reason: "known noise of the nightly scan".into(),
                comment: None,
            };
            store.act(&Act::Claim, &[*first], &bob, now)?;
            store.act(&close, rest, &bob, now)?;
        }
        Ok(())
    }
}

/// The running scenario.
pub struct Replay {
    scenario: Scenario,
    from: f64,
    speed: f64,
}

impl Replay {
    pub(super) async fn run(self, desk: Arc<Desk>, mut stop: watch::Receiver<bool>) {
        let began = tokio::time::Instant::now();
        let mut reader = Reader::auto();
        let mut done = self.from;
        while done <= self.scenario.duration() {
            if stopped_within(&mut stop, Duration::from_millis(100)).await {
                return;
            }
            let now = self.from + began.elapsed().as_secs_f64() * self.speed;
            for (_, record) in self.scenario.due(done, now) {
                if let Err(e) = desk.take_in(&mut reader, &record, Timestamp::now()) {
                    tracing::warn!(error = %e, "demo record");
                }
            }
            done = now;
        }
    }
}

impl Desk {
    /// One record of the scenario, come in at `at`.
    fn take_in(&self, reader: &mut Reader, record: &[u8], at: Timestamp) -> Result<Vec<Ingested>> {
        use sha2::Digest as _;
        let keys = &self.settings.intake.keys;
        let source = Untrusted::new("demo");
        let raw_sha256: [u8; 32] = sha2::Sha256::digest(record).into();
        let (format, all) = match reader.read(record) {
            Ok(read) => read,
            Err(e) => {
                let letter = NewDeadLetter {
                    source,
                    format: Some(e.format.to_owned()),
                    offset: 0,
                    line: None,
                    reason: e.message,
                    raw: record.to_vec(),
                };
                return Ok(self.store.ingest(&[], &[letter], None, at)?);
            }
        };
        let batch: Vec<NewAlert> = all
            .into_iter()
            .map(|fields| NewAlert {
                identity: keys.identity(&format, &fields, &raw_sha256),
                group: keys.group(&format, &fields, &raw_sha256),
                asset_weight: fields.host.as_ref().map_or(100, |h| (self.assets)(h.expose())),
                fields,
                format: format.clone(),
                source: source.clone(),
                raw: record.to_vec(),
                raw_sha256,
                suppressed_by: None,
                origin: None,
            })
            .collect();
        // What is older than its arrival waits since then: a queue that opens has aged.
        let seen = batch.first().and_then(|a| a.fields.t_alert.or(a.fields.t_event)).map_or(at, |t| t.min(at));
        Ok(self.store.ingest(&batch, &[], None, seen)?)
    }
}

/// A marker laid into a real desk's folder must not let one person there act as two.
fn refuse_real_store(desk: &Desk) -> Result<()> {
    if desk.store.checkpoint(MARKER)?.is_some() {
        return Ok(());
    }
    Err(DeskError::Refused(format!("{}: marked as a demo, but its store is a real one", desk.data_dir.display())))
}

/// Makes `dir` a demo desk, or finds that it is one. Any other folder with something in it is refused.
fn claim_folder(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let cannot = |e: std::io::Error| DeskError::Unreachable(format!("{}: {e}", dir.display()));
    if Demo::is_at(dir) {
        return Ok(());
    }
    super::open::make_private_dir(dir)?;
    if std::fs::read_dir(dir).map_err(cannot)?.next().is_some() {
        return Err(DeskError::Refused(format!(
            "{}: not empty and not a demo; a demo takes an empty folder",
            dir.display()
        )));
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(cannot)?;
    std::fs::create_dir(dir.join("slos")).map_err(cannot)?;
    for (name, text) in FILES {
        std::fs::write(dir.join(name), text).map_err(cannot)?;
    }
    // Last: a folder with the marker is whole.
    std::fs::write(dir.join(MARKER), BANNER).map_err(cannot)
}

fn demo_options(data_dir: PathBuf, person: Option<&str>, read_only: bool) -> Result<DeskOptions> {
    let bad = |e: String| DeskError::Usage(format!("the demo: {e}"));
    let roster = roster::read(&data_dir.join("roster.toml")).map_err(|e| bad(e.to_string()))?.roster;
    // Built in, so that nothing written into the folder later can become an action of an exercise desk.
    let catalogue = Catalogue::parse(Path::new("demo/actions.toml"), ACTIONS).map_err(|e| bad(e.to_string()))?;
    let policy = Policy::parse(Path::new("demo/policy.toml"), POLICY).map_err(|e| bad(e.to_string()))?;
    let inventory = inventory::read(&data_dir.join("inventory.csv")).map_err(|e| bad(e.to_string()))?;
    let known = Known { inventory: Arc::new(inventory), ..Known::default() };
    let inventory = Arc::clone(&known.inventory);
    let me = PersonId::new(person.unwrap_or("alice"))
        .filter(|id| roster.get(id).is_some())
        .ok_or_else(|| DeskError::Usage("--as: the people of the demo are alice, bob and carol".into()))?;
    let mut settings = Settings::default();
    settings.desk.environment = "DEMO".into();
    settings.desk.name = "demo".into();
    platform_settings(&mut settings.operate, &data_dir);
    Ok(DeskOptions {
        data_dir,
        settings,
        roster,
        roster_file: None,
        me: Some(me),
        read_only,
        exercise: Some(BANNER.into()),
        catalogue,
        policy,
        secrets: Arc::new(|name| Err(format!("{name}: a demo has no secrets"))),
        assets: Arc::new(move |host| inventory.weight(host)),
        known,
        notices: Vec::new(),
    })
}

/// Servers that nobody asks: what they would say comes from [`world`].
fn platform_settings(operate: &mut OperateSettings, dir: &Path) {
    let there = |name: &str| Some(dir.join(name)).filter(|p| p.exists());
    operate.slos = there("slos");
    operate.rollouts = there("rollouts.toml");
    operate.backups = there("backups.toml");
    operate.sla = there("sla.toml");
    operate.refresh_seconds = 5;
    operate.prometheus.insert("prometheus".into(), PrometheusSettings::default());
    operate.kubernetes.insert(world::CLUSTER.into(), KubernetesSettings::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> (TempDir, Demo) {
        let dir = tempfile::tempdir().unwrap();
        let demo = Demo::open(Some(dir.path().join("d")), None).unwrap();
        (dir, demo)
    }

    #[test]
    fn opens_full_of_many_formats() {
        let (_dir, demo) = demo();
        demo.fill(1300.0).unwrap();
        let me = PersonId::new("alice").unwrap();
        let n = |q: &str| demo.desk.count(&demo.desk.parse_query(q, &me).unwrap(), 10_000).unwrap().n;
        assert!(n("") >= 400, "{} alerts", n(""));
        let formats =
            ["wazuh", "suricata", "ecs", "ocsf", "windows", "defender", "alertmanager", "hayabusa", "leef", "syslog"];
        let seen = formats.iter().filter(|f| n(&format!("format:{f}")) > 0).count();
        assert!(seen >= 6, "{seen} formats");
        assert_eq!(demo.desk.dead_letter_count().unwrap(), 0);
        assert!(n("pri:P0 host:fin-*") > 0, "the intrusion is there");
        assert!(n("owner:bob") > 0, "somebody has worked here");
    }

    #[test]
    fn a_demo_is_no_real_desk_and_a_real_desk_no_demo() {
        let (_dir, demo) = demo();
        let place = demo.desk.data_dir().to_owned();
        drop(demo);
        assert!(Demo::attach(place.clone(), Some("bob"), false).is_ok());
        assert!(Demo::attach(place.clone(), Some("mallory"), false).is_err());
        let mut real = demo_options(place, None, false).unwrap();
        real.exercise = None;
        assert!(matches!(Desk::open(real), Err(DeskError::Refused(_))));

        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("slos")).unwrap();
        for (name, text) in FILES {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut real = demo_options(dir.path().to_owned(), None, false).unwrap();
        real.exercise = None;
        drop(Desk::open(real).unwrap());
        std::fs::write(dir.path().join(MARKER), BANNER).unwrap();
        assert!(matches!(Demo::attach(dir.path().to_owned(), None, false), Err(DeskError::Refused(_))));
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(Demo::open(Some(dir.path().to_owned()), None), Err(DeskError::Refused(_))));
    }
}
