//! Response actions of RE&CT by id, from the table that ships with the program.

const TABLE: &str = include_str!("../../assets/attack/react.tsv");

/// The name of a response action. `None`: there is none of this id.
pub fn name(id: &str) -> Option<&'static str> {
    TABLE.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('\t')).find(|l| l.0 == id).map(|l| l.1)
}
