//! Who is connected to this instance, and what each must hear.

mod hub;
mod lot;
mod socket;
pub(super) mod sweeper;

pub use hub::Hub;
pub use lot::Lot;
pub use socket::{News, Next, Parked, RankUpdate, Socket, Took, Watch};
