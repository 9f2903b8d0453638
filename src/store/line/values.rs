//! What the line is asked, and what it answers.

use crate::{
    domain::{
        booking::{Booking, BookingStatus},
        ids::{GrantKey, Seq, VisitorId},
        phase::Phase,
        place::Standing,
        plan::SeatIndex,
        seats::SeatSet,
    },
    store::events::Position,
};

/// A visitor who comes into the line, or back to it.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who.
    pub visitor: VisitorId,
    /// Over which socket; nothing for a plain HTTP call.
    pub connection: Option<u64>,
    /// For how long a call without a socket counts as presence, in milliseconds.
    pub poll_ms: u64,
    /// What is wanted.
    pub mode: JoinMode,
    /// The seq that a valid place token proves.
    pub token_seq: Option<Seq>,
}

/// What a join wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMode {
    /// A place, unless the visitor has booked.
    Join,
    /// A place also after a booking; so many seats are booked already.
    Again {
        /// Seats booked.
        owned: u32,
    },
    /// Only to see the standing; draws no place.
    Look,
    /// To find one's place again where it was lost; draws no new one.
    Recheck,
}

/// What Redis answered to a batch of joins.
#[derive(Clone, Debug)]
pub struct JoinReply {
    /// The stream's last entry: nothing older may be shown to these visitors.
    pub position: Position,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// New places drawn.
    pub drawn: u64,
    /// One for each join, in order; nothing without a place.
    pub standings: Vec<Option<Standing>>,
}

impl JoinReply {
    /// The answer to one of the joins.
    pub fn answer(&self, index: usize) -> JoinAnswer {
        let standing = self.standings.get(index).copied().flatten();
        JoinAnswer { position: self.position, total: self.total, phase: self.phase, standing }
    }
}

/// What Redis answered to one join.
#[derive(Clone, Copy, Debug)]
pub struct JoinAnswer {
    /// The stream's last entry: nothing older may be shown to this visitor.
    pub position: Position,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// The visitor's place, if there is one.
    pub standing: Option<Standing>,
}

/// What one tick did.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Redis' clock, ms.
    pub now_ms: i64,
    /// The sale's phase.
    pub phase: Phase,
    /// All shifts of deadlines so far, ms.
    pub shift_ms: i64,
    /// Grants given.
    pub admitted: u64,
    /// Grants whose redeem's outcome only PostgreSQL knows.
    pub expired_locks: Vec<(VisitorId, GrantKey)>,
    /// Lapses: missed, expired, closed.
    pub lapsed: [u64; 3],
    /// Grants that live now.
    pub live: u64,
}

/// Whether a grant may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Yes, and it cannot lapse meanwhile.
    Locked {
        /// Seats that the visitor had booked before.
        owned: u32,
        /// Until when, in Redis' ms.
        until_ms: u64,
    },
    /// Another try is at it.
    Busy,
    /// No such grant lives.
    Dead,
}

/// A grant's fence. Until when it stands tells it from the fence of a later try.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Whose grant.
    pub visitor: VisitorId,
    /// Until when, in Redis' ms; 0 for one that has run out.
    pub until_ms: u64,
}

/// A booking that PostgreSQL committed, to be told to the line. Empty fields where only the map is put right.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose; empty if only the seat map is put right.
    pub visitor: String,
    /// The grant that was spent, if one was.
    pub grant: Option<GrantKey>,
    /// Which; empty if only the seat map is put right.
    pub booking: String,
    /// `held`, `confirmed` or `released`.
    pub status: &'static str,
    /// Its seats.
    pub seats: Vec<SeatIndex>,
}

impl Committed {
    /// What the line is to hear of a booking. One that was released since has no seats any more: they may be someone
    /// else's by now, so only its grant is told of.
    pub fn of(visitor: &VisitorId, grant: Option<GrantKey>, booking: &Booking) -> Self {
        let gone = grant.is_some() && booking.status == BookingStatus::Released;
        Self {
            visitor: visitor.as_str().to_owned(),
            grant,
            booking: booking.id.to_string(),
            status: booking.status.as_str(),
            seats: if gone { Vec::new() } else { booking.seats.clone() },
        }
    }
}

/// What a fresh life of a line starts with.
pub struct Install<'a> {
    /// The epoch.
    pub epoch: u64,
    /// Seqs are drawn above this.
    pub first_seq: Seq,
    /// Seats in the plan.
    pub seats: usize,
    /// Shifts of deadlines so far, ms.
    pub shift_ms: i64,
    /// Seats booked or held.
    pub taken: &'a SeatSet,
    /// Bookings that are held.
    pub held: &'a [String],
    /// Visitors who booked, and how many seats.
    pub booked: &'a [(VisitorId, u32)],
}

/// Settings as the scripts need them.
pub struct LineSettings<'a> {
    /// Version of the sale's row.
    pub version: u64,
    /// The operator's phase.
    pub command: Phase,
    /// Admissions a second.
    pub rate: f64,
    /// Live grants at once.
    pub max_active: u32,
    /// A grant's life, ms.
    pub grant_ttl_ms: u64,
    /// Time for the first use, ms.
    pub claim_ms: u64,
    /// Allowed absence, ms.
    pub away_ms: u64,
    /// Seats not for sale.
    pub blocked: &'a SeatSet,
}

/// A sale's live numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Places in the line, the returned ones included.
    pub waiting: u64,
    /// Places kept for visitors who were not there.
    pub away: u64,
    /// Live grants.
    pub granted: u64,
    /// Held bookings.
    pub held: u64,
    /// Free seats.
    pub seats_left: u64,
    /// Grants given so far.
    pub admitted_total: u64,
    /// Grants lapsed so far.
    pub lapsed_total: u64,
}
