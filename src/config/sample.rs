//! The settings file `config init` writes: every setting with its meaning and its default, commented out.

use std::fmt::Write as _;

use super::Settings;
use super::keys::{KEYS, Key, SECTIONS};

const HEAD: &str = "\
Settings of watchfloor. A line that begins with # and no blank is a setting, with its default or an example: take
the # away to change it. Values from here are overlaid by [profile.NAME] tables (--profile NAME), by environment
variables (WATCHFLOOR_SECTION__KEY=value) and by flags, in this order. `watchfloor config check` tells what is wrong,
`watchfloor config explain` where each value came from. Secrets never stand here, only references to them:
keyring:NAME, file:PATH, env:NAME, cmd:PROGRAM ARG..., vault:MOUNT/PATH#FIELD.";

const PROFILE: &str = "\
A profile changes any of the settings above while it is in use: watchfloor --profile production";

const WIDTH: usize = 110;

/// The whole file.
pub fn sample() -> String {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut out = String::new();
    prose(&mut out, HEAD);
    for section in SECTIONS {
        out.push('\n');
        prose(&mut out, section.about);
        let keys = || KEYS.iter().filter(|k| k.path.rsplit_once('.').is_some_and(|(of, _)| of == section.path));
        match section.path {
            "intake.sources.*" => {
                for (name, kind) in [("wazuh", "follow"), ("drop", "directory"), ("cluster", "opensearch")] {
                    source(&mut out, name, kind, keys());
                }
            }
            "intake.generic.*" => {
                let _ = writeln!(out, "#[intake.generic.appliance]\n#title = \"event.name\"\n#host = \"device.name\"");
            }
            "triage.openai.servers.*" => named(&mut out, "triage.openai.servers.gpu-1", keys()),
            "operate.prometheus.*" => named(&mut out, "operate.prometheus.main", keys()),
            "operate.kubernetes.*" => named(&mut out, "operate.kubernetes.prod", keys()),
            "notify.*" => named(&mut out, "notify.soc-hook", keys()),
            path => {
                let _ = writeln!(out, "[{path}]");
                for key in keys() {
                    prose(&mut out, &about(key));
                    let _ = writeln!(out, "#{} = {}", key.name(), value(key, &defaults));
                }
            }
        }
    }
    out.push('\n');
    prose(&mut out, PROFILE);
    out.push_str("#[profile.production]\n");
    out.push_str("#desk.environment = \"PROD-EU\"\n#desk.environment_class = \"danger\"\n#desk.read_only = true\n");
    out
}

fn source<'k>(out: &mut String, name: &str, kind: &str, keys: impl Iterator<Item = &'k Key>) {
    let _ = writeln!(out, "#[intake.sources.{name}]");
    for key in keys.filter(|k| k.only.is_empty() || k.only.contains(&kind)) {
        prose(out, &about(key));
        let example = match (key.name(), kind) {
            ("kind", _) => format!("{kind:?}"),
            ("path", "directory") => "\"/var/spool/alerts\"".to_owned(),
            _ => key.example.to_owned(),
        };
        let _ = writeln!(out, "#{} = {example}", key.name());
    }
}

/// A table named by the user.
fn named<'k>(out: &mut String, table: &str, keys: impl Iterator<Item = &'k Key>) {
    let _ = writeln!(out, "#[{table}]");
    for key in keys {
        prose(out, &about(key));
        let _ = writeln!(out, "#{} = {}", key.name(), key.example);
    }
}

/// The meaning, with the words to choose from.
fn about(key: &Key) -> String {
    match key.kind {
        super::keys::Kind::Word(words) | super::keys::Kind::Words(words) => {
            format!("{} ({})", key.about, words.join(", "))
        }
        _ => key.about.to_owned(),
    }
}

/// The example, or the default as TOML. JSON's texts, numbers, booleans and lists of texts are TOML as well.
fn value(key: &Key, defaults: &serde_json::Value) -> String {
    if !key.example.is_empty() {
        return key.example.to_owned();
    }
    let pointer = format!("/{}", key.path.replace('.', "/"));
    let text = defaults.pointer(&pointer).map(ToString::to_string).unwrap_or_default();
    text.replace("\",\"", "\", \"")
}

/// Comment lines of at most [`WIDTH`] columns.
fn prose(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::settings::{
        KubernetesSettings, NotifySettings, OpensearchSettings, PrometheusSettings, ServerSettings, SourceSettings,
    };
    use crate::config::{Env, Overrides, load};

    /// Settings as `path` patterns: every leaf there is, names of the user's as `*`.
    fn leaves(node: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
        match node {
            serde_json::Value::Object(map) => {
                for (name, child) in map {
                    let named = [
                        "intake.sources",
                        "triage.openai.servers",
                        "operate.prometheus",
                        "operate.kubernetes",
                        "notify",
                    ];
                    let star = named.contains(&path) || path.starts_with("intake.generic");
                    let name = if star { "*" } else { name };
                    leaves(child, &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, out);
                }
            }
            _ => {
                out.insert(path.to_owned());
            }
        }
    }

    #[test]
    fn the_table_has_every_setting_and_no_other() {
        let mut settings = Settings::default();
        let path = PathBuf::from("p");
        settings.intake.sources = [
            ("a".into(), SourceSettings::Follow { path: path.clone(), format: None }),
            ("b".into(), SourceSettings::Directory { path, format: None }),
            (
                "c".into(),
                SourceSettings::Opensearch(
                    serde_json::from_value::<OpensearchSettings>(serde_json::json!({"url": "u", "index": "i"}))
                        .unwrap(),
                ),
            ),
        ]
        .into();
        settings.intake.generic = [("g".into(), [("title".into(), "x".into())].into())].into();
        settings.operate.prometheus = [("p".into(), PrometheusSettings::default())].into();
        settings.notify = [("n".into(), NotifySettings::default())].into();
        settings.operate.kubernetes = [("k".into(), KubernetesSettings::default())].into();
        settings.triage.openai.servers = [("s".into(), ServerSettings::default())].into();
        let mut have = BTreeSet::new();
        leaves(&serde_json::to_value(&settings).unwrap(), "", &mut have);
        let told: BTreeSet<String> = KEYS.iter().map(|k| k.path.to_owned()).collect();
        assert_eq!(told.len(), KEYS.len(), "a setting is told twice");
        assert_eq!(told, have);
        for key in KEYS {
            let of = key.path.rsplit_once('.').unwrap().0;
            assert!(SECTIONS.iter().any(|s| s.path == of), "{} has no section", key.path);
        }
    }

    fn load_text(text: &str) -> crate::config::Loaded {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let over = Overrides { config: Some(file), data_dir: Some(dir.path().to_owned()), ..Overrides::default() };
        load(&over, &Env::default()).unwrap_or_else(|f| panic!("{f}"))
    }

    #[test]
    fn the_sample_changes_nothing_and_loads_uncommented() {
        let plain = load_text(&sample());
        assert_eq!(plain.origins.len(), 1, "only --data-dir: {:?}", plain.origins);

        let all: String = sample()
            .lines()
            .map(|l| if l.starts_with('#') && !l.starts_with("# ") { &l[1..] } else { l })
            .fold(String::new(), |out, l| out + l + "\n");
        let all = load_text(&all);
        for key in KEYS.iter().filter(|k| !k.path.contains('*')) {
            let path: Vec<String> = key.segments().map(str::to_owned).collect();
            assert!(all.origins.contains_key(&path), "{} is not in the sample", key.path);
        }
        assert_eq!(all.settings.intake.sources.len(), 3);
        assert_eq!(all.profiles, ["production"]);
        let mut defaults = all.settings.clone();
        defaults.console = plain.settings.console.clone();
        defaults.log = plain.settings.log.clone();
        defaults.intake.keys = plain.settings.intake.keys.clone();
        assert_eq!(defaults, all.settings, "settings without an example show their default");
    }

    #[test]
    fn examples_of_sources_are_the_defaults() {
        let cluster = load_text("[intake.sources.x]\nkind='opensearch'\nurl='https://h'\nindex='i'\n");
        let Some(SourceSettings::Opensearch(os)) = cluster.settings.intake.sources.get("x") else { panic!() };
        let os = serde_json::to_value(os).unwrap();
        for name in ["time_field", "page", "overlap_seconds", "poll_seconds", "timeout_seconds", "write_back", "start"]
        {
            let key = KEYS.iter().find(|k| k.path == format!("intake.sources.*.{name}")).unwrap();
            assert_eq!(key.example, os[name].to_string(), "{name}");
        }
    }

    #[test]
    fn lines_are_short() {
        assert!(sample().lines().all(|l| l.len() <= 120), "{}", sample());
        assert!(Path::new("x").is_relative());
    }
}
