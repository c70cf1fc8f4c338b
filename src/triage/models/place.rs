//! Is there room for a model: in memory and on disk?

use std::path::Path;

use serde::Serialize;

use super::gguf::Header;
use super::size;

/// What a model takes besides its file and its key-value cache: buffers for computing, the tokenizer.
const BESIDES: u64 = 300 << 20;
/// Cache of a token when the file does not say: that of an 8 B model with grouped heads.
const CACHE_UNKNOWN: u64 = 144 << 10;

/// What a machine has, in bytes. `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Of the machine, or what its control group may have.
    pub memory: Option<u64>,
    pub memory_free: Option<u64>,
    pub disk_free: Option<u64>,
}

/// Does it fit into memory?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    Fits,
    /// The machine has that much, but not free now, or hardly.
    Tight,
    TooLarge,
    Unknown,
}

impl Fit {
    pub fn word(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Tight => "tight",
            Self::TooLarge => "too large",
            Self::Unknown => "unknown",
        }
    }

    /// Whether so many bytes fit.
    pub fn of(need: u64, room: &Room) -> Self {
        match (room.memory, room.memory_free) {
            (Some(all), _) if need > all => Self::TooLarge,
            (Some(all), Some(free)) if need <= free && need <= all / 10 * 9 => Self::Fits,
            (Some(_), Some(_)) => Self::Tight,
            _ => Self::Unknown,
        }
    }

    /// In words, with the figures.
    pub fn words(self, need: u64, room: &Room) -> String {
        let of = room.memory.map_or("an unknown size".into(), size);
        let free = room.memory_free.map_or(String::new(), |f| format!(", {} of it free now", size(f)));
        match self {
            Self::Unknown => format!("needs about {}; how much there is is not known", size(need)),
            _ => format!("{}: needs about {} of {of}{free}", self.word(), size(need)),
        }
    }
}

/// Bytes of memory a model takes with so many tokens of context.
pub fn need(file: u64, header: Option<&Header>, context: u32) -> u64 {
    let each = header.and_then(|h| h.cache_bytes_per_token).unwrap_or(CACHE_UNKNOWN);
    let cache = each.saturating_mul(u64::from(context));
    file.saturating_add(cache).saturating_add(BESIDES)
}

/// Looks. `dir` may not be there yet.
pub fn room(dir: &Path) -> Room {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (mut memory, mut memory_free) = (meminfo(&info, "MemTotal"), meminfo(&info, "MemAvailable"));
    if let Some((limit, used)) = control_group() {
        memory = Some(memory.map_or(limit, |m| m.min(limit)));
        let left = limit.saturating_sub(used);
        memory_free = Some(memory_free.map_or(left, |m| m.min(left)));
    }
    let there = dir.ancestors().find(|d| d.exists());
    let disk = there.and_then(|d| rustix::fs::statvfs(d).ok());
    Room { memory, memory_free, disk_free: disk.map(|s| s.f_bavail.saturating_mul(s.f_frsize)) }
}

fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The narrowest memory limit of our control group and those above it (cgroup v2), and what is used of it.
fn control_group() -> Option<(u64, u64)> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let here = root.join(path.trim_start_matches('/'));
    let number = |dir: &Path, name| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    here.ancestors()
        .take_while(|d| d.starts_with(root))
        .filter_map(|d| Some((number(d, "memory.max")?, number(d, "memory.current").unwrap_or(0))))
        .min_by_key(|(limit, _)| *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_in_memory_has_four_answers() {
        let room = |all, free| Room { memory: all, memory_free: free, disk_free: None };
        for (need, all, free, want) in [
            (5, Some(100), Some(50), Fit::Fits),
            (60, Some(100), Some(50), Fit::Tight),
            (95, Some(100), Some(99), Fit::Tight),
            (101, Some(100), Some(100), Fit::TooLarge),
            (101, Some(100), None, Fit::TooLarge),
            (5, None, Some(100), Fit::Unknown),
            (5, Some(100), None, Fit::Unknown),
        ] {
            assert_eq!(Fit::of(need, &room(all, free)), want, "{need} {all:?} {free:?}");
        }
    }

    #[test]
    fn a_model_needs_its_file_its_cache_and_something_besides() {
        let header = Header { cache_bytes_per_token: Some(1000), ..Header::default() };
        assert_eq!(need(5000, Some(&header), 4096), 5000 + 4_096_000 + BESIDES);
        assert!(need(5000, None, 4096) > need(5000, Some(&header), 4096));
        assert_eq!(need(u64::MAX, None, 4096), u64::MAX);
    }

    #[test]
    fn this_machine_is_looked_at() {
        assert_eq!(meminfo("MemTotal:       1024 kB\nMemAvailable: 3 kB\n", "MemAvailable"), Some(3072));
        assert_eq!(meminfo("MemTotal: x kB", "MemTotal"), None);
        let here = room(Path::new("/tmp/not/there/yet"));
        assert!(here.memory >= here.memory_free && here.disk_free.is_some(), "{here:?}");
    }
}
