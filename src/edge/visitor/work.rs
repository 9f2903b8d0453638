//! Work that is asked of newcomers before they draw a place.

use crate::{
    edge::Edge,
    metrics::{self, Refused},
};
use jiff::Timestamp;
use wire::{
    domain::{
        ids::{SaleId, VisitorId},
        token::Token,
        work::{self, Work},
    },
    protocol::{close::ErrorCode, server::ErrorMessage},
};

/// How long work that is asked for counts, in seconds: long for a slow telephone, short for who would do it in store.
const CHALLENGE_S: i64 = 120;

/// Who somebody is of whom nothing is known, once he has done the work that is asked of him, if any is. A proof names the visitor who
/// comes of it: whoever shows it again, anywhere, is the same one, and has one place.
pub fn newcomer(edge: &Edge, sale: &SaleId, proof: Option<&str>) -> Result<VisitorId, ErrorMessage> {
    let now = Timestamp::now().as_second();
    match proof.map(|proof| visitor_of(|token| edge.keys.verify(token), sale, proof, now)) {
        Some(Some(visitor)) => return Ok(visitor),
        Some(None) => metrics::visitor_refused(Refused::ProofInvalid),
        None => {}
    }
    let bits = edge.state.newcomers.comes(edge.strangers.proof_of_work);
    let visitor = VisitorId::anonymous();
    if bits == 0 {
        return Ok(visitor);
    }
    metrics::visitor_refused(Refused::ProofNeeded);
    let token = Token::Work { sale: sale.clone(), visitor, bits, until: now + CHALLENGE_S };
    let message = "many come at once: find the number that `proof` asks for (docs/contract.md), and join with it within 2 minutes";
    let proof = Some(Work { challenge: edge.keys.sign(&token), bits });
    Err(ErrorMessage { proof, ..ErrorMessage::new(ErrorCode::ProofNeeded, message) })
}

/// The visitor of a proof that is one.
fn visitor_of(
    verify: impl FnOnce(&str) -> Option<Token>,
    of: &SaleId,
    proof: &str,
    now: i64,
) -> Option<VisitorId> {
    let (challenge, done) = work::done(proof)?;
    match verify(challenge)? {
        Token::Work { sale, visitor, bits, until }
            if sale == *of && until > now && done >= u32::from(bits) =>
        {
            Some(visitor)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::token::{Key, Keyring};

    #[test]
    fn work_counts_for_its_sale_and_its_time() {
        let keys = Keyring::new(vec![Key { kid: "k1".into(), secret: vec![7; 32] }]).unwrap();
        let (sale, other) = (SaleId::parse("a").unwrap(), SaleId::parse("b").unwrap());
        let visitor = VisitorId::parse("kim").unwrap();
        let token = Token::Work { sale: sale.clone(), visitor: visitor.clone(), bits: 8, until: 100 };
        let work = Work { challenge: keys.sign(&token), bits: 8 };
        let proof = work.solve();
        assert_eq!(visitor_of(|token| keys.verify(token), &sale, &proof, 99), Some(visitor.clone()));
        assert_eq!(visitor_of(|token| keys.verify(token), &sale, &proof, 100), None);
        assert_eq!(visitor_of(|token| keys.verify(token), &other, &proof, 99), None);
        // Less than was asked for, and what was asked for by somebody else.
        let lazy = Work { bits: 0, ..work.clone() }.solve();
        assert!(visitor_of(|token| keys.verify(token), &sale, &lazy, 99).is_none() || lazy == proof);
        let own = Keyring::new(vec![Key { kid: "k1".into(), secret: vec![8; 32] }]).unwrap();
        let forged = Work { challenge: own.sign(&token), bits: 8 }.solve();
        assert_eq!(visitor_of(|token| keys.verify(token), &sale, &forged, 99), None);
        // Another token of ours is no work.
        let token = Token::Visitor { sale: sale.clone(), visitor, until: None };
        let cookie = Work { challenge: keys.sign(&token), bits: 8 }.solve();
        assert_eq!(visitor_of(|token| keys.verify(token), &sale, &cookie, 99), None);
    }
}
