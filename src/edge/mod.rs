//! What the outside speaks to: the public listener for visitors, the admin listener for operators and Prometheus.
//! Knows no Redis and no PostgreSQL.

mod accept;
mod allowance;
mod cache;
mod caller;
mod checks;
pub mod doors;
mod error;
mod headers;
pub mod keys;
pub mod listener;
pub mod networks;
pub mod operator;
mod origin;
mod packed;
mod pages;
mod rarely;
mod rush;
mod visitor;

use crate::{
    limits::Bounds,
    metrics::{self, Refused},
    room::{
        Room,
        errors::RoomError,
        rooms::{Found, Rooms},
        sockets::Lot,
    },
    settings::{Cidr, StrangerSettings},
};
use allowance::Allowances;
use axum::{
    Router,
    http::{HeaderMap, header},
};
use cache::Cache;
use error::HttpError;
use keys::Keys;
use networks::{FullNetworks, Networks};
use operator::access::Access;
use rush::Rush;
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::timeout;
use wire::domain::ids::{SaleId, VisitorId};

/// How long a name that nobody knows waits for its turn to be looked up.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(3);

/// The token that a request brings; the scheme's name may be in any case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What every handler may use.
pub struct Edge {
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// The keys of our tokens, and the shop's.
    pub keys: Keys,
    /// Origins whose pages may open a socket; none given: only the own host.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word on the visitor's address and scheme is taken.
    pub trusted_proxies: Vec<Cidr>,
    /// Who may use the admin API.
    pub access: Access,
    /// Sockets that this process can have open.
    pub connections_max: usize,
    /// What those may do who prove nothing of themselves.
    pub strangers: StrangerSettings,
    /// The bounds on whoever connects.
    pub bounds: Bounds,
    /// Where the sockets of those who wait are parked.
    pub lot: Arc<Lot>,
    /// What the edge keeps for itself.
    pub state: EdgeState,
}

/// What an edge keeps for itself.
#[derive(Default)]
pub struct EdgeState {
    cache: Cache,
    /// Held by who looks a sale up that has no room.
    strangers: tokio::sync::Mutex<()>,
    next_socket: AtomicU64,
    /// Open sockets by network.
    sockets: Networks,
    /// Networks that have drawn all the places that they may.
    full: FullNetworks,
    /// What visitors may ask without a socket.
    requests: Allowances,
    /// How many come of whom nothing is known.
    newcomers: Rush,
}

impl EdgeState {
    /// Without a cache: for `benches/cache.rs`.
    pub fn uncached() -> Self {
        Self { cache: Cache::none(), ..Self::default() }
    }
}

impl Edge {
    /// Whether the visitor may make another request, which counts as so many; whoever has a socket has an allowance there.
    fn allow(&self, visitor: &VisitorId, cost: u32) -> Result<(), HttpError> {
        let bounds = (self.bounds.messages_per_s, self.bounds.messages_burst);
        self.state.requests.take(visitor, f64::from(cost), bounds).map_err(|after| {
            metrics::visitor_refused(Refused::Requests);
            HttpError::too_many("that is more often than anyone needs to ask; ask more slowly", after)
        })
    }

    /// The room of a sale in a path; one that is over has none.
    async fn room(&self, sale: &str) -> Result<Arc<Room>, HttpError> {
        match self.find(sale).await? {
            Found::Room(room) => Ok(room),
            Found::Closed(_) => Err(HttpError::sale_closed()),
        }
    }

    /// The sale in a path.
    async fn find(&self, sale: &str) -> Result<Found, HttpError> {
        let id = SaleId::parse(sale).ok_or_else(HttpError::unknown_sale)?;
        if let Some(room) = self.rooms.open(&id) {
            return Ok(Found::Room(room));
        }
        let look_up = async {
            if !self.is_there(&id).await.map_err(Err)? {
                return Ok(());
            }
            match self.rooms.find(&id).await {
                Ok(None) => Ok(()),
                found => Err(found),
            }
        };
        match self.state.cache.stranger(id.clone(), look_up).await {
            Ok(()) => Err(HttpError::unknown_sale()),
            Err(found) => match &*found {
                Ok(Some(Found::Room(room))) => Ok(Found::Room(room.clone())),
                Ok(Some(Found::Closed(closed))) => Ok(Found::Closed(closed.clone())),
                Ok(None) => Err(HttpError::unknown_sale()),
                Err(error) => Err(HttpError::from(error.clone())),
            },
        }
    }

    /// Whether there is such a sale. One name is asked for at a time: those that somebody makes up must not stand in the queue for
    /// PostgreSQL before bookings.
    async fn is_there(&self, id: &SaleId) -> Result<bool, RoomError> {
        if self.rooms.knows(id) {
            return Ok(true);
        }
        let turn = timeout(LOOKUP_PATIENCE, self.state.strangers.lock()).await;
        let _turn = turn.map_err(|_| RoomError::Overloaded)?;
        self.rooms.is_there(id).await
    }
}

/// The public listener.
pub fn public_router(edge: Arc<Edge>) -> Router {
    pages::prepare();
    visitor::router(edge)
}

/// The admin listener.
pub fn admin_router(edge: Arc<Edge>) -> Router {
    operator::router(edge)
}
