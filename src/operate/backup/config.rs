//! `backups.toml`: what must be recoverable, how soon, and where its backups are. The documented example is
//! `assets/backups.sample.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use super::drill::DrillConfig;
use super::drill::config as drill;
use super::schedule::Cron;
use crate::config::doc::At;
use crate::config::doc::Doc;
use crate::config::doc::Fields;
use crate::config::doc::Table;
use crate::config::fault::Faults;
use crate::config::fault::nearest;
use crate::model::backup::Asset;

/// The documented example.
pub const SAMPLE: &str = include_str!("../../../assets/backups.sample.toml");

const KINDS: [&str; 6] = ["velero", "opensearch", "pgbackrest", "restic", "pg_dump", "report"];
const YEAR: i64 = 366 * 86_400;
const FRESH_SECONDS: u64 = 86_400;
const TIMEOUT_SECONDS: u64 = 20;

/// A whole `backups.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub assets: Vec<AssetConfig>,
    pub sources: Vec<Source>,
    /// By name, as in `Backup::location`; those of a source with one place are under the source's own name.
    pub locations: BTreeMap<String, Location>,
    pub drills: Vec<DrillConfig>,
}

/// What must be recoverable, and where else copies of it are.
#[derive(Clone, Debug, PartialEq)]
pub struct AssetConfig {
    pub asset: Asset,
    /// Sources besides `asset.source` whose backups are copies of it too.
    pub copies: Vec<String>,
    /// What kind of storage the original is on.
    pub medium: Option<String>,
    /// How long backups must be kept.
    pub keep_seconds: Option<u64>,
    /// How many good ones must be kept at least.
    pub keep_at_least: u32,
}

/// Where backups are.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: String,
    pub config: SourceConfig,
    /// Action of the catalogue that removes backups of it; its targets are backups, see [`Source::target`].
    pub prune: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourceConfig {
    Velero {
        /// As named in `operate.kubernetes`.
        cluster: String,
        /// Velero's own.
        namespace: String,
    },
    Opensearch(OpensearchSource),
    Files(FileSource),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpensearchSource {
    /// Such as `https://search.example:9200`.
    pub url: String,
    pub repository: String,
    pub username: Option<String>,
    /// Secret reference.
    pub password: Option<String>,
    pub ca: Option<PathBuf>,
    pub timeout_seconds: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FileSource {
    pub kind: FileKind,
    /// A JSON file; a folder for `pg_dump`.
    pub path: PathBuf,
    /// `restic`: what `restic check --json` said, with its exit code.
    pub check: Option<PathBuf>,
    /// A file older than this speaks of the past only.
    pub fresh_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Pgbackrest,
    Restic,
    PgDump,
    Report,
}

impl Source {
    /// A backup as the action that removes it names it: for Velero `CLUSTER/NAMESPACE/NAME`, else its id.
    pub fn target(&self, id: &str) -> String {
        match &self.config {
            SourceConfig::Velero { cluster, namespace } => format!("{cluster}/{namespace}/{id}"),
            SourceConfig::Opensearch(_) | SourceConfig::Files(_) => id.to_owned(),
        }
    }
}

impl SourceConfig {
    /// As in `Backup::kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Velero { .. } => "velero",
            Self::Opensearch(_) => "opensearch",
            Self::Files(f) => match f.kind {
                FileKind::Pgbackrest => "pgbackrest",
                FileKind::Restic => "restic",
                FileKind::PgDump => "pg_dump",
                FileKind::Report => "report",
            },
        }
    }
}

/// What is known of a place backups are kept in, for 3-2-1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Kind of storage, such as `disk`, `object store`, `tape`.
    pub medium: Option<String>,
    pub offsite: Option<bool>,
}

impl Config {
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|s| s.name == name)
    }

    pub fn asset(&self, name: &str) -> Option<&AssetConfig> {
        self.assets.iter().find(|a| a.asset.name == name)
    }
}

/// Reads a file; paths in it are relative to its folder.
pub fn read(path: &Path) -> Result<Config, Faults> {
    parse(&Doc::read(path)?)
}

pub fn parse(doc: &Doc) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut root = Fields::new(doc, &doc.root, "the file", &mut faults);
    let (sources, assets, locations) = (root.tables("sources"), root.tables("assets"), root.tables("locations"));
    let drills = root.tables("drills");
    root.finish();
    let base = doc.path.parent().unwrap_or(Path::new("")).to_owned();
    let mut config = Config::default();
    for table in sources {
        source(doc, table, &base, &mut config, &mut faults);
    }
    for table in locations {
        location(doc, table, &mut config, &mut faults);
    }
    for table in assets {
        asset(doc, table, &mut config, &mut faults);
    }
    for table in drills {
        drill::read(doc, table, &mut config, &mut faults);
    }
    faults.sort();
    faults.or(config)
}

/// A name that is not empty, holds nothing that cannot be shown and was not given yet.
fn name(f: &mut Fields, taken: impl Fn(&str) -> bool) -> Option<String> {
    let At { value, at } = f.text("name")?;
    let fine = !value.is_empty() && value.len() <= 200 && !value.chars().any(|c| c.is_control() || c == '/');
    if !fine {
        f.fault(at, "name: expected 1 to 200 characters without / and control characters");
        return None;
    }
    if taken(&value) {
        f.fault(at, format!("name: {value:?} is there twice"));
        return None;
    }
    Some(value)
}

fn source(doc: &Doc, table: &Table, base: &Path, config: &mut Config, faults: &mut Faults) {
    let mut f = Fields::new(doc, table, "a source", faults);
    let name = name(&mut f, |n| config.source(n).is_some());
    let kind = f.text("kind");
    let prune = f.text_opt("prune").map(|p| p.value);
    let place = Location {
        medium: f.text_opt("medium").map(|m| m.value.to_lowercase()),
        offsite: f.bool_opt("offsite").map(|o| o.value),
    };
    let read = kind.and_then(|kind| match kind.value.as_str() {
        "velero" => velero(&mut f),
        "opensearch" => opensearch(&mut f, base),
        "pgbackrest" => files(&mut f, FileKind::Pgbackrest, base),
        "restic" => files(&mut f, FileKind::Restic, base),
        "pg_dump" => files(&mut f, FileKind::PgDump, base),
        "report" => files(&mut f, FileKind::Report, base),
        other => {
            let near = nearest(other, KINDS).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
            f.fault(kind.at, format!("kind: expected one of {}{near}", KINDS.join(", ")));
            None
        }
    });
    match read {
        // Without its kind nothing can be said of its other keys.
        None => {}
        Some(read) => {
            f.finish();
            // The action every desk with a cluster it may write to has.
            let prune = prune.or_else(|| matches!(read, SourceConfig::Velero { .. }).then(|| "velero-delete".into()));
            if let Some(name) = name {
                if place != Location::default() {
                    config.locations.insert(name.clone(), place);
                }
                config.sources.push(Source { name, config: read, prune });
            }
        }
    }
}

fn velero(f: &mut Fields) -> Option<SourceConfig> {
    let namespace = f.text_opt("namespace").map_or_else(|| "velero".into(), |n| n.value);
    Some(SourceConfig::Velero { cluster: f.text("cluster")?.value, namespace })
}

fn opensearch(f: &mut Fields, base: &Path) -> Option<SourceConfig> {
    let (url, repository) = (f.text("url"), f.text("repository"));
    let username = f.text_opt("username").map(|t| t.value);
    let password = f.text_opt("password").map(|t| t.value);
    let ca = f.text_opt("ca").map(|t| base.join(t.value));
    let timeout_seconds =
        f.integer_opt("timeout_seconds", 1..=600).and_then(|t| u64::try_from(t.value).ok()).unwrap_or(TIMEOUT_SECONDS);
    let (url, repository) = (url?, repository?.value);
    if !(url.value.starts_with("http://") || url.value.starts_with("https://")) {
        f.fault(url.at, "url: expected an address such as https://search.example:9200");
    }
    let url = url.value.trim_end_matches('/').to_owned();
    Some(SourceConfig::Opensearch(OpensearchSource { url, repository, username, password, ca, timeout_seconds }))
}

fn files(f: &mut Fields, kind: FileKind, base: &Path) -> Option<SourceConfig> {
    let path = f.text("path");
    let check = (kind == FileKind::Restic).then(|| f.text_opt("check")).flatten().map(|p| base.join(p.value));
    let fresh = f.text_opt("fresh");
    let fresh_seconds = fresh.and_then(|t| seconds(f, "fresh", &t)).unwrap_or(FRESH_SECONDS);
    Some(SourceConfig::Files(FileSource { kind, path: base.join(path?.value), check, fresh_seconds }))
}

fn location(doc: &Doc, table: &Table, config: &mut Config, faults: &mut Faults) {
    let mut f = Fields::new(doc, table, "a location", faults);
    let name = name(&mut f, |n| config.locations.contains_key(n));
    let medium = f.text_opt("medium").map(|m| m.value.to_lowercase());
    let offsite = f.bool_opt("offsite").map(|o| o.value);
    f.finish();
    if let Some(name) = name {
        config.locations.insert(name, Location { medium, offsite });
    }
}

fn asset(doc: &Doc, table: &Table, config: &mut Config, faults: &mut Faults) {
    let mut f = Fields::new(doc, table, "an asset", faults);
    let name = name(&mut f, |n| config.asset(n).is_some());
    let source = f.text("source");
    let covers: Vec<String> = f.texts("covers").into_iter().map(|c| c.value).collect();
    let copies = f.texts("copies");
    for named in source.iter().chain(&copies) {
        if config.source(&named.value).is_none() {
            let near = nearest(&named.value, config.sources.iter().map(|s| s.name.as_str()));
            let near = near.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
            f.fault(named.at, format!("no [[sources]] has the name {:?}{near}", named.value));
        }
    }
    let (rto_seconds, rpo_seconds) = objectives(&mut f);
    let zone = zone(&mut f);
    let schedule = f.text_opt("schedule");
    if let (Some(s), Some(zone)) = (&schedule, &zone)
        && let Err(why) = Cron::parse(&s.value, zone)
    {
        f.fault(s.at, format!("schedule: {why}"));
    }
    let volumes = f.bool_opt("volumes").is_some_and(|v| v.value);
    let medium = f.text_opt("medium").map(|m| m.value.to_lowercase());
    let keep = f.text_opt("keep");
    let keep_seconds = keep.and_then(|t| seconds(&mut f, "keep", &t));
    let keep_at_least =
        f.integer_opt("keep_at_least", 1..=10_000).and_then(|k| u32::try_from(k.value).ok()).unwrap_or(1);
    f.finish();
    let (Some(name), Some(source), Some(rto_seconds), Some(rpo_seconds)) = (name, source, rto_seconds, rpo_seconds)
    else {
        return;
    };
    let zone = zone.unwrap_or_else(|| "UTC".into());
    let schedule = schedule.map(|s| s.value);
    let source = source.value;
    let asset = Asset { name, source, covers, rpo_seconds, rto_seconds, schedule, zone, volumes };
    let copies = copies.into_iter().map(|c| c.value).filter(|c| *c != asset.source).collect();
    config.assets.push(AssetConfig { asset, copies, medium, keep_seconds, keep_at_least });
}

fn zone(f: &mut Fields) -> Option<String> {
    let Some(At { value, at }) = f.text_opt("zone") else { return Some("UTC".into()) };
    match jiff::tz::TimeZone::get(&value) {
        Ok(_) => Some(value),
        Err(_) => {
            f.fault(at, format!("zone: {value:?} is no time zone; expected a name such as Europe/Berlin"));
            None
        }
    }
}

/// RTO and RPO: from `profile = "RTO/RPO"`, or each by itself.
fn objectives(f: &mut Fields) -> (Option<u64>, Option<u64>) {
    let (profile, rto, rpo) = (f.text_opt("profile"), f.text_opt("rto"), f.text_opt("rpo"));
    let rto_own = rto.as_ref().and_then(|t| seconds(f, "rto", t));
    let rpo_own = rpo.as_ref().and_then(|t| seconds(f, "rpo", t));
    let Some(profile) = profile else {
        for (key, given) in [("rto", &rto), ("rpo", &rpo)] {
            if given.is_none() {
                f.fault(f.at(), format!("an asset needs {key:?}, or a profile such as \"1h/24h\" (RTO/RPO)"));
            }
        }
        return (rto_own, rpo_own);
    };
    for (key, given) in [("rto", &rto), ("rpo", &rpo)] {
        if let Some(given) = given {
            f.fault(given.at, format!("{key} stands beside a profile, which says it too: expected one of them"));
        }
    }
    let Some((a, b)) = profile.value.split_once('/') else {
        f.fault(profile.at, "profile: expected RTO/RPO such as \"1h/24h\", \"30m/1h\" or \"4h/1h\"");
        return (None, None);
    };
    let part = |text: &str| At { value: text.trim().to_owned(), at: profile.at };
    (seconds(f, "profile", &part(a)), seconds(f, "profile", &part(b)))
}

/// `30m`, `24h`, `35d`, `12w` in seconds.
pub(super) fn seconds(f: &mut Fields, key: &str, text: &At<String>) -> Option<u64> {
    let got = super::schedule::go_span(&text.value).filter(|s| (1..=10 * YEAR).contains(s));
    if got.is_none() {
        f.fault(text.at, format!("{key}: expected a time such as 30m, 24h or 35d, found {:?}", text.value));
    }
    got.and_then(|s| u64::try_from(s).ok())
}
