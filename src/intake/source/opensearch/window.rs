//! Which documents of the overlap window were taken already, and the checkpoint that says so after a restart.
//!
//! The tail reads the last seconds behind its high-water mark again and again, for documents become visible late. What
//! it took it knows by a hash of index and id, with the document's sequence number and a hash of its content without
//! our own `watchfloor` field: the same number is the same document, a new number with the same content is our own
//! status written back, and neither is an alert again.
//!
//! The checkpoint lies in slots of the store. Each batch of alerts goes into the store in one transaction with one
//! slot, which names the documents of that batch; a slot is free again when its documents have left the window. So
//! the cost of a checkpoint follows the batch, not the window.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use crate::store::Store;

/// Entries that are written together into one slot while they are few; this keeps the slots few.
const TOGETHER: usize = 1000;
/// Documents the window holds; past this it is shortened.
const MAX_ENTRIES: usize = 500_000;
const PACKED: usize = 40;

/// A document: a hash of index and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 12]);

impl Key {
    pub fn of(index: &str, id: &str) -> Self {
        let mut h = Sha256::new();
        h.update(index.as_bytes());
        h.update([0]);
        h.update(id.as_bytes());
        let mut out = [0; 12];
        out.copy_from_slice(&h.finalize()[..12]);
        Self(out)
    }
}

/// How a document stood when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub term: i64,
    pub seq_no: i64,
    /// See [`content_hash`].
    pub content: u64,
    /// Its time in milliseconds; `i64::MAX` when it has none.
    pub time: i64,
}

/// What the window knows of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    No,
    Same,
    /// It was written again since: how it stood.
    Changed(Entry),
}

/// A slot as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    /// Goes up with every write.
    n: u64,
    /// High-water mark in milliseconds.
    high: Option<i64>,
    /// Packed entries, base64.
    docs: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Newest time in it; free when that has left the window.
    newest: Option<i64>,
}

pub(super) struct Window {
    prefix: String,
    overlap_ms: i64,
    /// Never expires, for documents without a time.
    keep_all: bool,
    high: Option<i64>,
    /// Behind this nothing is read again, when the window had to be shortened.
    floor: i64,
    seen: HashMap<Key, Entry>,
    slots: Vec<Slot>,
    n: u64,
}

/// A checkpoint ready to be stored, and what to note once it is.
pub(super) struct Pending {
    pub name: String,
    pub value: String,
    slot: usize,
    together: bool,
    newest: Option<i64>,
    fresh: Vec<(Key, Entry)>,
    high: Option<i64>,
}

impl Window {
    pub fn load(store: &dyn Store, prefix: String, overlap_ms: i64, keep_all: bool) -> Result<Self, Fault> {
        let mut w = Self {
            prefix,
            overlap_ms,
            keep_all,
            high: None,
            floor: i64::MIN,
            seen: HashMap::new(),
            slots: Vec::new(),
            n: 0,
        };
        let mut stored = Vec::new();
        while let Some(text) = store.checkpoint(&format!("{}:{}", w.prefix, stored.len()))? {
            let slot: Stored = serde_json::from_str(&text)
                .map_err(|e| Fault::Store(format!("checkpoint {}:{}: {e}", w.prefix, stored.len())))?;
            stored.push(slot);
        }
        w.slots = vec![Slot::default(); stored.len()];
        let mut order: Vec<usize> = (0..stored.len()).collect();
        order.sort_by_key(|i| stored[*i].n);
        for i in order {
            w.n = stored[i].n;
            w.high = w.high.max(stored[i].high);
            for (key, entry) in unpack(&stored[i].docs)? {
                w.slots[i].newest = w.slots[i].newest.max(Some(entry.time));
                w.seen.insert(key, entry);
            }
            if keep_all {
                // Each write holds everything, so only the last one counts.
                w.slots.iter_mut().enumerate().filter(|(j, _)| *j != i).for_each(|(_, s)| s.newest = None);
            }
        }
        w.prune();
        Ok(w)
    }

    /// The newest time all documents up to which were taken, but for late ones.
    pub fn high(&self) -> Option<i64> {
        self.high
    }

    /// Where reading again begins.
    pub fn low(&self) -> Option<i64> {
        self.high.map(|h| h.saturating_sub(self.overlap_ms).max(self.floor))
    }

    /// The window holds more than it can and was shortened.
    pub fn shortened(&self) -> bool {
        self.high.is_some_and(|h| self.floor > h.saturating_sub(self.overlap_ms))
    }

    pub fn know(&self, key: &Key, term: i64, seq_no: i64) -> Known {
        match self.seen.get(key) {
            None => Known::No,
            // An older number than ours is an older copy of what we know.
            Some(e) if (term, seq_no) <= (e.term, e.seq_no) => Known::Same,
            Some(e) => Known::Changed(*e),
        }
    }

    /// Our own update gave a document new numbers. Kept in memory: after a restart its unchanged content tells.
    pub fn renumber(&mut self, key: &Key, term: i64, seq_no: i64) {
        if let Some(e) = self.seen.get_mut(key) {
            (e.term, e.seq_no) = (term, seq_no);
        }
    }

    /// Makes the checkpoint of a batch. Nothing changes until [`Self::stored`].
    pub fn checkpoint(&self, fresh: Vec<(Key, Entry)>, high: Option<i64>) -> Result<Pending, Fault> {
        let together = self.keep_all || self.seen.len() + fresh.len() <= TOGETHER;
        let slot = self.slots.iter().position(|s| self.is_free(s)).unwrap_or(self.slots.len());
        let high = self.high.max(high);
        let mut packed = Vec::with_capacity(fresh.len() * PACKED);
        let mut newest = None;
        let old = self.seen.iter().filter(|_| together).map(|(k, e)| (*k, *e));
        for (key, entry) in old.chain(fresh.iter().copied()) {
            newest = newest.max(Some(entry.time));
            pack(&key, &entry, &mut packed);
        }
        let stored = Stored { v: 1, n: self.n + 1, high, docs: BASE64.encode(packed) };
        let value = serde_json::to_string(&stored).map_err(|e| Fault::Store(e.to_string()))?;
        Ok(Pending { name: format!("{}:{slot}", self.prefix), value, slot, together, newest, fresh, high })
    }

    /// The checkpoint is in the store.
    pub fn stored(&mut self, p: Pending) {
        self.n += 1;
        self.high = p.high;
        if p.together {
            // Everything alive is in this slot now.
            self.slots.iter_mut().for_each(|s| s.newest = None);
        }
        if p.slot == self.slots.len() {
            self.slots.push(Slot::default());
        }
        self.slots[p.slot].newest = p.newest;
        self.seen.extend(p.fresh);
        self.prune();
    }

    fn is_free(&self, slot: &Slot) -> bool {
        slot.newest.is_none_or(|newest| !self.keep_all && self.low().is_some_and(|low| newest < low))
    }

    fn prune(&mut self) {
        if self.keep_all {
            return;
        }
        if self.seen.len() > MAX_ENTRIES {
            let mut times: Vec<i64> = self.seen.values().map(|e| e.time).collect();
            let half = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(half);
            self.floor = self.floor.max(middle.saturating_add(1).min(self.high.unwrap_or(i64::MAX)));
        }
        // A pass over a long map is not worth making for every batch.
        let due = self.seen.len() <= 2 * TOGETHER || self.n.is_multiple_of(8) || self.seen.len() > MAX_ENTRIES;
        if let Some(low) = self.low().filter(|_| due) {
            self.seen.retain(|_, e| e.time >= low);
        }
    }
}

fn pack(key: &Key, e: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(&key.0);
    // Terms count failovers of a primary; four bytes hold more than any index lives to see.
    out.extend_from_slice(&u32::try_from(e.term).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&e.seq_no.to_le_bytes());
    out.extend_from_slice(&e.content.to_le_bytes());
    out.extend_from_slice(&e.time.to_le_bytes());
}

fn unpack(docs: &str) -> Result<Vec<(Key, Entry)>, Fault> {
    let broken = || Fault::Store("a checkpoint of the tail is damaged".into());
    let bytes = BASE64.decode(docs).map_err(|_| broken())?;
    if bytes.len() % PACKED != 0 {
        return Err(broken());
    }
    let word = |b: &[u8]| b.try_into().map_or(0, u64::from_le_bytes);
    Ok(bytes
        .chunks_exact(PACKED)
        .map(|c| {
            let mut key = [0; 12];
            key.copy_from_slice(&c[..12]);
            let term = i64::from(c[12..16].try_into().map_or(0, u32::from_le_bytes));
            let signed = |b: &[u8]| word(b).cast_signed();
            (Key(key), Entry { term, seq_no: signed(&c[16..24]), content: word(&c[24..32]), time: signed(&c[32..40]) })
        })
        .collect())
}

/// A hash of a document's content that does not see how its JSON is written, nor our own `watchfloor` field.
pub(super) fn content_hash(source: &[u8]) -> u64 {
    let mut h = Sha256::new();
    match serde_json::from_slice::<Value>(source) {
        Ok(Value::Object(map)) => {
            let own = |k: &str| k == "watchfloor" || k.starts_with("watchfloor.");
            hash_map(map.iter().filter(|(k, _)| !own(k)), &mut h);
        }
        Ok(other) => hash_value(&other, &mut h),
        Err(_) => h.update(source),
    }
    h.finalize()[..8].try_into().map_or(0, u64::from_le_bytes)
}

fn hash_map<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, h: &mut Sha256) {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|(k, _)| *k);
    h.update([b'{']);
    h.update((entries.len() as u64).to_le_bytes());
    for (k, v) in entries {
        hash_bytes(k.as_bytes(), h);
        hash_value(v, h);
    }
}

fn hash_value(v: &Value, h: &mut Sha256) {
    match v {
        Value::Null => h.update(b"n"),
        Value::Bool(b) => h.update([b'b', u8::from(*b)]),
        Value::Number(n) => {
            h.update(b"#");
            match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(i), ..) => h.update(i.to_le_bytes()),
                (None, Some(u), _) => h.update(u.to_le_bytes()),
                // 1.0 and 1 may be written for one another.
                (.., Some(f)) if f.fract() == 0.0 && f.abs() < 9e15 => h.update((f as i64).to_le_bytes()),
                (.., Some(f)) => h.update(f.to_le_bytes()),
                _ => hash_bytes(n.to_string().as_bytes(), h),
            }
        }
        Value::String(s) => {
            h.update(b"s");
            hash_bytes(s.as_bytes(), h);
        }
        Value::Array(items) => {
            h.update(b"[");
            h.update((items.len() as u64).to_le_bytes());
            items.iter().for_each(|i| hash_value(i, h));
        }
        Value::Object(map) => hash_map(map.iter(), h),
    }
}

fn hash_bytes(b: &[u8], h: &mut Sha256) {
    h.update((b.len() as u64).to_le_bytes());
    h.update(b);
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::store::sqlite::SqliteStore;

    fn load(store: &SqliteStore, keep_all: bool) -> Window {
        Window::load(store, "t".into(), 10_000, keep_all).unwrap()
    }

    fn put(store: &SqliteStore, w: &mut Window, docs: &[(Key, Entry)], high: Option<i64>) {
        let pending = w.checkpoint(docs.to_vec(), high).unwrap();
        store.set_checkpoint(&pending.name, &pending.value).unwrap();
        w.stored(pending);
    }

    /// Random batches, small and large, late and future documents, with a restart now and then: whatever lies in the
    /// window is known, with its newest number, and the slots stay few.
    #[test]
    fn a_restart_forgets_nothing_in_the_window() {
        for seed in 0..3 {
            let store = SqliteStore::open_temporary().unwrap();
            let mut rng = StdRng::seed_from_u64(seed);
            let keep_all = seed == 2;
            let mut w = load(&store, keep_all);
            let mut model: HashMap<Key, Entry> = HashMap::new();
            let (mut now, mut n, mut most) = (1_000_000, 0, 0);
            for _ in 0..40 {
                now += rng.random_range(0..3000);
                let size = if rng.random_ratio(1, 8) { 1100 } else { rng.random_range(1..40) };
                let docs: Vec<(Key, Entry)> = (0..size)
                    .map(|_| {
                        let again = rng.random_ratio(1, 10) && n > 0;
                        let id = if again { rng.random_range(0..n) } else { n };
                        n = n.max(id + 1);
                        let key = Key::of("i", &id.to_string());
                        let seq_no = model.get(&key).map_or(0, |e| e.seq_no + 1);
                        let ahead = if rng.random_ratio(1, 50) { 60_000 } else { 1 };
                        let time = now + rng.random_range(-9_000..ahead);
                        let entry = Entry { term: 1, seq_no, content: rng.random(), time };
                        model.insert(key, entry);
                        (key, entry)
                    })
                    .collect();
                put(&store, &mut w, &docs, rng.random_bool(0.7).then_some(now));
                most = most.max(w.slots.len());
                if rng.random_ratio(1, 5) {
                    w = load(&store, keep_all);
                }
                let low = if keep_all { i64::MIN } else { w.low().unwrap_or(i64::MIN) };
                for (key, e) in model.iter().filter(|(_, e)| e.time >= low) {
                    assert_eq!(w.know(key, e.term, e.seq_no), Known::Same, "seed {seed}");
                    assert_eq!(w.know(key, e.term, e.seq_no + 1), Known::Changed(*e), "seed {seed}");
                }
            }
            assert!(most <= 60, "{most} slots");
        }
    }

    #[test]
    fn a_hash_of_content_sees_neither_spelling_nor_our_own_field() {
        let h = |s: &str| content_hash(s.as_bytes());
        let one = h(r#"{"a":1.0,"b":{"x":[1,2,"z"],"y":1e5},"big":18446744073709551615}"#);
        assert_eq!(one, h(r#"{ "big":18446744073709551615, "b":{"y":100000.0,"x":[1,2,"z"]},"a":1 }"#));
        assert_eq!(
            one,
            h(r#"{"a":1,"b":{"x":[1,2,"z"],"y":1e5},"big":18446744073709551615,"watchfloor":{"status":"closed"}}"#)
        );
        assert_ne!(one, h(r#"{"a":2,"b":{"x":[1,2,"z"],"y":1e5},"big":18446744073709551615}"#));
        assert_ne!(h(r#"{"a":["b","c"]}"#), h(r#"{"a":["bc"]}"#));
        assert_ne!(h(r#"{"a":null}"#), h(r#"{}"#));
        assert_ne!(h(r#"{"a":{"watchfloor":1}}"#), h(r#"{"a":{}}"#));
    }
}
