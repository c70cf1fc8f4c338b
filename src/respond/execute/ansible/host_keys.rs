//! Keys of hosts are checked: whoever answers in a host's name gets no command of ours.
//!
//! The environment asks Ansible for it ([`CHECKED`]), which a configuration file cannot take back. Variables and SSH
//! options can, so what the run reads is looked through for those. Files in a vault cannot be looked through.

use std::fs;
use std::path::Path;

/// What the program is told.
pub(super) const CHECKED: (&str, &str) = ("ANSIBLE_HOST_KEY_CHECKING", "True");
/// Of one file. What is longer holds data, not options.
const TEXT_MAX: u64 = 1 << 20;
const DEPTH: usize = 12;
/// Read by people only.
const PROSE: [&str; 3] = ["md", "rst", "txt"];
/// Without blanks and quotes, in lower case.
const OFF: [&str; 12] = [
    "stricthostkeychecking=no",
    "stricthostkeychecking=off",
    "stricthostkeychecking=accept-new",
    "stricthostkeycheckingno",
    "stricthostkeycheckingoff",
    "stricthostkeycheckingaccept-new",
    "userknownhostsfile=/dev/null",
    "userknownhostsfile/dev/null",
    "host_key_checking=false",
    "host_key_checking=no",
    "host_key_checking:false",
    "host_key_checking:no",
];

/// The option in this text that lets any host key pass.
pub(in crate::respond) fn lets_any_pass(text: &str) -> Option<&'static str> {
    let live = text.lines().filter(|l| !l.trim_start().starts_with(['#', ';']));
    let packed: String = live
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\''))
        .flat_map(char::to_lowercase)
        .collect();
    OFF.into_iter().find(|off| packed.contains(off))
}

/// Looks through a file, or a folder with all that is in it.
pub(super) fn look_through(path: &Path) -> Result<(), String> {
    look(path, DEPTH)
}

fn look(path: &Path, depth: usize) -> Result<(), String> {
    let said = |e: std::io::Error| format!("{}: {e}", path.display());
    let is = fs::metadata(path).map_err(said)?;
    if is.is_dir() {
        let Some(deeper) = depth.checked_sub(1) else { return Ok(()) };
        for entry in fs::read_dir(path).map_err(said)? {
            look(&entry.map_err(said)?.path(), deeper)?;
        }
        return Ok(());
    }
    let prose = path.extension().is_some_and(|e| PROSE.iter().any(|p| e.eq_ignore_ascii_case(p)));
    if !is.is_file() || prose || is.len() > TEXT_MAX {
        return Ok(());
    }
    let text = fs::read(path).map_err(said)?;
    match lets_any_pass(&String::from_utf8_lossy(&text)) {
        Some(off) => Err(format!("{}: {off} would let any host in: the keys of hosts are checked", path.display())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_any_host_in_is_found_however_it_is_written() {
        for off in [
            "ansible_ssh_common_args: '-o StrictHostKeyChecking=no'",
            "web1 ansible_ssh_extra_args=\"-o StrictHostKeyChecking = accept-new\"",
            "ssh_args = -o \"StrictHostKeyChecking no\" -o ControlMaster=auto",
            "[defaults]\nhost_key_checking = False",
            "ansible_host_key_checking: no",
            "ansible_ssh_args: -o UserKnownHostsFile=/dev/null",
        ] {
            assert!(lets_any_pass(off).is_some(), "{off}");
        }
        for fine in [
            "[defaults]\nhost_key_checking = True",
            "# host_key_checking = False",
            "  ; StrictHostKeyChecking=no",
            "ssh_args = -o StrictHostKeyChecking=yes -J jump.example",
            "- hosts: all\n  gather_facts: no",
        ] {
            assert_eq!(lets_any_pass(fine), None, "{fine}");
        }
    }
}
