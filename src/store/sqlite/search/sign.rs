//! Which trigrams stand in a block: a bitmap of their hashes (a Bloom filter with one hash).
//!
//! A block of Wazuh records has about 5,000 distinct trigrams, so 32,768 bits are a seventh full: a needle of ten
//! characters that is nowhere in the block gets past it once in five million times.

const BITS: u32 = 15;

pub(super) const BYTES: usize = 1 << (BITS - 3);

/// Where the trigram at the end of `last` has its bit. The low 24 bits of `last` are the trigram.
fn place(last: u32) -> (usize, u8) {
    let hash = (last & 0x00ff_ffff).wrapping_mul(0x9e37_79b1) >> (32 - BITS);
    ((hash >> 3) as usize, 1 << (hash & 7))
}

fn trigrams(text: &[u8]) -> impl Iterator<Item = u32> {
    text.windows(3).map(|w| u32::from(w[0]) << 16 | u32::from(w[1]) << 8 | u32::from(w[2]))
}

pub(super) fn of_text(text: &[u8]) -> Vec<u8> {
    let mut bits = vec![0; BYTES];
    for t in trigrams(text) {
        let (at, mask) = place(t);
        bits[at] |= mask;
    }
    bits
}

/// The places a needle needs; none when it is too short to tell.
pub(super) fn of_needle(needle: &[u8]) -> Vec<(usize, u8)> {
    let mut places: Vec<_> = trigrams(needle).map(place).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Whether the block may hold the needle. A signature of another size says nothing, so it may.
pub(super) fn may_hold(bits: &[u8], places: &[(usize, u8)]) -> bool {
    bits.len() != BYTES || places.iter().all(|(at, mask)| bits[*at] & mask != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_ruled_out() {
        let text = b"failed password for root from 10.0.0.1\xff{\"a\":1}";
        let bits = of_text(text);
        for from in 0..text.len() {
            for to in from..text.len() {
                assert!(may_hold(&bits, &of_needle(&text[from..to])));
            }
        }
        assert!(!may_hold(&bits, &of_needle(b"mimikatz")));
        assert!(may_hold(b"short", &of_needle(b"mimikatz")));
    }
}
