//! The names and tactics of ATT&CK techniques, from the table that ships with the program.
//!
//! (c) The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation. Show
//! [`ATTRIBUTION`] where the table is shown as a whole.

use std::collections::HashMap;
use std::sync::OnceLock;

pub const ATTRIBUTION: &str = "ATT&CK (c) The MITRE Corporation, reproduced with permission";

/// One technique or sub-technique of ATT&CK Enterprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    /// `T1059` or `T1059.001`.
    pub id: &'static str,
    pub name: &'static str,
    /// Joined by commas, such as `persistence,privilege-escalation`.
    tactics: &'static str,
    /// Revoked or deprecated in the table's version; detectors still send such ids.
    pub old: bool,
}

impl Technique {
    /// Tactic short names, such as `credential-access`.
    pub fn tactics(&self) -> impl Iterator<Item = &'static str> {
        self.tactics.split(',').filter(|t| !t.is_empty())
    }

    pub fn has_tactic(&self, tactic: &str) -> bool {
        self.tactics().any(|t| t == tactic)
    }
}

/// Looks an id up, any case. `None`: no such technique, or not in this version.
pub fn lookup(id: &str) -> Option<&'static Technique> {
    table().get(id.to_ascii_uppercase().as_str())
}

fn table() -> &'static HashMap<&'static str, Technique> {
    static TABLE: OnceLock<HashMap<&'static str, Technique>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let text = include_str!("../../assets/attack/techniques.tsv");
        let row = |line: &'static str| {
            let mut cells = line.split('\t');
            let (id, name, tactics) = (cells.next()?, cells.next()?, cells.next()?);
            Some((id, Technique { id, name, tactics, old: cells.next() == Some("old") }))
        };
        text.lines().filter(|l| !l.starts_with('#')).filter_map(row).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(table().len() > 800, "{}", table().len());
        let t = lookup("t1003.001").unwrap();
        assert_eq!((t.id, t.name, t.old), ("T1003.001", "LSASS Memory", false));
        assert!(t.has_tactic("credential-access") && !t.has_tactic("impact"));
        assert!(lookup("T1002").unwrap().old);
        assert!(lookup("T9999").is_none() && lookup("").is_none());
        for t in table().values() {
            assert!(!t.name.is_empty() && t.tactics().count() > 0, "{t:?}");
        }
    }
}
