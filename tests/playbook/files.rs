//! Import, lint, export: nothing is lost on the way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::BIN;

/// The shared CACAO files, where they are there.
fn shared() -> Vec<PathBuf> {
    let data = std::env::var_os("WATCHFLOOR_TEST_DATA").map(PathBuf::from);
    let data = data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(data.join("cacao")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "json"));
    files.sort();
    if files.is_empty() {
        println!("skipped: {} is not there", data.join("cacao").display());
    }
    files
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let config = dir.join("config.toml").display().to_string();
    let data = dir.join("data").display().to_string();
    Command::new(BIN).args(["--config", &config, "--data-dir", &data]).args(args).output().unwrap()
}

fn text(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).unwrap()
}

#[test]
fn shared_cacao_files_are_exported_equal_and_by_the_short_form_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    let mut n = 0;
    for path in shared() {
        let file = path.display().to_string();
        let own: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let exported: Value =
            serde_json::from_str(&text(&run(dir.path(), &["playbook", "export", &file, "--audience", "named"])))
                .unwrap();
        assert_eq!(exported, own, "{file}");

        // To the short form and back.
        let short = text(&run(dir.path(), &["playbook", "convert", &file]));
        let toml = dir.path().join("x.toml");
        std::fs::write(&toml, &short).unwrap();
        let back = text(&run(dir.path(), &["playbook", "convert", &toml.display().to_string()]));
        assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), own, "{file}: {short}");

        // Each finding has a pointer that leads to something, or to where something is missing.
        let linted = run(dir.path(), &["--json", "playbook", "lint", &file]);
        assert!(matches!(linted.status.code(), Some(0 | 1)), "{file}: {linted:?}");
        let found: Value = serde_json::from_slice(&linted.stdout).unwrap();
        for f in found["findings"].as_array().unwrap() {
            let at = f["at"].as_str().unwrap();
            let around = at.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert!(own.pointer(at).or_else(|| own.pointer(around)).is_some(), "{file}: {f}");
        }
        n += 1;
    }
    assert!(n == 0 || n >= 6, "{n}");
}

/// In the desk's own folder they are read, listed, and told of by `config check` with file and line.
#[test]
fn the_desks_own_files_are_checked_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    let own = dir.path().join("playbooks");
    std::fs::create_dir(&own).unwrap();
    let good = "key = \"lost-phone\"\ntitle = \"Lost phone\"\ncreated = \"2026-01-31T09:00:00.000Z\"\n\n[[steps]]\n\
                key = \"lock\"\nname = \"Lock it\"\ndo = \"Lock it remotely.\"\nfailed = \"tell\"\nthen = \"end\"\n\n\
                [[steps]]\nkey = \"tell\"\nname = \"Tell\"\ndo = \"Say so.\"\nthen = \"end\"\n";
    std::fs::write(own.join("lost-phone.toml"), good).unwrap();
    assert_eq!(text(&run(dir.path(), &["config", "check"])).trim(), "ok");

    std::fs::write(
        own.join("broken.toml"),
        good.replace("lost-phone", "broken").replace("failed = \"tell\"", "failed = \"tall\""),
    )
    .unwrap();
    std::fs::write(own.join("half.json"), "{\n \"type\": \"playbook\",\n \"name\": \n}").unwrap();
    let mut stray: Value = serde_json::from_str(&text(&run(
        dir.path(),
        &["--json", "playbook", "show", &own.join("lost-phone.toml").display().to_string()],
    )))
    .unwrap();
    stray["id"] = "playbook--01010101-0101-4101-8101-010101010101".into();
    stray["playbook_extensions"] = Value::Object(serde_json::Map::new());
    stray["workflow_start"] = "start--99999999-9999-4999-8999-999999999999".into();
    let stray = serde_json::to_string_pretty(&stray).unwrap();
    std::fs::write(own.join("stray.json"), &stray).unwrap();
    let line = stray.lines().position(|l| l.contains("\"workflow_start\"")).unwrap() + 1;

    let out = run(dir.path(), &["config", "check"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("broken.toml:6:1:") && said.contains("tall") && said.contains("\"tell\""), "{said}");
    assert!(said.contains("half.json:4:1:"), "{said}");
    assert!(said.contains(&format!("stray.json:{line}:3: /workflow_start:")), "{line}: {said}");
    assert!(!said.contains("lost-phone"), "{said}");
}

/// What a bundled playbook asks for, the demo can do or is built in: a name that nothing answers to helps nobody.
#[test]
fn every_action_a_bundled_playbook_names_is_one_that_ships() {
    use watchfloor::respond::Catalogue;
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let shipped = Catalogue::load(&assets.join("demo/actions.toml")).unwrap().with_rollouts();
    let mut named = 0;
    for entry in std::fs::read_dir(assets.join("playbooks")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for action in text.lines().filter_map(|l| l.strip_prefix("action = ")) {
            let found = shipped.get(action.trim_matches('"'));
            assert!(found.is_ok(), "{}: {action}: {found:?}", path.display());
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}
