//! Models worth trying for triage, chosen by the memory of this machine.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::place::{self, Fit, Room};
use super::source::HubFile;
use super::{ModelError, Result, size};

const LIST: &str = include_str!("../../../assets/models.toml");

/// One of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recommended {
    /// What `model pull` takes.
    pub name: String,
    /// `org/name` on the hub.
    pub repo: String,
    pub file: String,
    /// As its makers state it; the hub is asked again before a download.
    pub licence: String,
    /// Weights, in milliards.
    pub parameters_b: f64,
    /// Of the file, about.
    pub bytes: u64,
    pub why: String,
}

impl Recommended {
    pub(super) fn file(&self) -> Result<HubFile> {
        HubFile::of(&self.repo, &self.file)
            .ok_or_else(|| ModelError::Usage(format!("{}: the bundled list names no file of a hub", self.name)))
    }
}

/// One of the list, seen from this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    #[serde(flatten)]
    pub model: Recommended,
    /// Bytes of memory it takes, about.
    pub memory: u64,
    pub fit: Fit,
    /// The one to start with here. At most one is.
    pub first: bool,
    /// Why it is, or is not, for this machine.
    pub because: String,
}

fn list() -> &'static [Recommended] {
    #[derive(Deserialize)]
    struct File {
        model: Vec<Recommended>,
    }
    static READ: OnceLock<Vec<Recommended>> = OnceLock::new();
    // A test reads the bundled list, so that it cannot be broken here.
    READ.get_or_init(|| toml::from_str::<File>(LIST).map(|f| f.model).unwrap_or_default())
}

pub(super) fn by_name(name: &str) -> Option<&'static Recommended> {
    list().iter().find(|m| m.name == name)
}

pub(super) fn names() -> Vec<&'static str> {
    list().iter().map(|m| m.name.as_str()).collect()
}

/// The list, best first, and which of it to start with: the first that fits into memory with as much again to spare for
/// the rest of the machine, else the first that fits at all.
pub fn recommended(room: &Room, context: u32) -> Vec<Advice> {
    let mut advice: Vec<Advice> = list()
        .iter()
        .map(|model| {
            let memory = place::need(model.bytes, None, context);
            let fit = Fit::of(memory, room);
            Advice { because: fit.words(memory, room), model: model.clone(), memory, fit, first: false }
        })
        .collect();
    let roomy = |a: &&mut Advice| a.fit == Fit::Fits && room.memory.is_some_and(|all| a.memory <= all / 2);
    let first = match advice.iter_mut().find(roomy) {
        Some(first) => Some(first),
        None => advice.iter_mut().filter(|a| a.fit == Fit::Fits).min_by_key(|a| a.memory),
    };
    if let Some(first) = first {
        let why = match room.memory.is_some_and(|all| first.memory <= all / 2) {
            true => "the best of the list that leaves half of the memory to the rest of this machine",
            false => "the smallest of the list; it fits, and leaves little",
        };
        first.first = true;
        first.because = format!("{why}: needs about {}", size(first.memory));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_list_is_whole() {
        let all = list();
        assert!(all.len() >= 4, "the list cannot be read");
        for m in all {
            assert!(super::super::registry::good_name(&m.name), "{}", m.name);
            assert!(m.file().is_ok() && !m.why.is_empty() && !m.licence.is_empty(), "{}", m.name);
            // Four to nine bits a weight.
            let bits = m.bytes as f64 * 8.0 / (m.parameters_b * 1e9);
            assert!((4.0..9.5).contains(&bits), "{}: {bits} bits a weight", m.name);
        }
        let mut names = names();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn the_choice_follows_the_memory() {
        let of = |gib: u64| {
            let room = Room { memory: Some(gib << 30), memory_free: Some((gib << 30) / 10 * 9), disk_free: None };
            recommended(&room, 4096)
        };
        let first = |gib| of(gib).into_iter().find(|a| a.first).map(|a| a.model.name);
        assert_eq!(first(1), None, "nothing is recommended that does not fit");
        let (small, large) = (first(6).unwrap(), first(64).unwrap());
        let bytes = |name: &str| by_name(name).unwrap().bytes;
        assert!(bytes(&small) < bytes(&large), "{small} {large}");
        assert_eq!(large, list()[0].name);
        assert!(of(1).iter().all(|a| a.fit == Fit::TooLarge && a.because.contains("too large")));
        assert!(recommended(&Room::default(), 4096).iter().all(|a| a.fit == Fit::Unknown && !a.first));
    }
}
