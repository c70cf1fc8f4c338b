//! Looking at what a desk is made of without opening it for work: for `config check` and `doctor`.

use std::path::PathBuf;

use super::Result;
use crate::audit;
use crate::config::Faults;
use crate::config::Loaded;
use crate::config::keys::dotted;
use crate::config::playbooks::Playbooks;
use crate::config::settings::SourceSettings;
use crate::intake::format::Reader;
use crate::operate::backup;
use crate::operate::sla::Agreement;
use crate::operate::slo::spec::Folder;
use crate::respond::Catalogue;
use crate::respond::Policy;
use crate::respond::notify;
use crate::store::Store as _;
use crate::store::sqlite::SqliteStore;

/// What the files say, when they are right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The catalogue and how many actions it has.
    pub catalogue: Option<(PathBuf, usize)>,
    /// `None`: the built-in policy.
    pub policy: Option<PathBuf>,
}

/// A file of the settings, else one of that name beside them, if it is there.
pub fn beside(loaded: &Loaded, given: &Option<PathBuf>, name: &str) -> Option<PathBuf> {
    given.clone().or_else(|| Some(loaded.paths.config_dir.join(name)).filter(|p| p.exists()))
}

/// Reads catalogue, policy and the files of the platform's health, and checks the formats and field maps of sources, which only the rooms behind a desk
/// know. Tells every fault.
pub fn files(loaded: &Loaded) -> std::result::Result<Files, Faults> {
    let mut faults = Faults::default();
    let mut files = Files::default();
    let respond = &loaded.settings.respond;
    if let Some(path) = beside(loaded, &respond.catalogue, "actions.toml") {
        match Catalogue::load(&path) {
            Ok(c) => files.catalogue = Some((path, c.defs().len())),
            Err(f) => faults.extend(f),
        }
    }
    if let Some(path) = beside(loaded, &respond.policy, "policy.toml") {
        match Policy::load(&path) {
            Ok(_) => files.policy = Some(path),
            Err(f) => faults.extend(f),
        }
    }
    if let Some(folder) = beside(loaded, &loaded.settings.triage.playbooks, "playbooks") {
        let own = crate::playbook::check::faults(&folder);
        if let Err(mut f) = Playbooks::read(&folder) {
            // What has been told with its line is not told again.
            f.0.retain(|f| !own.0.iter().any(|o| o.place.path().is_some() && o.place.path() == f.place.path()));
            faults.extend(f);
        }
        faults.extend(own);
    }
    if let Some(path) = beside(loaded, &loaded.settings.desk.breach_clocks, "breach_clocks.toml")
        && let Err(f) = crate::playbook::clocks::read(&path)
    {
        faults.extend(f);
    }
    for w in notify::configured(&loaded.settings.notify).1 {
        faults
            .add(loaded.place_of(&["notify", &w.name, w.key]), format!("{}: {}", dotted(&["notify", &w.name]), w.what));
    }
    platform(loaded, &mut faults);
    formats(loaded, &mut faults);
    faults.sort();
    faults.or(files)
}

/// What the platform's health is read from: objectives, backups, agreements.
fn platform(loaded: &Loaded, faults: &mut Faults) {
    let operate = &loaded.settings.operate;
    let slos = beside(loaded, &operate.slos, "slos").map(|p| Folder::read(&p).map(drop));
    let backups = beside(loaded, &operate.backups, "backups.toml").map(|p| backup::config::read(&p).map(drop));
    let sla = beside(loaded, &operate.sla, "sla.toml").map(|p| Agreement::load(&p).map(drop));
    let rollouts = beside(loaded, &operate.rollouts, "rollouts.toml");
    let rollouts = rollouts.map(|p| super::operate_gates::read(&p, &loaded.settings).map(drop));
    for read in [slos, rollouts, backups, sla].into_iter().flatten() {
        if let Err(f) = read {
            faults.extend(f);
        }
    }
}

fn formats(loaded: &Loaded, faults: &mut Faults) {
    let intake = &loaded.settings.intake;
    let mut maps_are_good = true;
    for (name, map) in &intake.generic {
        let one = [(name.clone(), map.clone())].into();
        if let Err(why) = Reader::new(None, &one) {
            maps_are_good = false;
            faults.add(loaded.place_of(&["intake", "generic", name]), why);
        }
    }
    for (name, source) in intake.sources.iter().filter(|_| maps_are_good) {
        let format = match source {
            SourceSettings::Follow { format, .. } | SourceSettings::Directory { format, .. } => format,
            SourceSettings::Opensearch(os) => &os.format,
        };
        if let Err(why) = Reader::new(format.as_deref(), &intake.generic) {
            let path = ["intake", "sources", name, "format"];
            faults.add(loaded.place_of(&path), format!("{}: {why}", dotted(&path)));
        }
    }
}

/// Whether the store opens, and with `deep` its own check of every page (which reads it whole): `ok`, or what is
/// damaged. `None` when there is no store yet. Opening it may bring it up to this version, as any command would.
pub fn store(loaded: &Loaded, deep: bool) -> Option<Result<String>> {
    let path = loaded.paths.data_dir.join("desk.sqlite");
    path.exists().then(|| {
        let store = SqliteStore::open(&path)?;
        let revision = store.revision()?;
        if deep { Ok(store.integrity_check()?) } else { Ok(format!("revision {revision}")) }
    })
}

/// How it goes with one of those who are told of what happens to requests: name, whether it goes well, and a sentence.
/// `None` when there is no store yet.
pub fn notifiers(loaded: &Loaded) -> Option<Result<Vec<(String, bool, String)>>> {
    let path = loaded.paths.data_dir.join("desk.sqlite");
    (path.exists() && !loaded.settings.notify.is_empty()).then(|| {
        let store = SqliteStore::open(&path)?;
        let mut all = Vec::new();
        for name in loaded.settings.notify.keys() {
            let state = notify::outbox::state(&store, name)?;
            let waiting = notify::outbox::waiting(&store, name, notify::outbox::QUEUE)?.len();
            let dead = notify::outbox::dead_letters(&store, name, notify::outbox::DEAD)?.len();
            let error = state.last_error.as_ref().map(|(at, e)| format!("; {at:.0}: {e}")).unwrap_or_default();
            let last = state.last_sent.map_or("never".to_owned(), |t| format!("{t:.0}"));
            let said = format!(
                "{} told, last {last}; {waiting} wait, {dead} dead{}",
                state.sent,
                if state.failing > 0 { error } else { String::new() }
            );
            all.push((name.clone(), state.failing == 0 && dead == 0, said));
        }
        Ok(all)
    })
}

/// Whether the audit log is whole, and the sentence about it. `None` when there is no log yet.
pub fn audit_log(loaded: &Loaded) -> Option<(bool, String)> {
    let dir = loaded.paths.data_dir.join("audit");
    dir.exists().then(|| match audit::verify(&dir, None) {
        Ok(report) if report.ok => (true, format!("{} records, root {}", report.size, report.root)),
        Ok(report) => {
            let first = report.faults.first().map(|f| f.what.clone()).unwrap_or_default();
            (false, format!("{} faults, the first: {first}", report.faults.len() as u64 + report.more_faults))
        }
        Err(e) => (false, e.to_string()),
    })
}
