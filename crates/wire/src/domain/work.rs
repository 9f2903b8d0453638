//! Work that costs who does it and not who looks: before a place is drawn for somebody of whom nothing is known, his browser
//! looks for a number that makes a hash begin with so many zero bits. One more bit is twice the work.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// A token of the server's, which the number is looked for.
    pub challenge: String,
    /// With so many zero bits the hash must begin.
    pub bits: u8,
}

impl Work {
    /// The proof: challenge and number. Half of `2^bits` tries and often more; a second for 20 bits.
    pub fn solve(&self) -> String {
        let seed = Sha256::digest(&self.challenge);
        let number = (0..u64::MAX).find(|number| zero_bits(&seed, *number) >= u32::from(self.bits));
        format!("{}.{}", self.challenge, number.unwrap_or_default())
    }
}

/// The challenge in a proof, and how much work was done for it.
pub fn done(proof: &str) -> Option<(&str, u32)> {
    let (challenge, number) = proof.rsplit_once('.')?;
    // One number has one form: digits, and none too many.
    let parsed: u64 = number.parse().ok().filter(|parsed: &u64| parsed.to_string() == number)?;
    Some((challenge, zero_bits(&Sha256::digest(challenge), parsed)))
}

/// With how many zero bits the hash of the challenge's hash and the number (eight bytes, the highest first) begins.
fn zero_bits(seed: &[u8], number: u64) -> u32 {
    let hash = Sha256::new().chain_update(seed).chain_update(number.to_be_bytes()).finalize();
    let zeros = hash.iter().take_while(|byte| **byte == 0).count();
    zeros as u32 * 8 + hash.get(zeros).map_or(0, |byte| byte.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let work = Work { challenge: "k1.abc.def".into(), bits: 10 };
        let proof = work.solve();
        let (challenge, bits) = done(&proof).unwrap();
        assert_eq!(challenge, work.challenge);
        assert!(bits >= 10);
        // The same number is worth nothing for another challenge.
        let number = proof.rsplit_once('.').unwrap().1;
        assert!(done(&format!("k1.abc.deg.{number}")).unwrap().1 < 10);
        for bad in
            ["", "k1", "k1.abc.def.", "k1.abc.def.-1", "k1.abc.def.+1", "k1.abc.def.01", "k1.abc.def.1e3"]
        {
            assert_eq!(done(bad), None, "{bad}");
        }
    }

    /// What other programs do must come to the same.
    #[test]
    fn the_hash_is_of_the_hash_and_eight_bytes() {
        let seed = Sha256::digest("a");
        let zeros = |number: u64| {
            let hash = Sha256::digest([&seed[..], &number.to_be_bytes()].concat());
            hash.iter()
                .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
                .take_while(|bit| *bit == 0)
                .count()
        };
        for number in 0..1_000 {
            assert_eq!(zero_bits(&seed, number) as usize, zeros(number), "{number}");
        }
        assert!((0..1_000).any(|number| zeros(number) > 8));
        // The first number that is enough is taken, and no more is done.
        for bits in 0..8 {
            let solved = Work { challenge: "a".into(), bits }.solve();
            assert_eq!(solved, format!("a.{}", (0..).find(|number| zeros(*number) >= bits.into()).unwrap()));
        }
    }
}
