//! Builds the text index, a block of alerts at a time.
//!
//! A block's text is, for each alert in order of id: the raw bytes, then each value that does not stand in them
//! already (most do), all with `A-Z` in lower case, each followed by a byte 0xFF. That byte is in no UTF-8 text, so no
//! needle reaches across. `offsets` are the little-endian u32 starts of the alerts and the end of the last.

use rusqlite::{Connection, params};

use super::super::{SqliteStore, err};
use super::{each_text, sign};
use crate::model::query::fold;
use crate::store::Result;

/// Alerts and bytes a block holds, whichever comes first.
const ALERTS: usize = 256;
const BYTES: usize = 512 << 10;

pub(super) const SEPARATOR: u8 = 0xff;

#[derive(Default)]
struct Block {
    lo: i64,
    hi: i64,
    offsets: Vec<u32>,
    text: Vec<u8>,
}

impl Block {
    fn full(&self) -> bool {
        self.offsets.len() >= ALERTS || self.text.len() >= BYTES
    }

    fn add(&mut self, id: i64, raw: &[u8], values: &[&[u8]]) {
        if self.offsets.is_empty() {
            self.lo = id;
        }
        self.hi = id;
        self.offsets.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        let start = self.text.len();
        self.text.extend(raw.iter().map(u8::to_ascii_lowercase));
        self.text.push(SEPARATOR);
        for value in values {
            let value = fold(value);
            if memchr::memmem::find(&self.text[start..], &value).is_none() {
                self.text.extend(value);
                self.text.push(SEPARATOR);
            }
        }
    }

    fn store(mut self, conn: &Connection) -> Result<()> {
        self.offsets.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        let offsets: Vec<u8> = self.offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
        let body = lz4_flex::block::compress(&self.text);
        conn.prepare_cached("INSERT OR IGNORE INTO search_block(hi, lo, size, offsets, body) VALUES(?, ?, ?, ?, ?)")
            .and_then(|mut s| s.execute(params![self.hi, self.lo, self.text.len() as i64, offsets, body]))
            .map_err(err)?;
        for (table, sign) in [("search_three", sign::THREE), ("search_five", sign::FIVE)] {
            conn.prepare_cached(&format!("INSERT OR IGNORE INTO {table}(hi, bits) VALUES(?, ?)"))
                .and_then(|mut s| s.execute(params![self.hi, sign.of_text(&self.text)]))
                .map_err(err)?;
        }
        Ok(())
    }
}

/// The newest alert that is in a block.
pub(super) fn watermark(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT coalesce(max(hi), 0) FROM search_block")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(err)
}

/// Puts up to `max` alerts (at least a block of them) into full blocks; returns how many.
pub(crate) fn step(store: &SqliteStore, max: usize) -> Result<usize> {
    let max = max.max(ALERTS);
    let (from, blocks) = store.read(|conn| {
        let from = watermark(conn)?;
        Ok((from, gather(conn, from, max)?))
    })?;
    let n = blocks.iter().map(|b| b.offsets.len()).sum();
    if n == 0 {
        return Ok(0);
    }
    store.write(|tx| {
        // Another process may have been quicker; then its blocks stand.
        if watermark(tx)? == from {
            for block in blocks {
                block.store(tx)?;
            }
        }
        Ok(n)
    })
}

/// Full blocks after `from`, of `max` alerts or the few more that fill the last one. A gap in the ids ends a block, for
/// an alert's place in it gives its id.
fn gather(conn: &Connection, from: i64, max: usize) -> Result<Vec<Block>> {
    let mut done: Vec<Block> = Vec::new();
    let mut block = Block::default();
    let mut seen = 0;
    each_text(conn, from + 1, |id, raw, values| {
        if !block.offsets.is_empty() && id != block.hi + 1 {
            done.push(std::mem::take(&mut block));
        }
        block.add(id, raw, values);
        seen += 1;
        if block.full() {
            done.push(std::mem::take(&mut block));
            return Ok(seen < max);
        }
        Ok(true)
    })?;
    Ok(done)
}
