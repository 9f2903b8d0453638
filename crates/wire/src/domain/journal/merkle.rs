//! A Merkle tree, as RFC 6962 (2.1) has it: leaves and nodes are hashed apart, so that none can pass for the other.

use super::chain::Hash;
use sha2::{Digest, Sha256};

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The hash of a leaf's content, which may come in pieces.
pub(super) fn leaf(pieces: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([LEAF]);
    pieces.iter().for_each(|piece| hasher.update(piece));
    Hash(hasher.finalize().into())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new_with_prefix([NODE]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// A tree over leaves that are hashed already. A level with an odd end hands it up as it is, which makes the same tree as
/// the RFC's split at the largest power of two.
pub struct Tree {
    /// From the leaves to the root.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Over these, in this order.
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let above = last.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                rest => rest[0],
            });
            let above = above.collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// What stands for all leaves; of none, the hash of nothing.
    pub fn root(&self) -> Hash {
        let nothing = || Hash(Sha256::new().finalize().into());
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_else(nothing)
    }

    /// The hashes that lead from a leaf to the root: its neighbours, from below.
    pub fn path(&self, leaf: usize) -> Vec<Hash> {
        let neighbour = |(height, level): (usize, &Vec<Hash>)| level.get((leaf >> height) ^ 1).copied();
        self.levels.iter().enumerate().filter_map(neighbour).collect()
    }
}

/// The root of a tree of `leaves` leaves in which the leaf at `index` has this path; nothing if the path has another
/// length than it must.
pub fn root_of(leaf: Hash, index: usize, leaves: usize, path: &[Hash]) -> Option<Hash> {
    let (mut hash, mut at, mut width, mut path) = (leaf, index, leaves, path.iter());
    if index >= leaves {
        return None;
    }
    while width > 1 {
        // The odd end of a level has no neighbour.
        if at ^ 1 < width {
            let neighbour = path.next()?;
            hash = if at % 2 == 0 { node(&hash, neighbour) } else { node(neighbour, &hash) };
        }
        (at, width) = (at / 2, width.div_ceil(2));
    }
    path.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| leaf(&[&i.to_be_bytes()])).collect()
    }

    #[test]
    fn every_leaf_of_every_tree_is_found_by_its_path_and_by_no_other() {
        for count in 1..=40 {
            let all = leaves(count);
            let tree = Tree::new(all.clone());
            for (i, one) in all.iter().enumerate() {
                let path = tree.path(i);
                assert_eq!(root_of(*one, i, count, &path), Some(tree.root()), "{i} of {count}");
                for other in (0..count).filter(|other| *other != i) {
                    assert_ne!(root_of(all[other], i, count, &path), Some(tree.root()));
                }
                let mut long = path.clone();
                long.push(*one);
                assert_eq!(root_of(*one, i, count, &long), None);
                assert_eq!(root_of(*one, count, count, &path), None);
            }
        }
    }

    #[test]
    fn as_certificate_transparency_has_it() {
        // The test vectors of RFC 6962's reference implementation: leaves "", 00, 10.
        let all = vec![leaf(&[&[]]), leaf(&[&[0x00]]), leaf(&[&[0x10]])];
        let expected = "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77";
        assert_eq!(Tree::new(all).root().to_string(), expected);
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Tree::new(Vec::new()).root().to_string(), nothing);
    }
}
