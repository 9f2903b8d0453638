//! Pure values and rules: no I/O, no clock (time is an argument), no randomness but where an id is drawn.

pub mod audit;
pub mod booking;
pub mod choose;
pub mod coordinates;
pub mod eta;
pub mod hall;
pub mod identity;
pub mod ids;
pub mod journal;
pub mod line;
pub mod phase;
pub mod place;
pub mod plan;
mod plan_file;
pub mod ranking;
pub mod refusal;
pub mod sale;
pub mod sample_plan;
pub mod seats;
pub mod token;
pub mod work;
