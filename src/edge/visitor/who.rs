//! Who a visitor is: by place token, by the shop's identity, by the signed cookie, or nobody yet.

use super::work;
use crate::{
    edge::{
        Edge, bearer,
        caller::{Call, Caller},
        origin,
    },
    metrics::{self, Refused},
    room::Room,
};
use axum::http::header;
use jiff::Timestamp;
use wire::{
    domain::{
        identity::{self, Identity, IdentityError},
        ids::{SaleId, Seq, VisitorId},
        line::Stranger,
        sale::Sale,
        token::Token,
    },
    protocol::{close::ErrorCode, server::ErrorMessage},
};

/// The cookie that says who an anonymous visitor is, without TLS …
const COOKIE: &str = "waitroom_visitor";
/// … and over TLS, with the sale behind it: a browser takes this name from this host alone, and over TLS alone.
const COOKIE_OVER_TLS: &str = "__Host-waitroom-";

/// What a request brings to say who it speaks for.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    /// The shop's identity.
    pub identity: Option<String>,
    /// The place token.
    pub place: Option<String>,
    /// The cookie's value.
    pub cookie: Option<String>,
    /// Work that was asked for, done.
    pub proof: Option<String>,
}

/// A visitor, and the seq that his place token proves.
#[derive(Clone, Debug)]
pub struct Who {
    /// The visitor.
    pub visitor: VisitorId,
    /// From the place token.
    pub token_seq: Option<Seq>,
    /// By what he is known.
    pub known: Known,
    /// Until when his identity is good, in Unix seconds; nothing for who has none.
    pub until: Option<i64>,
}

/// By what a visitor is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The shop vouches for him, or a place of his own.
    Vouched,
    /// He was here before, by his cookie.
    Before,
    /// By nothing: he has just been made.
    New,
}

impl Who {
    /// Of whom nothing else is known: where he comes from, if that has a limit.
    pub fn stranger(&self, edge: &Edge, caller: Caller) -> Option<Stranger> {
        let places_max = edge.strangers.address_places;
        (places_max > 0 && self.known != Known::Vouched)
            .then(|| Stranger { network: edge.keys.pseudonym(&caller.network.bytes()), places_max })
    }

    /// Whether he may have a new place: what was given under an identity does not outlive it for that, and who has none needs a
    /// sale that asks for none.
    pub fn is_entitled(&self, room: &Room) -> bool {
        let is_good = self.until.is_none_or(|until| until > Timestamp::now().as_second());
        is_good && (!self.visitor.is_anonymous() || room.line.state().anonymous)
    }
}

impl Proofs {
    /// From an HTTP request: the cookie, and a bearer token that is a place token or an identity.
    pub fn of_request(edge: &Edge, sale: &SaleId, call: &Call) -> Self {
        let bearer = bearer(&call.headers).map(str::to_owned);
        let is_place = |token: &String| matches!(edge.keys.verify(token), Some(Token::Place { .. }));
        let (place, identity) = match bearer {
            Some(token) if is_place(&token) => (Some(token), None),
            other => (None, other),
        };
        Self { identity, place, cookie: cookie_of(sale, call), proof: None }
    }
}

/// The value of our cookie. It says nothing in what a page of another origin sends.
pub fn cookie_of(sale: &SaleId, call: &Call) -> Option<String> {
    if !origin::is_own(call.caller.scheme, &call.headers) {
        return None;
    }
    // Others' cookies may be anything.
    let cookies =
        call.headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    let texts = cookies.filter_map(|pair| str::from_utf8(pair).ok());
    let pairs: Vec<_> = texts.filter_map(|pair| pair.trim().split_once('=')).collect();
    let over_tls = format!("{COOKIE_OVER_TLS}{sale}");
    // The other name is what a visitor has who came before there was TLS.
    let named = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted);
    named(&over_tls).or_else(|| named(COOKIE)).map(|(_, value)| (*value).to_owned())
}

/// The header that sets the cookie.
pub fn set_cookie(edge: &Edge, room: &Room, who: &Who, caller: Caller) -> String {
    let sale = &room.sale.id;
    let (visitor, until) = (who.visitor.clone(), who.until);
    let token = edge.keys.sign(&Token::Visitor { sale: sale.clone(), visitor, until });
    let rest = "HttpOnly; SameSite=Lax; Max-Age=604800";
    if caller.is_secure() {
        return format!("{COOKIE_OVER_TLS}{sale}={token}; Path=/; Secure; {rest}");
    }
    // Without a path it is for where the request went, `…/v1/sales/{sale}`: the browser knows what a proxy put before it.
    format!("{COOKIE}={token}; {rest}")
}

/// Who the proofs speak for; nothing if they are nobody's, which an anonymous sale allows.
pub fn identify(edge: &Edge, of: &Sale, proofs: &Proofs) -> Result<Option<Who>, ErrorMessage> {
    let identity = proofs.identity.as_deref().map(|identity| verify_identity(edge, of, identity));
    let place = proofs.place.as_ref().map(|place| edge.keys.verify(place));
    // What a deleted sale of the same id gave out is worth nothing, and no offence.
    let is_of_deleted = matches!(&place, Some(Some(Token::Place { sale, epoch, .. }))
        if *sale == of.id && *epoch <= of.first_epoch);
    if let Some(place) = place.filter(|_| !is_of_deleted) {
        let Some(Token::Place { sale, visitor, seq, until, .. }) = place else {
            return Err(refused("the place token is not one of ours; join without it"));
        };
        if sale != of.id {
            return Err(refused("the place token is for another sale"));
        }
        // The place is proof enough, also when the identity has expired meanwhile: but it must be the same one's.
        let (token_seq, known) = (Some(seq), Known::Vouched);
        let holder = |until| Ok(Some(Who { visitor: visitor.clone(), token_seq, known, until }));
        return match identity {
            None => holder(until),
            Some(Ok(same)) if same.visitor == visitor => holder(Some(same.until)),
            Some(Err(IdentityError::Expired(same))) if same == visitor => holder(until.or(Some(0))),
            Some(Ok(_) | Err(IdentityError::Expired(_))) => {
                Err(refused("identity and place token are of different visitors"))
            }
            Some(Err(error)) => Err(refused(error.to_string())),
        };
    }
    if let Some(identity) = identity {
        let Identity { visitor, until } = identity.map_err(|error| refused(error.to_string()))?;
        return Ok(Some(Who { visitor, token_seq: None, known: Known::Vouched, until: Some(until) }));
    }
    // A cookie that is not ours (any more) is no proof, and no offence.
    match proofs.cookie.as_deref().and_then(|cookie| edge.keys.verify(cookie)) {
        Some(Token::Visitor { sale, visitor, until }) if sale == of.id => {
            Ok(Some(Who { visitor, token_seq: None, known: Known::Before, until }))
        }
        _ => Ok(None),
    }
}

/// Who joins: as [`identify`], and nobody becomes a new visitor where the sale allows it.
pub fn identify_or_new(edge: &Edge, room: &Room, proofs: &Proofs) -> Result<Who, ErrorMessage> {
    match identify(edge, &room.sale, proofs)? {
        Some(who) => Ok(who),
        None if room.line.state().anonymous => work::newcomer(edge, &room.sale.id, proofs.proof.as_deref())
            .map(|visitor| Who { visitor, token_seq: None, known: Known::New, until: None }),
        None => Err(needs_identity()),
    }
}

/// What a visitor hears who may not draw a place as he is.
pub fn needs_identity() -> ErrorMessage {
    refused(
        "a new place in this sale needs an identity of the shop that is still good; come from the shop's page",
    )
}

fn verify_identity(edge: &Edge, sale: &Sale, identity: &str) -> Result<Identity, IdentityError> {
    let now_s = Timestamp::now().as_second();
    let verified = edge.keys.with_identity_key(|key| identity::verify(key, identity, &sale.id, now_s));
    verified.unwrap_or(Err(IdentityError::NoKey))
}

fn refused(message: impl Into<String>) -> ErrorMessage {
    metrics::visitor_refused(Refused::Identity);
    ErrorMessage::new(ErrorCode::IdentityInvalid, message)
}
