//! The shape of the crate, read from its source: arrows between rooms run downwards only, and views take clean text.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may see of ours. `main.rs` and `lib.rs` are not rooms.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("text", &[][..]),
        ("model", &["text"]),
        ("config", &["text", "model"]),
        ("audit", &["text", "model", "config"]),
        ("store", &["text", "model", "config"]),
        ("intake", &["text", "model", "config", "store", "audit"]),
        ("triage", &["text", "model", "config", "store", "audit"]),
        ("respond", &["text", "model", "config", "store", "audit"]),
        ("operate", &["text", "model", "config", "store", "audit"]),
        ("playbook", &["text", "model", "config", "store", "audit"]),
        ("desk", &["text", "model", "config", "store", "audit", "intake", "triage", "respond", "operate", "playbook"]),
        ("console", &["text", "model", "config", "desk"]),
        ("cli", &["text", "model", "config", "desk", "console"]),
    ])
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Code without comments, and without its unit tests (which may reach across rooms to build a whole).
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    stem == "tests" || stem.ends_with("_tests") || path.components().any(|c| c.as_os_str() == "tests")
}

#[test]
fn arrows_run_downwards_only() {
    let allowed = allowed();
    let mut files = Vec::new();
    sources(&src(), &mut files);
    assert!(files.len() > 20, "the source was not found");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(src()).unwrap().to_path_buf();
        let first = inside.iter().next().unwrap().to_string_lossy().into_owned();
        if first.ends_with(".rs") || is_test_file(&inside) {
            continue;
        }
        let sees = allowed.get(first.as_str()).unwrap_or_else(|| panic!("src/{first} is no known room"));
        let code = code(&file);
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            // One room a line keeps this test simple and the arrows easy to read.
            assert!(!rest.starts_with('{'), "{}: write one `use crate::room::...` a line", inside.display());
            let room: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if room != first && allowed.contains_key(room.as_str()) && !sees.contains(&room.as_str()) {
                wrong.push(format!("{}: {first} may not see {room}", inside.display()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn views_take_clean_text() {
    let mut files = Vec::new();
    sources(&src().join("console"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(src()).unwrap().to_path_buf();
        // Drawing never touches raw text; what a person typed is edited elsewhere.
        if !inside.starts_with("console/view") || is_test_file(&inside) {
            continue;
        }
        let code = code(&file);
        if code.contains(".expose()") || code.contains(".into_exposed()") {
            wrong.push(inside.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "views take Clean, not Untrusted: {wrong:?}");
}

#[test]
fn top_level_folders_are_the_ones_of_the_design() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = ["src", "themes", "keymaps", "assets", "tests", "benches", ".ci", "target", ".git", ".cargo"];
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            assert!(known.contains(&name.as_str()), "{name}/ is not part of the design");
        }
    }
}
