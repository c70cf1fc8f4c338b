//! Digests: what an approval is given for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::model::action::RequestBody;

/// A folder with more than this is no playbook's own folder.
const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 64 << 20;

pub fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-256 (hex) of the canonical JSON (RFC 8785) of a value.
pub fn of_json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json_canonicalizer::to_vec(value).map(|b| of_bytes(&b)).map_err(|e| format!("no canonical JSON: {e}"))
}

/// The digest of a request.
pub fn of_request(body: &RequestBody) -> Result<String, String> {
    of_json(body)
}

/// SHA-256 (hex) of one file.
pub fn of_file(path: &Path) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let file = File::open(path).map_err(fail)?;
    let mut h = Sha256::new();
    std::io::copy(&mut file.take(MAX_BYTES), &mut h).map_err(fail)?;
    Ok(hex::encode(h.finalize()))
}

/// One digest over every file under a folder: SHA-256 over `SHA256  RELATIVE-PATH\n` lines in the order of the paths,
/// as `sha256sum` prints them. Version control folders are left out; links are followed.
pub fn of_tree(folder: &Path) -> Result<String, String> {
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    collect(folder, folder, 0, &mut files, &mut bytes)?;
    let mut h = Sha256::new();
    for (name, path) in files {
        h.update(format!("{}  {name}\n", of_file(&path)?));
    }
    Ok(hex::encode(h.finalize()))
}

fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
    bytes: &mut u64,
) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{} cannot be read: {e}", folder.display());
    if depth > 16 {
        return Err(format!("{} is nested too deep", folder.display()));
    }
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if name.split('/').any(|part| matches!(part, ".git" | ".hg" | ".svn")) {
            continue;
        }
        // A link that leads nowhere is no content.
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() {
            collect(root, &path, depth + 1, files, bytes)?;
        } else if meta.is_file() {
            *bytes += meta.len();
            files.insert(name, path);
        }
        if files.len() > MAX_FILES || *bytes > MAX_BYTES {
            let whole = root.display();
            return Err(format!(
                "{whole} holds more than {MAX_FILES} files or 64 MiB: give the playbook its own folder"
            ));
        }
    }
    Ok(())
}

/// Whether every file of a command still is what it was: the first that is not, in words.
pub fn changed_file(files: &BTreeMap<String, String>) -> Option<String> {
    files.iter().find_map(|(path, before)| {
        let now = of_path(Path::new(path));
        match now {
            Ok(now) if now == *before => None,
            Ok(_) => Some(format!("{path} changed")),
            Err(why) => Some(why),
        }
    })
}

/// The digest of a file or folder.
pub fn of_path(path: &Path) -> Result<String, String> {
    if path.is_dir() { of_tree(path) } else { of_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_changes_with_every_file_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        fs::create_dir_all(d.join("roles/x/tasks")).unwrap();
        fs::create_dir_all(d.join(".git")).unwrap();
        fs::write(d.join("p.yml"), "a").unwrap();
        fs::write(d.join("roles/x/tasks/main.yml"), "b").unwrap();
        let first = of_tree(d).unwrap();
        fs::write(d.join(".git/index"), "x").unwrap();
        assert_eq!(of_tree(d).unwrap(), first);
        fs::write(d.join("roles/x/tasks/main.yml"), "c").unwrap();
        let second = of_tree(d).unwrap();
        assert_ne!(second, first);
        fs::rename(d.join("p.yml"), d.join("q.yml")).unwrap();
        assert_ne!(of_tree(d).unwrap(), second);
        let known = [(d.join("q.yml").to_string_lossy().into_owned(), of_file(&d.join("q.yml")).unwrap())].into();
        assert_eq!(changed_file(&known), None);
        fs::write(d.join("q.yml"), "z").unwrap();
        assert!(changed_file(&known).unwrap().ends_with("q.yml changed"));
        fs::remove_file(d.join("q.yml")).unwrap();
        assert!(changed_file(&known).unwrap().contains("cannot be read"));
    }
}
