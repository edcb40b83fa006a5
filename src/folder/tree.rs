//! The Merkle tree of RFC 6962, section 2.1, as far as one who appends needs it: the roots of the perfect subtrees at its right
//! edge (a compact range). It takes 32 bytes for each bit of its size, and its root can be asked at every size as it passes.
//!
//! ```text
//!  size 7 = 4 + 2 + 1            root
//!                             ┌───┴───┐
//!  kept:   ▲ of 0–3           ▲      ┌┴┐
//!          ▲ of 4–5          0–3     ▲ ▲
//!          ▲ of 6                  4–5 6
//! ```

use aws_lc_rs::digest::{Context, SHA256};

use crate::hash::Hash;

/// A tree that grows to the right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// The roots of the perfect subtrees, the largest first: one for each bit of the size.
    peaks: Vec<Hash>,
}

impl Tree {
    /// One without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, entry: &[u8]) {
        self.push_hash(leaf(entry));
    }

    /// Appends a leaf by its [`leaf`] hash.
    pub fn push_hash(&mut self, mut hash: Hash) {
        // as in binary counting: each 1 at the end becomes 0 and is carried on
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// What it holds besides itself.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.peaks.capacity() * size_of::<Hash>()
    }

    /// The root over all leaves so far (`MTH`); that of none is the hash of nothing.
    pub fn root(&self) -> Hash {
        self.peaks.iter().rev().copied().reduce(|right, left| node(&left, &right)).unwrap_or_else(|| Hash::of(b""))
    }
}

/// The hash of a leaf: `SHA-256(0x00 ‖ entry)`.
pub fn leaf(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    context.finish().into()
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
fn node(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(left.as_bytes());
    context.update(right.as_bytes());
    context.finish().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, word by word.
    fn mth(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => Hash::of(b""),
            [one] => leaf(one),
            many => {
                let k = (many.len().next_power_of_two() / 2).max(1);
                let k = if many.len().is_power_of_two() { many.len() / 2 } else { k };
                node(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    #[test]
    fn the_root_at_every_size_is_what_the_rfc_defines() {
        let entries: Vec<Vec<u8>> = (0..130_u32).map(|n| n.to_be_bytes()[..(n as usize % 5).min(4)].to_vec()).collect();
        let mut tree = Tree::new();
        for size in 0..=entries.len() {
            assert_eq!(tree.size(), size as u64);
            assert_eq!(tree.root(), mth(&entries[..size]), "{size}");
            assert_eq!(tree.peaks.len(), size.count_ones() as usize);
            if let Some(entry) = entries.get(size) {
                tree.push(entry);
            }
        }
    }

    #[test]
    fn roots_are_those_that_certificate_transparency_publishes() {
        // the entries and roots of the reference implementation's own tests (google/certificate-transparency, merkle_tree_test)
        let entries =
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
        let mut tree = Tree::new();
        for (entry, root) in entries.iter().zip(roots) {
            tree.push(&hex::decode(entry).unwrap());
            assert_eq!(tree.root().hex(), root);
        }
    }
}
