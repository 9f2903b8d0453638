//! Who calls the admin API, and what he may do: a token has a name, a role, and perhaps sales beyond which it is worth nothing.

use super::guesses::Guesses;
use crate::{
    edge::{Edge, bearer, caller::Arrival, error::HttpError},
    settings::{NamedToken, Role},
};
use axum::{
    Extension,
    extract::{RawPathParams, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};
use std::{hint::black_box, sync::Arc};
use wire::domain::{audit::Actor, ids::SaleId};

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To look at everything.
    Read,
    /// To look at bookings.
    ReadBookings,
    /// To confirm and release them.
    Bookings,
    /// Everything.
    Operate,
}

/// Who calls.
#[derive(Debug)]
pub struct Caller {
    /// As the audit has him.
    pub name: Actor,
    role: Role,
    sales: Vec<SaleId>,
    token: [u8; 32],
}

impl Caller {
    fn of(token: &NamedToken) -> Self {
        let (name, role, sales) = (token.name.clone(), token.role, token.sales.clone());
        Self { name, role, sales, token: Sha256::digest(token.token.expose()).into() }
    }

    fn has(&self, right: Right) -> bool {
        match self.role {
            Role::Operator => true,
            Role::Viewer => matches!(right, Right::Read | Right::ReadBookings),
            Role::Shop => matches!(right, Right::ReadBookings | Right::Bookings),
            Role::Gate => false,
        }
    }

    /// Whether the caller may know of the sale.
    pub fn knows(&self, sale: &str) -> bool {
        self.sales.is_empty() || self.sales.iter().any(|own| own.as_str() == sale)
    }

    /// The sales beyond which the token is worth nothing; none: all.
    pub fn sales(&self) -> &[SaleId] {
        &self.sales
    }

    /// Whether the caller may know of the sale; else what he is told.
    pub fn must_know(&self, sale: &str) -> Result<(), HttpError> {
        if self.knows(sale) { Ok(()) } else { Err(self.forbidden("this token is for other sales")) }
    }

    /// For what concerns all sales.
    pub fn must_know_all(&self) -> Result<(), HttpError> {
        let own = "this token is for some sales, and what you ask for concerns all";
        if self.sales.is_empty() { Ok(()) } else { Err(self.forbidden(own)) }
    }

    fn forbidden(&self, why: &str) -> HttpError {
        HttpError::new(StatusCode::FORBIDDEN, "forbidden", format!("{why}; it is {}'s", self.name))
    }
}

/// All who may call, and those who try.
pub struct Access {
    callers: Vec<Arc<Caller>>,
    guesses: Guesses,
}

impl Access {
    /// The operator's own token, and the named ones.
    pub fn new(admin_token: &str, named: &[NamedToken]) -> Self {
        let admin = NamedToken {
            name: Actor::admin(),
            role: Role::Operator,
            sales: Vec::new(),
            token: admin_token.to_owned().into(),
        };
        let callers = std::iter::once(&admin).chain(named).map(|token| Arc::new(Caller::of(token)));
        Self { callers: callers.collect(), guesses: Guesses::default() }
    }

    /// Whose the token is. All are compared, each to its last byte, and hashes at that: the time taken tells nothing.
    fn caller(&self, token: &str) -> Option<Arc<Caller>> {
        let given: [u8; 32] = Sha256::digest(token).into();
        let same = |caller: &Arc<Caller>| {
            black_box(caller.token.iter().zip(given).fold(0, |all, (own, given)| all | (own ^ given))) == 0
        };
        self.callers
            .iter()
            .fold(None, |found, caller| if same(caller) { Some(caller.clone()) } else { found })
    }
}

/// Lets through who brings a token of ours, and slows down who brings a wrong one.
pub async fn authenticate(
    State(edge): State<Arc<Edge>>,
    Extension(Arrival { peer, .. }): Extension<Arrival>,
    mut request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let token = bearer(request.headers());
    if let Some(caller) = token.and_then(|token| edge.access.caller(token)) {
        request.extensions_mut().insert(caller);
        return Ok(next.run(request).await);
    }
    if token.is_some() && edge.bounds.slows_guesses {
        edge.access.guesses.slow_down(peer.ip()).await?;
    }
    let message = "send the admin token: Authorization: Bearer <token>";
    Err(HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"waitroom admin\""))
}

/// Lets through whose role has the right, and whose token is for the sale in the path; everyone where a test has it `checks` nothing.
pub async fn permit(
    State((right, checks)): State<(Right, bool)>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let caller = request.extensions().get::<Arc<Caller>>();
    // Without one nobody was authenticated, which would be a bug: nothing is done then.
    let caller = caller.ok_or_else(|| HttpError::new(StatusCode::FORBIDDEN, "forbidden", "nobody calls"))?;
    if !checks {
        return Ok(next.run(request).await);
    }
    if !caller.has(right) {
        return Err(caller.forbidden(&format!("a token of role {} may not do this", caller.role)));
    }
    if let Some((_, sale)) = params.iter().find(|(name, _)| *name == "sale") {
        caller.must_know(sale)?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role) -> Caller {
        Caller { name: Actor::admin(), role, sales: Vec::new(), token: [0; 32] }
    }

    #[test]
    fn each_role_has_its_rights_and_no_more() {
        let all = [Right::Read, Right::ReadBookings, Right::Bookings, Right::Operate];
        for (role, rights) in [
            (Role::Operator, [true; 4]),
            (Role::Viewer, [true, true, false, false]),
            (Role::Shop, [false, true, true, false]),
            (Role::Gate, [false; 4]),
        ] {
            assert_eq!(all.map(|right| caller(role).has(right)), rights, "{role}");
        }
    }

    #[test]
    fn a_token_is_its_own_callers() {
        let named = |name: &str, token: &str| NamedToken {
            name: Actor::parse(name).unwrap(),
            role: Role::Shop,
            sales: vec![SaleId::parse("spring").unwrap()],
            token: token.to_owned().into(),
        };
        let access = Access::new("the-first", &[named("till", "the-second"), named("web", "the-third")]);
        let name = |token: &str| access.caller(token).map(|caller| caller.name.to_string());
        assert_eq!(name("the-first").as_deref(), Some("admin"));
        assert_eq!(name("the-third").as_deref(), Some("web"));
        for wrong in ["", "the-firs", "the-first ", "THE-FIRST"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
        let till = access.caller("the-second").unwrap();
        assert!(till.must_know("spring").is_ok() && till.must_know("autumn").is_err());
        assert!(till.must_know_all().is_err() && access.caller("the-first").unwrap().must_know_all().is_ok());
    }
}
