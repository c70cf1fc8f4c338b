//! Layers of settings: defaults < file < profile < environment < flags.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use super::doc::{Doc, Entry, Value};
use super::fault::{Faults, Place, nearest};
use super::keys::{KEYS, absolute, dotted};
use super::layer::{FileLayer, KeyPath, Layer, Origin, Values, environment};
use super::{Paths, Settings};

/// The environment variables of a process, taken once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, String>);

/// Values stay out: any of them may be a password.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

impl Env {
    /// Of this process. Names and values that are not UTF-8 are left out.
    pub fn process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// As [`Env::get`]; an empty value counts as none.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|v| !v.is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        Self(iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

/// What the command line says about settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub profile: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub read_only: bool,
}

/// Settings, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Paths in it are absolute.
    pub settings: Settings,
    /// Where each value that is not a default came from.
    pub origins: BTreeMap<KeyPath, Origin>,
    pub paths: Paths,
    /// Files that were read.
    pub files: Vec<PathBuf>,
    pub profile: Option<String>,
    /// Every profile of the file.
    pub profiles: Vec<String>,
    /// `--read-only`, or `desk.read_only`.
    pub read_only: bool,
    /// The environment settings and secrets were taken from.
    pub env: Env,
}

impl Loaded {
    /// Where the value at a path, or the first value under it, was written; the settings file if it is a default.
    pub fn place_of(&self, path: &[&str]) -> Place {
        let under = |p: &KeyPath| p.len() >= path.len() && p.iter().zip(path).all(|(a, b)| a == b);
        let first = self.origins.iter().find(|(p, _)| under(p)).and_then(|(_, origin)| origin.place.clone());
        first.unwrap_or_else(|| Place::Whole(self.paths.config_file.clone()))
    }
}

/// Reads every layer. All faults of all layers are told at once, those of profiles not in use too.
pub fn load(over: &Overrides, env: &Env) -> Result<Loaded, Faults> {
    let (config_file, asked_for) = config_file(over, env)?;
    let mut faults = Faults::default();
    let mut values = Values::new();
    let mut files = Vec::new();
    let mut profiles = Vec::new();
    let wanted = over.profile.as_deref().or_else(|| env.non_empty("WATCHFLOOR_PROFILE"));
    match std::fs::read_to_string(&config_file) {
        Ok(source) => {
            files.push(config_file.clone());
            match Doc::parse(&config_file, source) {
                Ok(doc) => profiles = file_layers(&doc, wanted, env, &mut values, &mut faults),
                Err(f) => faults.extend(f),
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !asked_for => {}
        Err(e) => faults.add(Place::Whole(config_file.clone()), format!("cannot be read: {e}")),
    }
    if let Some(name) = wanted.filter(|w| faults.is_empty() && !profiles.iter().any(|p| p == w)) {
        faults.add(wanted_from(over), no_profile(name, &profiles));
    }
    environment(env, &mut values, &mut faults);
    flags(over, env, &mut values);
    check_sources(&values, &mut faults);
    check_queries(&values, &mut faults);
    faults.sort();
    let settings = faults
        .or(())
        .and_then(|()| build(&values).map_err(|why| Faults::one(Place::Whole(config_file.clone()), why)))?;
    let paths = paths(config_file, &settings)?;
    Ok(Loaded {
        read_only: settings.desk.read_only,
        settings,
        origins: values.into_iter().map(|(path, (_, origin))| (path, origin)).collect(),
        paths,
        files,
        profile: wanted.map(str::to_owned),
        profiles,
        env: env.clone(),
    })
}

/// Where files would be when the settings cannot be read: for `config path` and `config init`.
pub fn places(over: &Overrides, env: &Env) -> Result<Paths, Faults> {
    let (config_file, _) = config_file(over, env)?;
    let mut values = Values::new();
    flags(over, env, &mut values);
    let settings = build(&values).map_err(|why| Faults::one(Place::Whole(config_file.clone()), why))?;
    paths(config_file, &settings)
}

fn dirs() -> Result<directories::ProjectDirs, Faults> {
    directories::ProjectDirs::from("", "", "watchfloor")
        .ok_or_else(|| Faults::one(Place::Env("HOME".into()), "there is no home folder; give --config and --data-dir"))
}

/// The settings file, and whether somebody named it, so that it must be there.
fn config_file(over: &Overrides, env: &Env) -> Result<(PathBuf, bool), Faults> {
    let here = std::env::current_dir().unwrap_or_default();
    if let Some(path) = over.config.clone().or_else(|| env.non_empty("WATCHFLOOR_CONFIG").map(PathBuf::from)) {
        return Ok((here.join(path), true));
    }
    Ok((dirs()?.config_dir().join("config.toml"), false))
}

fn paths(config_file: PathBuf, settings: &Settings) -> Result<Paths, Faults> {
    let data_dir = match &settings.desk.data_dir {
        Some(dir) => dir.clone(),
        None => dirs()?.data_dir().to_owned(),
    };
    Ok(Paths {
        config_dir: config_file.parent().map(PathBuf::from).unwrap_or_default(),
        config_file,
        log_dir: data_dir.join(super::paths::LOG),
        data_dir,
    })
}

/// Takes the file's own values and those of the wanted profile. Answers the names of all profiles.
fn file_layers(doc: &Doc, wanted: Option<&str>, env: &Env, out: &mut Values, faults: &mut Faults) -> Vec<String> {
    let base = doc.path.parent().unwrap_or(Path::new(""));
    let home = env.get("HOME");
    FileLayer { doc, layer: Layer::File, base, home, out, faults }.table(&doc.root, &mut Vec::new(), Some("profile"));
    let Some(entry) = doc.root.get("profile") else { return Vec::new() };
    let Value::Table(all) = &entry.node.value else {
        let found = entry.node.found();
        faults.add(doc.place(entry.node.at), format!("profile: expected [profile.NAME] tables, found {found}"));
        return Vec::new();
    };
    for Entry { key: name, node, .. } in &all.entries {
        let Value::Table(table) = &node.value else {
            let found = node.found();
            faults.add(doc.place(node.at), format!("{}: expected a table, found {found}", dotted(&["profile", name])));
            continue;
        };
        let mut unused = Values::new();
        let out = if wanted == Some(name.as_str()) { &mut *out } else { &mut unused };
        FileLayer { doc, layer: Layer::Profile(name.clone()), base, home, out, faults }.table(
            table,
            &mut Vec::new(),
            None,
        );
    }
    all.entries.iter().map(|e| e.key.clone()).collect()
}

fn wanted_from(over: &Overrides) -> Place {
    if over.profile.is_some() { Place::Flag("--profile") } else { Place::Env("WATCHFLOOR_PROFILE".into()) }
}

fn no_profile(name: &str, profiles: &[String]) -> String {
    match (nearest(name, profiles.iter().map(String::as_str)), profiles) {
        (Some(near), _) => format!("there is no profile {name:?}; did you mean {near:?}?"),
        (None, []) => format!("there is no profile {name:?}: the settings file has no [profile.NAME] tables"),
        (None, _) => format!("there is no profile {name:?}; there are {}", profiles.join(", ")),
    }
}

fn flags(over: &Overrides, env: &Env, out: &mut Values) {
    let here = std::env::current_dir().unwrap_or_default();
    let mut set = |path: [&str; 2], value: toml::Value, layer: Layer, place: Place| {
        out.insert(path.map(str::to_owned).to_vec(), (value, Origin { layer, place: Some(place) }));
    };
    let dir = |d: &Path| toml::Value::from(absolute(&d.to_string_lossy(), &here, None).to_string_lossy().into_owned());
    if let Some(d) = env.non_empty("WATCHFLOOR_DATA_DIR") {
        set(["desk", "data_dir"], dir(Path::new(d)), Layer::Env, Place::Env("WATCHFLOOR_DATA_DIR".into()));
    }
    if let Some(d) = &over.data_dir {
        set(["desk", "data_dir"], dir(d), Layer::Flag, Place::Flag("--data-dir"));
    }
    if over.read_only {
        set(["desk", "read_only"], true.into(), Layer::Flag, Place::Flag("--read-only"));
    }
}

/// A source needs a kind, and what that kind needs, and nothing else. Only whole sources can be judged, so this
/// comes after layering.
fn check_sources(values: &Values, faults: &mut Faults) {
    let is_source = |p: &KeyPath| p.len() == 4 && p[0] == "intake" && p[1] == "sources";
    let names: BTreeSet<&String> = values.keys().filter(|p| is_source(p)).map(|p| &p[2]).collect();
    for name in names {
        let of: Vec<_> = values.iter().filter(|(p, _)| is_source(p) && p[2] == *name).collect();
        let shown = dotted(&["intake", "sources", name]);
        let first = of.iter().filter_map(|(_, (_, o))| o.place.clone()).min();
        let place = first.unwrap_or_else(|| Place::Env(shown.clone()));
        let Some((_, (kind, _))) = of.iter().find(|(p, _)| p[3] == "kind") else {
            faults.add(place, format!("{shown} needs kind = \"follow\", \"directory\" or \"opensearch\""));
            continue;
        };
        // One that is no text was told already.
        let Some(kind) = kind.as_str() else { continue };
        let keys = || KEYS.iter().filter(|k| k.path.starts_with("intake.sources.*."));
        for (path, (_, origin)) in &of {
            let here = keys().find(|k| k.is_at(path));
            if here.is_some_and(|k| !k.only.is_empty() && !k.only.contains(&kind)) {
                let place = origin.place.clone().unwrap_or_else(|| place.clone());
                faults.add(place, format!("{}: a source of kind {kind:?} has no such setting", dotted(path)));
            }
        }
        for key in keys().filter(|k| k.needed && (k.only.is_empty() || k.only.contains(&kind))) {
            if !of.iter().any(|(p, _)| p[3] == key.name()) {
                let message = format!("{shown}: a source of kind {kind:?} needs {}", key.name());
                faults.add(place.clone(), message);
            }
        }
    }
}

/// What steps of playbooks may search: patterns that mean nothing more, and a source there is.
fn check_queries(values: &Values, faults: &mut Faults) {
    let of = |name: &str| values.iter().find(|(p, _)| p.len() == 2 && p[0] == "playbooks" && p[1] == name);
    let place = |path: &KeyPath, o: &Origin| o.place.clone().unwrap_or_else(|| Place::Env(dotted(path)));
    if let Some((path, (value, origin))) = of("query_indices") {
        for pattern in value.as_array().into_iter().flatten().filter_map(toml::Value::as_str) {
            if let Err(why) = super::indices::check(pattern) {
                faults.add(place(path, origin), format!("{}: {pattern:?}: {why}", dotted(path)));
            }
        }
    }
    let Some((path, (value, origin))) = of("query_source") else { return };
    let Some(wanted) = value.as_str() else { return };
    let is_one = |p: &KeyPath, v: &toml::Value| {
        p.len() == 4 && p[0] == "intake" && p[1] == "sources" && p[3] == "kind" && v.as_str() == Some("opensearch")
    };
    let known: Vec<&str> = values.iter().filter(|(p, (v, _))| is_one(p, v)).map(|(p, _)| p[2].as_str()).collect();
    if !known.contains(&wanted) {
        let near = nearest(wanted, known.iter().copied()).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        let message = format!("{}: there is no OpenSearch source {wanted:?} under intake.sources{near}", dotted(path));
        faults.add(place(path, origin), message);
    }
}

fn build(values: &Values) -> Result<Settings, String> {
    let mut root = toml::Table::new();
    for (path, (value, _)) in values {
        let Some((last, tables)) = path.split_last() else { continue };
        let mut at = &mut root;
        for name in tables {
            let next = at.entry(name.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match next {
                toml::Value::Table(t) => at = t,
                _ => return Err(format!("{} is both a value and a table", dotted(path))),
            }
        }
        at.insert(last.clone(), value.clone());
    }
    Settings::deserialize(root).map_err(|e| e.message().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces a settings file is made of, put together in any order.
    fn any_file() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("[desk]\n".to_owned()),
            Just("[intake.sources.x]\n".to_owned()),
            Just("[[intake.sources]]\n".to_owned()),
            Just("[profile.p.console]\n".to_owned()),
            Just("[intake.generic.\"\u{65e5} b\"]\n".to_owned()),
            prop::sample::select(KEYS).prop_map(|k| format!("{} = ", k.name())),
            prop::sample::select(KEYS).prop_map(|k| format!("{} = ", k.path.replace('*', "x"))),
            Just("kind = 'opensearch'\n".to_owned()),
            Just("true\n".to_owned()),
            Just("7\n".to_owned()),
            Just("-9223372036854775809\n".to_owned()),
            Just("'text'\n".to_owned()),
            Just("['a', 1, {b = 2}]\n".to_owned()),
            Just("2020-01-01\n".to_owned()),
            Just("inf\n".to_owned()),
            "\\PC{0,8}\n",
        ];
        prop::collection::vec(piece, 0..12).prop_map(|p| p.concat())
    }

    proptest! {
        /// Whatever a file holds, it loads or every fault has a place inside it.
        #[test]
        fn no_file_is_too_strange(source in any_file(), profile in prop::option::of(Just("p".to_owned()))) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("c.toml");
            std::fs::write(&file, &source).unwrap();
            let over = Overrides { config: Some(file), data_dir: Some(dir.path().into()), profile, read_only: false };
            match load(&over, &Env::default()) {
                Ok(loaded) => prop_assert!(!loaded.paths.data_dir.as_os_str().is_empty()),
                Err(faults) => {
                    prop_assert!(!faults.is_empty());
                    for f in &faults.0 {
                        prop_assert!(!f.message.is_empty());
                        if let Place::File { line, column, .. } = &f.place {
                            let lines: Vec<&str> = source.split('\n').collect();
                            prop_assert!(*line <= lines.len(), "{f}");
                            prop_assert!(*column <= lines[*line - 1].chars().count() + 1, "{f}");
                        }
                    }
                    // A value the table lets through never fails in the types behind it.
                    let whole = faults.0.iter().find(|f| matches!(f.place, Place::Whole(_)));
                    prop_assert!(whole.is_none(), "{faults}");
                }
            }
        }
    }
}
