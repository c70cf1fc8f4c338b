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

#[cfg(test)]
mod tests {
    use super::*;

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
