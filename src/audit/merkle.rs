//! The Merkle tree of RFC 6962 section 2.1, kept as its right-hand edge.

use sha2::{Digest as _, Sha256};

pub type Hash = [u8; 32];

/// `SHA-256(0x00 || bytes)`.
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// `SHA-256(0x01 || left || right)`.
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The roots of the perfect subtrees a tree of `size` leaves is made of, largest (leftmost) first: one for each bit
/// that is set in `size`. Adding a leaf and asking for the root cost O(log n).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// `None` when the number of peaks does not fit the size.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    pub fn push(&mut self, leaf: Hash) {
        let mut top = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node(&left, &top);
            }
        }
        self.peaks.push(top);
        self.size += 1;
    }

    /// The root; of no leaves at all it is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Sha256::digest(b"").into();
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// RFC 6962 section 2.1: the root over these leaves.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut edge = Frontier::default();
    leaves.iter().for_each(|l| edge.push(*l));
    edge.root()
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

/// RFC 6962 section 2.1.2: proof that the tree over `leaves` begins with the tree over the first `m` of them. Empty
/// when `m` is 0, all of them, or more.
pub fn consistency(leaves: &[Hash], m: usize) -> Vec<Hash> {
    fn sub(leaves: &[Hash], m: usize, whole: bool, out: &mut Vec<Hash>) {
        if m == leaves.len() {
            if !whole {
                out.push(root_of(leaves));
            }
            return;
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if m <= left.len() {
            sub(left, m, whole, out);
            out.push(root_of(right));
        } else {
            sub(right, m - left.len(), false, out);
            out.push(root_of(left));
        }
    }
    let mut out = Vec::new();
    if m > 0 && m < leaves.len() {
        sub(leaves, m, true, &mut out);
    }
    out
}

/// RFC 9162 section 2.1.4.2: whether `proof` shows that the tree of `new` begins with that of `old`.
pub fn consistent(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    let ((m, old_root), (n, new_root)) = (old, new);
    if m == n || m == 0 {
        return proof.is_empty() && (m == 0 || old_root == new_root);
    }
    if m > n {
        return false;
    }
    let mut path = proof.iter();
    let first = if m.is_power_of_two() { Some(&old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut a, mut b) = (m - 1, n - 1);
    while a & 1 == 1 {
        a >>= 1;
        b >>= 1;
    }
    let (mut left, mut right) = (*first, *first);
    for c in path {
        if b == 0 {
            return false;
        }
        if a & 1 == 1 || a == b {
            left = node(c, &left);
            right = node(c, &right);
            while a & 1 == 0 && a != 0 {
                a >>= 1;
                b >>= 1;
            }
        } else {
            right = node(&right, c);
        }
        a >>= 1;
        b >>= 1;
    }
    b == 0 && left == old_root && right == new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_proved_and_no_fork_is() {
        let leaves: Vec<Hash> = (0..40u32).map(|i| leaf(&i.to_be_bytes())).collect();
        for n in 1..=leaves.len() {
            let new = (n as u64, root_of(&leaves[..n]));
            for m in 0..=n {
                let proof = consistency(&leaves[..n], m);
                let old = (m as u64, root_of(&leaves[..m]));
                assert!(consistent(old, new, &proof), "{m} of {n}");
                if m > 0 {
                    let forked = (m as u64, leaf(b"another"));
                    assert!(!consistent(forked, new, &proof), "{m} of {n}, forked");
                    assert!(m == n || !consistent(old, (n as u64, leaf(b"another")), &proof));
                }
                for i in 0..proof.len() {
                    let mut cut = proof.clone();
                    cut.remove(i);
                    assert!(!consistent(old, new, &cut), "{m} of {n} without {i}");
                }
            }
            assert!(!consistent((n as u64 + 1, new.1), new, &[]));
        }
    }

    /// RFC 6962 section 2.1, word for word.
    fn by_the_book(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest(b"").into(),
            [one] => *one,
            more => {
                let mut k = 1;
                while k * 2 < more.len() {
                    k *= 2;
                }
                node(&by_the_book(&more[..k]), &by_the_book(&more[k..]))
            }
        }
    }

    #[test]
    fn the_edge_gives_the_root_of_the_rfc() {
        let mut edge = Frontier::default();
        let mut leaves = Vec::new();
        for i in 0..300u32 {
            assert_eq!(edge.root(), by_the_book(&leaves), "size {i}");
            assert_eq!(Frontier::from_parts(edge.size(), edge.peaks().to_vec()).as_ref(), Some(&edge));
            let l = leaf(&i.to_be_bytes());
            leaves.push(l);
            edge.push(l);
        }
    }

    /// The test vectors of the certificate-transparency code base (merkle_tree_test), which every implementation of
    /// RFC 6962 quotes.
    #[test]
    fn known_roots() {
        let inputs: [&str; 8] =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Frontier::default();
        for (input, root) in inputs.iter().zip(roots) {
            edge.push(leaf(&hex::decode(input).unwrap()));
            assert_eq!(hex::encode(edge.root()), root);
        }
    }
}
