//! Looks for a needle in the blocks, on a few threads.

use std::sync::atomic::{AtomicI64, Ordering};

use memchr::memmem::Finder;
use rusqlite::{CachedStatement, Connection, params};

use super::super::{SqliteStore, err};
use super::{Bits, build, sign};
use crate::store::{Result, StoreError};

/// Ids a thread takes at once.
const CHUNK: i64 = 4096;
const MAX_THREADS: i64 = 4;

/// Adds what the blocks hold beyond `bits.upto`. Returns the first id that is in no block.
pub(super) fn blocks(store: &SqliteStore, conn: &Connection, needle: &[u8], bits: &mut Bits) -> Result<i64> {
    let (from, to) = (bits.upto, build::watermark(conn)?);
    if to <= from {
        return Ok(from + 1);
    }
    let chunks = (to - from + CHUNK - 1) / CHUNK;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as i64);
    let threads = cores.min(MAX_THREADS).min(chunks / 2).max(1);
    let job = Job {
        needle,
        three: sign::THREE.of_needle(needle),
        five: sign::FIVE.of_needle(needle),
        next: AtomicI64::new(from),
        from,
        to,
    };
    if threads == 1 {
        job.work(conn, bits)?;
        return Ok(to + 1);
    }
    let conns = (1..threads).map(|_| store.reader()).collect::<Result<Vec<_>>>()?;
    let found = std::thread::scope(|scope| {
        let others: Vec<_> = conns
            .into_iter()
            .map(|conn| {
                let job = &job;
                scope.spawn(move || {
                    let mut mine = Bits::default();
                    let done = job.work(&conn, &mut mine);
                    (conn, done.map(|()| mine))
                })
            })
            .collect();
        let mut results = vec![job.work(conn, bits).map(|()| Bits::default())];
        for thread in others {
            match thread.join() {
                Ok((conn, found)) => {
                    store.give_back(conn);
                    results.push(found);
                }
                Err(_) => results.push(Err(StoreError::Unavailable("a search thread died".into()))),
            }
        }
        results
    });
    for part in found {
        bits.merge(&part?);
    }
    Ok(to + 1)
}

struct Job<'a> {
    needle: &'a [u8],
    three: Vec<(usize, u8)>,
    five: Vec<(usize, u8)>,
    next: AtomicI64,
    from: i64,
    to: i64,
}

impl Job<'_> {
    /// Takes chunks until none is left.
    fn work(&self, conn: &Connection, bits: &mut Bits) -> Result<()> {
        let finder = Finder::new(self.needle);
        let mut text = Vec::new();
        let mut threes =
            conn.prepare_cached("SELECT hi, bits FROM search_three WHERE hi > ? AND hi <= ?").map_err(err)?;
        let mut fives = conn.prepare_cached("SELECT bits FROM search_five WHERE hi = ?").map_err(err)?;
        let mut block =
            conn.prepare_cached("SELECT lo, size, offsets, body FROM search_block WHERE hi = ?").map_err(err)?;
        loop {
            let after = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            if after >= self.to {
                return Ok(());
            }
            let upto = (after + CHUNK).min(self.to);
            let mut rows = threes.query(params![after, upto]).map_err(err)?;
            while let Some(r) = rows.next().map_err(err)? {
                let hi: i64 = r.get(0).map_err(err)?;
                let bits_three = r.get_ref(1).map_err(err)?;
                if !bits_three.as_blob().map_or(true, |s| sign::THREE.may_hold(s, &self.three))
                    || !self.five_may_hold(&mut fives, hi)?
                {
                    continue;
                }
                let mut found = block.query([hi]).map_err(err)?;
                if let Some(b) = found.next().map_err(err)? {
                    self.look(b, &finder, &mut text, bits)?;
                }
            }
        }
    }

    fn five_may_hold(&self, fives: &mut CachedStatement<'_>, hi: i64) -> Result<bool> {
        if self.five.is_empty() {
            return Ok(true);
        }
        let mut rows = fives.query([hi]).map_err(err)?;
        let Some(r) = rows.next().map_err(err)? else { return Ok(true) };
        Ok(r.get_ref(0).map_err(err)?.as_blob().map_or(true, |s| sign::FIVE.may_hold(s, &self.five)))
    }

    fn look(&self, b: &rusqlite::Row<'_>, finder: &Finder<'_>, text: &mut Vec<u8>, bits: &mut Bits) -> Result<()> {
        let damaged = |what: &str| StoreError::Unreadable(format!("a block of the text index: {what}"));
        let lo: i64 = b.get(0).map_err(err)?;
        let size = usize::try_from(b.get::<_, i64>(1).map_err(err)?).map_err(|_| damaged("its size"))?;
        let offsets: Vec<usize> = b
            .get_ref(2)
            .map_err(err)?
            .as_blob()
            .map_err(|_| damaged("its offsets"))?
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]) as usize)
            .collect();
        let body = b.get_ref(3).map_err(err)?;
        let body = body.as_blob().map_err(|_| damaged("its body"))?;
        if text.len() < size {
            text.resize(size, 0);
        }
        let n = lz4_flex::block::decompress_into(body, &mut text[..size]).map_err(|e| damaged(&e.to_string()))?;
        let text = &text[..n];
        let (mut at, mut doc) = (0, 0);
        while let Some(hit) = finder.find(&text[at..]) {
            let hit = at + hit;
            while offsets.get(doc + 1).is_some_and(|end| *end <= hit) {
                doc += 1;
            }
            let Some(end) = offsets.get(doc + 1) else { break };
            let id = lo + doc as i64;
            if id > self.from {
                bits.insert(id);
            }
            at = *end;
        }
        Ok(())
    }
}
