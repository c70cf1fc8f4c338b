//! The machine: files, file system, terminal.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Check;
use crate::config::{Env, Loaded};

/// Below this the next busy day may not fit.
const LITTLE_SPACE: u64 = 1 << 30;
/// File systems where locks and write-ahead logs of several hosts do not mix.
const NETWORK: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "afs", "ceph"];

/// Whoever may write the settings may run programs as us (`cmd:` references, executors).
pub fn settings_file(loaded: &Loaded) -> Vec<Check> {
    let mut files = loaded.files.clone();
    files.extend(loaded.settings.desk.roster.clone());
    files.extend(loaded.settings.respond.catalogue.clone());
    files.extend(loaded.settings.respond.policy.clone());
    for name in ["roster.toml", "actions.toml", "policy.toml"] {
        files.push(loaded.paths.config_dir.join(name));
    }
    files.sort();
    files.dedup();
    let us = rustix::process::geteuid().as_raw();
    files
        .iter()
        .filter_map(|f| Some((f, std::fs::metadata(f).ok()?)))
        .filter_map(|(file, meta)| {
            let shown = file.display();
            if meta.uid() != us && meta.uid() != 0 {
                let detail = format!("{shown} belongs to uid {}, who can change what this desk does", meta.uid());
                return Some(Check::fail("file rights", detail).advise(format!("chown root {shown}")));
            }
            if meta.mode() & 0o022 != 0 {
                let detail =
                    format!("{shown} has mode {:04o}: others can change what this desk does", meta.mode() & 0o7777);
                return Some(Check::fail("file rights", detail).advise(format!("chmod go-w {shown}")));
            }
            None
        })
        .collect()
}

pub fn data_dir(loaded: &Loaded) -> Vec<Check> {
    let dir = &loaded.paths.data_dir;
    let shown = dir.display();
    let Ok(meta) = std::fs::metadata(dir) else {
        let parent = dir.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
        return vec![match rustix::fs::access(parent, rustix::fs::Access::WRITE_OK) {
            Ok(()) => Check::ok("data folder", format!("{shown} will be made when it is needed")),
            Err(e) => Check::fail("data folder", format!("{shown} cannot be made in {}: {e}", parent.display()))
                .advise("--data-dir, or desk.data_dir in the settings"),
        }];
    };
    let mut checks = Vec::new();
    let mode = meta.mode() & 0o7777;
    checks.push(if !meta.is_dir() {
        Check::fail("data folder", format!("{shown} is no folder"))
    } else if let Err(e) = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Check::fail("data folder", format!("{shown} cannot be written: {e}"))
    } else if mode & 0o077 != 0 {
        let detail = format!("{shown} has mode {mode:04o}: others on this host can look into it");
        Check::warn("data folder", detail)
            .advise(format!("chmod 700 {shown}, unless the whole desk shares it by group"))
    } else {
        Check::ok("data folder", format!("{shown}, mode {mode:04o}"))
    });
    checks.push(space(dir));
    checks.push(file_system(dir));
    checks.push(writable(&loaded.paths.log_dir));
    checks
}

fn space(dir: &Path) -> Check {
    match rustix::fs::statvfs(dir) {
        Ok(s) => {
            let free = s.f_bavail.saturating_mul(s.f_frsize);
            let detail = format!("{} MiB free", free >> 20);
            if free < LITTLE_SPACE { Check::warn("space", detail) } else { Check::ok("space", detail) }
        }
        Err(e) => Check::unknown("space", e.to_string()),
    }
}

fn file_system(dir: &Path) -> Check {
    let name = "file system";
    let kind = std::fs::read_to_string("/proc/self/mountinfo")
        .ok()
        .and_then(|table| Some(mount_of(&table, &dir.canonicalize().ok()?)?.to_owned()));
    match kind {
        Some(kind) if NETWORK.contains(&kind.as_str()) => {
            Check::fail(name, format!("{kind}: the store would be damaged when two hosts use it"))
                .advise("a local disk; for several hosts, consoles over SSH on one")
        }
        Some(kind) if kind == "tmpfs" || kind == "ramfs" => {
            Check::warn(name, format!("{kind}: everything is gone after a restart"))
        }
        Some(kind) => Check::ok(name, kind),
        None => Check::unknown(name, "the table of mounts cannot be read"),
    }
}

/// The type of the file system that holds `path`, from the lines of `/proc/self/mountinfo` (proc(5)): the fifth
/// field is the mount point, the type follows the field `-`.
fn mount_of<'t>(table: &'t str, path: &Path) -> Option<&'t str> {
    table
        .lines()
        .filter_map(|line| {
            let point = line.split(' ').nth(4)?.replace("\\040", " ");
            let kind = line.split_once(" - ")?.1.split(' ').next()?;
            path.starts_with(&point).then_some((point.len(), kind))
        })
        // The later of two on the same point hides the earlier.
        .max_by_key(|(len, _)| *len)
        .map(|(_, kind)| kind)
}

fn writable(log_dir: &Path) -> Check {
    match rustix::fs::access(log_dir, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Check::ok("logs", log_dir.display().to_string()),
        Err(rustix::io::Errno::NOENT) => Check::ok("logs", format!("{} will be made", log_dir.display())),
        Err(e) => Check::fail("logs", format!("{} cannot be written: {e}", log_dir.display())),
    }
}

pub fn terminal(env: &Env, is_terminal: bool) -> Vec<Check> {
    let name = "terminal";
    if !is_terminal {
        return vec![Check::unknown(name, "stdout is no terminal, so nothing can be said about it")];
    }
    let term = env.non_empty("TERM").unwrap_or("");
    let through = match (env.non_empty("SSH_CONNECTION"), env.non_empty("TMUX"), env.non_empty("STY")) {
        (Some(_), Some(_), _) => ", tmux over SSH",
        (Some(_), None, _) => ", over SSH",
        (None, Some(_), _) => ", tmux",
        (None, None, Some(_)) => ", screen",
        _ => "",
    };
    let mut checks = vec![match term {
        "" | "dumb" | "unknown" => {
            Check::fail(name, format!("TERM is {term:?}: the console cannot draw")).advise("export TERM=xterm-256color")
        }
        _ => Check::ok(name, format!("{term}{through}, {}", colours(env, term))),
    }];
    checks.push(match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col == 0 || size.ws_row == 0 => Check::unknown("size", "the terminal does not say"),
        Ok(size) => {
            let detail = format!("{} columns, {} rows", size.ws_col, size.ws_row);
            if size.ws_col < 60 || size.ws_row < 15 {
                Check::warn("size", detail).advise("60x15 is the least, 80x24 shows one pane well")
            } else {
                Check::ok("size", detail)
            }
        }
        Err(e) => Check::unknown("size", e.to_string()),
    });
    checks.push(utf8(env));
    checks
}

fn colours(env: &Env, term: &str) -> &'static str {
    match env.get("COLORTERM") {
        _ if env.non_empty("NO_COLOR").is_some() => "no colour (NO_COLOR)",
        Some("truecolor" | "24bit") => "24-bit colour",
        _ if term.contains("256color") => "256 colours",
        _ if term.contains("mono") || term.starts_with("vt1") => "no colour",
        _ => "16 colours",
    }
}

/// The first of these that is set decides, as in POSIX.
fn utf8(env: &Env) -> Check {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|n| env.non_empty(n));
    match locale {
        Some(l) if l.to_lowercase().replace('-', "").contains("utf8") => Check::ok("encoding", l),
        Some(l) => Check::warn("encoding", format!("{l} is not UTF-8")).advise("console.ascii = true draws with ASCII"),
        None => Check::warn("encoding", "no locale is set").advise("console.ascii = true draws with ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let table = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/a\\040b rw - nfs4 h:/x rw
31 22 0:41 / /srv rw - tmpfs t rw
32 22 0:42 / /srv rw,x - xfs /dev/sdb rw";
        for (path, kind) in [("/srv/a b/c", "nfs4"), ("/srv/q", "xfs"), ("/srvx", "ext4"), ("/", "ext4")] {
            assert_eq!(mount_of(table, Path::new(path)), Some(kind), "{path}");
        }
    }

    #[test]
    fn a_terminal_is_described() {
        let env = |v: &[(&str, &str)]| v.iter().copied().collect::<Env>();
        assert_eq!(terminal(&Env::default(), false)[0].state, super::super::State::Unknown);
        assert_eq!(terminal(&env(&[("TERM", "dumb")]), true)[0].state, super::super::State::Fail);
        let e = env(&[("TERM", "xterm-256color"), ("SSH_CONNECTION", "x"), ("TMUX", "y"), ("LANG", "de_DE.UTF-8")]);
        let checks = terminal(&e, true);
        assert_eq!(checks[0].detail, "xterm-256color, tmux over SSH, 256 colours");
        assert_eq!(checks[2].state, super::super::State::Ok);
        assert_eq!(utf8(&env(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")])).state, super::super::State::Warn);
    }
}
