//! `[[drills]]` of `backups.toml`: what is restored, into what, and how it is tried.

use crate::config::doc::At;
use crate::config::doc::Doc;
use crate::config::doc::Fields;
use crate::config::doc::Table;
use crate::config::fault::Faults;
use crate::config::fault::nearest;
use crate::model::recovery::counts;
use crate::operate::backup::config::AssetConfig;
use crate::operate::backup::config::Config;
use crate::operate::backup::config::SourceConfig;
use crate::operate::backup::config::seconds;

const LIMIT_SECONDS: u64 = 3600;

/// One drill, of the newest good backup of an asset.
#[derive(Clone, Debug, PartialEq)]
pub struct DrillConfig {
    pub name: String,
    pub asset: String,
    pub what: What,
    pub limit_seconds: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Of a cluster: one namespace, restored into one that is made for it.
    Namespace {
        from: String,
        into: String,
        /// As the parameter `objects` of `velero-drill`.
        objects: String,
        probe: String,
    },
    /// Of a snapshot: indices, restored under names of the drill's own.
    Indices {
        /// Empty: those of the snapshot that the asset names.
        indices: Vec<String>,
        /// In each of them at least.
        documents: u64,
    },
}

pub fn read(doc: &Doc, table: &Table, config: &mut Config, faults: &mut Faults) {
    let mut f = Fields::new(doc, table, "a drill", faults);
    let name = f.text("name");
    if let Some(n) = name.as_ref().filter(|n| config.drills.iter().any(|d| d.name == n.value)) {
        f.fault(n.at, format!("name: {:?} is there twice", n.value));
    }
    if let Some(n) = name.as_ref().filter(|n| n.value.is_empty() || n.value.chars().count() > 200) {
        f.fault(n.at, "name: expected 1 to 200 characters");
    }
    let limit = f.text_opt("limit");
    let limit_seconds = limit.and_then(|t| seconds(&mut f, "limit", &t)).unwrap_or(LIMIT_SECONDS).clamp(60, 86_400);
    let asset = f.text("asset");
    let found = asset.as_ref().and_then(|a| config.asset(&a.value));
    if let (Some(a), None) = (&asset, found) {
        let near = nearest(&a.value, config.assets.iter().map(|a| a.asset.name.as_str()));
        let near = near.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
        f.fault(a.at, format!("no [[assets]] has the name {:?}{near}", a.value));
    }
    let kind = found.and_then(|a| config.source(&a.asset.source)).map(|s| &s.config);
    let what = match (kind, found) {
        (Some(SourceConfig::Velero { .. }), Some(asset)) => namespace(&mut f, asset),
        (Some(SourceConfig::Opensearch(_)), _) => Some(indices(&mut f)),
        (Some(other), _) => {
            let at = asset.as_ref().map_or(f.at(), |a| a.at);
            f.fault(at, format!("its backups are of kind {}: only velero and opensearch can be drilled", other.kind()));
            return;
        }
        // Without its asset nothing can be said of its other keys.
        (None, _) => return,
    };
    f.finish();
    if let (Some(name), Some(asset), Some(what)) = (name, asset, what) {
        config.drills.push(DrillConfig { name: name.value, asset: asset.value, what, limit_seconds });
    }
}

fn namespace(f: &mut Fields, asset: &AssetConfig) -> Option<What> {
    let given = f.text_opt("namespace");
    let only = match asset.asset.covers.as_slice() {
        [one] if !one.contains('*') => Some(one.clone()),
        _ => None,
    };
    let from = given.map(|n| n.value).or(only);
    if from.is_none() {
        f.fault(f.at(), "a drill needs \"namespace\": its asset does not name exactly one");
    }
    let into = f.text_opt("into").map(|n| n.value);
    let objects = f.text_opt("objects");
    if let Some(At { value, at }) = &objects
        && let Err(why) = counts(value)
    {
        f.fault(*at, why);
    }
    let probe = f.text_opt("probe");
    if let Some(At { value, at }) = &probe
        && !(value.starts_with("http://") || value.starts_with("https://"))
    {
        f.fault(*at, "probe: expected an address such as http://web.drill-shop.svc/health");
    }
    let from = from?;
    let text = |t: Option<At<String>>| t.map(|t| t.value).unwrap_or_default();
    let into = into.unwrap_or_else(|| format!("drill-{from}"));
    Some(What::Namespace { from, into, objects: text(objects), probe: text(probe) })
}

fn indices(f: &mut Fields) -> What {
    let indices = f.texts("indices").into_iter().map(|i| i.value).collect();
    let documents = f.integer_opt("documents", 0..=i64::MAX).and_then(|n| u64::try_from(n.value).ok()).unwrap_or(1);
    What::Indices { indices, documents }
}
