//! Who is connected to this instance, and what each must hear.

mod hub;
mod lot;
mod news;
pub(super) mod outage;
mod socket;
pub(super) mod sweeper;

pub use hub::Hub;
pub use lot::Lot;
pub use news::{News, RankUpdate, Watch};
pub use socket::{Next, Parked, Socket, Took};
