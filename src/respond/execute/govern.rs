//! Writing the policy or the roster: the whole file, in one rename, if it still is the one that was seen.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{DryRun, Job, bounded};
use crate::model::action::{Command, Governed, Preview, ReceiptState, RequestBody};
use crate::respond::digest;
use crate::respond::govern::TEXT;

/// Shown of what would change.
const DIFF_BYTES: usize = 64 << 10;

fn text(body: &RequestBody) -> Result<&str, String> {
    body.params.get(TEXT).map(String::as_str).ok_or_else(|| "it holds no text".into())
}

/// The digest of the new bytes; the old ones are among the files it reads.
pub fn render(body: &RequestBody, path: &str) -> Result<Command, String> {
    let new = digest::of_bytes(text(body)?.as_bytes());
    Ok(Command {
        targets: body.targets.clone(),
        argv: vec!["replace".into(), path.to_owned(), format!("sha256:{new}")],
        files: [(path.to_owned(), digest::of_file(Path::new(path))?)].into(),
    })
}

pub fn dry_run(body: &RequestBody, what: Governed, path: &str) -> DryRun {
    let read = fs::read_to_string(path).map_err(|e| format!("{path} cannot be read: {e}"));
    let (would_change, failed, diff) = match (read, text(body)) {
        (Ok(old), Ok(new)) => (Some(u32::from(old != new)), false, difference(&old, new)),
        (Err(e), _) | (_, Err(e)) => (None, true, e),
    };
    let diff = bounded(&diff, DIFF_BYTES);
    let preview = vec![Preview { target: what.word().into(), would_change, failed, diff }];
    DryRun { preview, findings: Vec::new() }
}

pub async fn run(job: &Job, what: Governed, path: &str) {
    let body = job.approved.body();
    let seen = body.commands.first().and_then(|c| c.files.get(path)).cloned();
    let (path, new) = (path.to_owned(), text(body).map(str::to_owned));
    let written = tokio::task::spawn_blocking(move || write(Path::new(&path), &new?, seen.as_deref())).await;
    let target = what.word();
    match written {
        Ok(Ok(digest)) => job.tell(target, ReceiptState::Done, Some(1), format!("written: sha256 {digest}")).await,
        Ok(Err(why)) => job.tell(target, ReceiptState::Failed, Some(0), why).await,
        Err(e) => job.tell(target, ReceiptState::Unknown, None, format!("it was given up: {e}")).await,
    }
}

/// All of it or nothing of it, and on the disk when this returns.
fn write(path: &Path, new: &str, seen: Option<&str>) -> Result<String, String> {
    let fail = |e: std::io::Error| format!("{} cannot be written: {e}", path.display());
    let now = digest::of_file(path)?;
    if seen != Some(now.as_str()) {
        return Err(format!("{} changed since it was proposed", path.display()));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = folder.join(format!(".{name}.new"));
    let mode = fs::metadata(path).map_err(fail)?.mode() & 0o777;
    // One that a crash left behind was nobody's yet.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(fail)?;
    let done = file.write_all(new.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if let Err(e) = done {
        let _ = fs::remove_file(&beside);
        return Err(fail(e));
    }
    File::open(folder).and_then(|d| d.sync_all()).map_err(fail)?;
    Ok(digest::of_bytes(new.as_bytes()))
}

/// Lines taken and added with three lines around them, as `diff -u` shows them. Long files are compared from both ends.
pub fn difference(old: &str, new: &str) -> String {
    const AROUND: usize = 3;
    const LONGEST: usize = 3000;
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (ma, mb) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut lines: Vec<(char, &str)> = a[..head].iter().map(|l| (' ', *l)).collect();
    if ma.len() * mb.len() > LONGEST * LONGEST {
        lines.extend(ma.iter().map(|l| ('-', *l)));
        lines.extend(mb.iter().map(|l| ('+', *l)));
    } else {
        common(ma, mb, &mut lines);
    }
    lines.extend(a[a.len() - tail..].iter().map(|l| (' ', *l)));
    let changed: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].0 != ' ').collect();
    let near = |i: usize| changed.iter().any(|c| c.abs_diff(i) <= AROUND);
    let mut out = String::new();
    let mut left_out = false;
    for (i, (mark, line)) in lines.iter().enumerate() {
        if near(i) {
            if left_out && !out.is_empty() {
                out.push_str("...\n");
            }
            out.push(*mark);
            out.push_str(line);
            out.push('\n');
        }
        left_out = !near(i);
    }
    out
}

/// The longest common lines stay, the rest is taken or added.
fn common<'a>(a: &[&'a str], b: &[&'a str], out: &mut Vec<(char, &'a str)>) {
    let width = b.len() + 1;
    let mut longest = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            out.push(('-', a[i]));
            i += 1;
        } else {
            out.push(('+', b[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_as_short_as_it_can_be() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        assert_eq!(difference(old, old), "");
        assert_eq!(difference(old, "a\nb\nc\nd\nX\nf\ng\nh\n"), " b\n c\n d\n-e\n+X\n f\n g\n h\n");
        assert_eq!(difference("", "x\n"), "+x\n");
        assert_eq!(difference("x\n", ""), "-x\n");
        let both = difference(old, "z\na\nb\nc\nd\ne\nf\ng\n");
        assert_eq!(both, "+z\n a\n b\n c\n...\n e\n f\n g\n-h\n");
    }

    #[test]
    fn it_is_written_whole_and_only_over_what_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, "max_targets = 5\n").unwrap();
        let seen = digest::of_file(&path).unwrap();
        fs::write(dir.path().join(".policy.toml.new"), "left behind").unwrap();
        write(&path, "max_targets = 6\n", Some(&seen)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "max_targets = 6\n");
        assert!(write(&path, "max_targets = 7\n", Some(&seen)).unwrap_err().contains("changed since"));
        assert!(write(&path, "x", None).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
