//! Who is connected to this instance, and what each must hear.

mod hub;
mod socket;
pub(super) mod sweeper;

pub use hub::Hub;
pub use socket::{News, Next, RankUpdate, Socket, Watch};
