//! Opening a desk.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use super::Desk;
use super::DeskError;
use super::Known;
use super::Result;
use crate::audit::Audit;
use crate::config::Loaded;
use crate::config::SecretContext;
use crate::config::Settings;
use crate::config::inventory;
use crate::config::inventory::Inventory;
use crate::config::playbooks::Playbooks;
use crate::config::roster;
use crate::config::secret;
use crate::config::settings::KubernetesSettings;
use crate::model::ids::PersonId;
use crate::model::person::Roster;
use crate::operate::cluster;
use crate::respond::Catalogue;
use crate::respond::Clusters;
use crate::respond::Policy;
use crate::respond::Responder;
use crate::respond::ResponderDeps;
use crate::respond::sign::SignerFiles;
use crate::store::sqlite::SqliteStore;

/// Turns a secret reference into its value; the error never holds the value.
pub type SecretResolver = Arc<dyn Fn(&str) -> std::result::Result<String, String> + Send + Sync>;

/// The weight of a host in percent (100 is an ordinary asset).
pub type AssetWeight = Arc<dyn Fn(&str) -> u16 + Send + Sync>;

/// What a desk is made of.
pub struct DeskOptions {
    /// Made 0700 when it is not there.
    pub data_dir: PathBuf,
    pub settings: Settings,
    pub roster: Roster,
    /// Where the roster came from; read again when it changed.
    pub roster_file: Option<PathBuf>,
    /// The person at this terminal, already looked up.
    pub me: Option<PersonId>,
    pub read_only: bool,
    /// The banner of a desk where nothing is real. Such a desk lets one person act as several, so its catalogue may
    /// hold nothing but `demo` executors.
    pub exercise: Option<String>,
    pub catalogue: Catalogue,
    pub policy: Policy,
    pub secrets: SecretResolver,
    pub assets: AssetWeight,
    /// Inventory and playbooks.
    pub known: Known,
    pub notices: Vec<String>,
}

impl DeskOptions {
    /// What the settings describe.
    pub fn of(loaded: &Loaded) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| DeskError::Usage(e.to_string());
        let mut settings = loaded.settings.clone();
        let people = roster::load(loaded).map_err(|e| bad(&e))?;
        let beside = |given: &Option<PathBuf>, name: &str| {
            given.clone().or_else(|| Some(loaded.paths.config_dir.join(name)).filter(|p| p.exists()))
        };
        // From here on a desk knows its files by the settings alone.
        let operate = &mut settings.operate;
        operate.slos = beside(&operate.slos, "slos");
        operate.rollouts = beside(&operate.rollouts, "rollouts.toml");
        // Looked for again and again: it may be written while the desk is open.
        operate.backups = operate.backups.clone().or_else(|| Some(loaded.paths.config_dir.join("backups.toml")));
        operate.sla = beside(&operate.sla, "sla.toml");
        let catalogue = match beside(&settings.respond.catalogue, "actions.toml") {
            Some(path) => Catalogue::load(&path).map_err(|e| bad(&e))?,
            None => Catalogue::default(),
        };
        settings.respond.policy = beside(&settings.respond.policy, "policy.toml");
        settings.respond.allowed_signers = beside(&settings.respond.allowed_signers, "allowed_signers");
        settings.respond.revoked_keys = beside(&settings.respond.revoked_keys, "revoked_keys");
        let policy = match &settings.respond.policy {
            Some(path) => Policy::load(path).map_err(|e| bad(&e))?,
            None => Policy::built_in(),
        };
        let inventory = match &settings.desk.inventory {
            Some(path) => inventory::read(path).map_err(|e| bad(&e))?,
            None => Inventory::default(),
        };
        settings.desk.breach_clocks = beside(&settings.desk.breach_clocks, "breach_clocks.toml");
        settings.triage.playbooks = beside(&settings.triage.playbooks, "playbooks");
        let playbooks = match &settings.triage.playbooks {
            Some(folder) => Playbooks::read(folder).map_err(|e| bad(&e))?,
            None => Playbooks::bundled(),
        };
        let known = Known { inventory: Arc::new(inventory), playbooks: Arc::new(playbooks) };
        let inventory = Arc::clone(&known.inventory);
        let context = SecretContext::new(loaded);
        let secrets: SecretResolver = Arc::new(move |reference| {
            let secret = secret::resolve(reference, &context).map_err(|e| e.to_string())?;
            Ok(secret.expose().to_owned())
        });
        let me = people.roster.by_uid(roster::uid()).map(|p| p.id.clone());
        Ok(Self {
            data_dir: loaded.paths.data_dir.clone(),
            secrets,
            settings,
            roster: people.roster,
            roster_file: people.file,
            me,
            read_only: loaded.read_only,
            exercise: None,
            catalogue,
            policy,
            assets: Arc::new(move |host| inventory.weight(host)),
            known,
            notices: people.notices,
        })
    }
}

impl Desk {
    /// The desk the settings describe.
    pub fn configured(loaded: &Loaded) -> Result<Self> {
        Self::open(DeskOptions::of(loaded)?)
    }

    pub fn open(options: DeskOptions) -> Result<Self> {
        let dir = &options.data_dir;
        make_private_dir(dir)?;
        if options.exercise.is_some() {
            refuse_real_executors(&options.catalogue)?;
        } else if super::Demo::is_at(dir) {
            return Err(DeskError::Refused(format!("{}: a demo's folder cannot be a real desk", dir.display())));
        }
        let store = Arc::new(SqliteStore::open(&dir.join("desk.sqlite"))?);
        let audit = Arc::new(Audit::open(&dir.join("audit"))?);
        let roster = Arc::new(options.roster);
        let writes = |k: &KubernetesSettings| k.write_kubeconfig.is_some() || k.write_context.is_some();
        let real = options.exercise.is_none();
        let catalogue = if real && options.settings.operate.kubernetes.values().any(writes) {
            options.catalogue.with_rollouts()
        } else {
            options.catalogue
        };
        let platform = Arc::default();
        let budgets = super::platform::budgets(&platform);
        let guards = super::operate_gates::guards(&options.settings, Arc::clone(&store));
        let responder = Responder::new(ResponderDeps {
            budgets,
            guards,
            store: store.clone(),
            audit: Arc::clone(&audit),
            roster: Arc::clone(&roster),
            // In an exercise people are made up, and stay so.
            roster_file: options.roster_file.filter(|_| real),
            catalogue,
            policy: if real { options.policy } else { Policy { path: None, ..options.policy } },
            secrets: Arc::clone(&options.secrets),
            clusters: writers(&options.settings),
            run_dir: dir.join("run"),
            signers: SignerFiles {
                organisation: options.settings.respond.organisation.clone(),
                desk: options.settings.desk.name.clone(),
                // In an exercise one person acts as several, with keys of none of them.
                allowed: options.settings.respond.allowed_signers.clone().filter(|_| real),
                revoked: options.settings.respond.revoked_keys.clone(),
            },
        });
        let me = options.me.and_then(|id| roster.get(&id).cloned());
        Ok(Self {
            data_dir: options.data_dir,
            settings: options.settings,
            me,
            read_only: options.read_only,
            exercise: options.exercise,
            notices: options.notices,
            store,
            audit,
            responder,
            secrets: options.secrets,
            assets: options.assets,
            known: options.known,
            links: Arc::new(Mutex::new(Vec::new())),
            health: Mutex::new(None),
            platform,
            backends: Mutex::default(),
            asking: Default::default(),
            library: Default::default(),
            clock: None,
        })
    }
}

/// Connections that may change things, made when one is asked for.
fn writers(settings: &Settings) -> Clusters {
    let all = settings.operate.kubernetes.clone();
    Arc::new(move |name| {
        let (name, settings) = (name.to_owned(), all.get(name).cloned());
        Box::pin(async move {
            match settings {
                Some(s) => cluster::connect(&name, &s, cluster::As::Writer).await,
                None => Err(format!("there is no cluster {name:?} in operate.kubernetes")),
            }
        })
    })
}

pub(super) fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| DeskError::Unreachable(format!("{}: cannot be made: {e}", dir.display())))
}

fn refuse_real_executors(catalogue: &Catalogue) -> Result<()> {
    let defs = catalogue.defs();
    let real = defs.iter().find(|a| a.executor.word() != "demo");
    match real {
        Some(action) => Err(DeskError::Refused(format!(
            "{} runs {}: nothing real may run on an exercise desk",
            action.name,
            action.executor.word()
        ))),
        None => Ok(()),
    }
}
