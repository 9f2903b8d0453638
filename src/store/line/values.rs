//! What the scripts of a line are told, and what they answer.

use std::collections::HashSet;
use uuid::Uuid;
use wire::domain::{
    booking::{Booking, BookingStatus},
    ids::{GrantKey, Seq, VisitorId},
    journal::LiveGrant,
    line::{LineAnswer, Position},
    phase::Phase,
    place::{Stage, Standing},
    plan::SeatIndex,
    seats::SeatSet,
};

/// What Redis answered to a batch of joins or polls.
#[derive(Clone, Debug)]
pub struct Standings {
    /// The stream's last entry: nothing older may be shown to these visitors.
    pub position: Position,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// New places drawn.
    pub drawn: u64,
    /// One for each, in order.
    pub standings: Vec<Stood>,
}

/// How one who asked stands.
#[derive(Clone, Copy, Debug)]
pub enum Stood {
    /// He has a place.
    At(Standing),
    /// He has none.
    Nowhere,
    /// He drew none: too many came from his network.
    TooMany {
        /// When it may draw again.
        again_ms: u64,
    },
    /// He has none: the operator has sent him away.
    SentAway,
}

impl Stood {
    /// His place, if he has one.
    pub fn place(self) -> Option<Standing> {
        match self {
            Self::At(standing) => Some(standing),
            Self::Nowhere | Self::TooMany { .. } | Self::SentAway => None,
        }
    }
}

impl Standings {
    /// The answers, one for each who asked.
    pub fn answers(self) -> Vec<LineAnswer> {
        let Self { position, total, phase, standings, .. } = self;
        let answer = |stood: Stood| {
            let full_ms = if let Stood::TooMany { again_ms } = stood { Some(again_ms) } else { None };
            let removed = matches!(stood, Stood::SentAway);
            LineAnswer { position, total, phase, standing: stood.place(), full_ms, removed }
        };
        standings.into_iter().map(answer).collect()
    }
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
    /// Grants whose redeem's outcome only PostgreSQL knows: their fences ran out.
    pub expired_fences: Vec<(VisitorId, GrantKey)>,
    /// Lapses: missed, expired, closed.
    pub lapsed: [u64; 3],
    /// Grants that live now.
    pub live: u64,
    /// Instances that live.
    pub instances: u64,
    /// Somebody else had ticked just now.
    pub is_early: bool,
    /// It has only begun what is to be done: the next is due at once.
    pub goes_on: bool,
}

/// What became of a visitor who was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// He has no place, and no socket.
    Done {
        /// Whether a place of his ended by it.
        ended: bool,
    },
    /// He is booking just now: try again in a moment.
    Busy,
    /// This turn of his was being redeemed, and nobody knows what came of that.
    Unsettled(GrantKey),
}

/// Whether a grant was fenced, to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// Yes: it cannot lapse meanwhile.
    Yes {
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

impl Fence {
    /// In place of a time: whichever try it was of, a row in PostgreSQL keeps the grant from ever booking.
    pub const OF_VOID: u64 = 1;
}

/// What the line is to hear of bookings.
#[derive(Clone, Debug)]
pub enum Told {
    /// PostgreSQL has this of a booking.
    Booking(Committed),
    /// Only the hold is put right: the booking is held, or is not.
    Hold {
        /// Which.
        booking: Uuid,
        /// Whether it is held.
        held: bool,
    },
    /// Only seats are put right: they are booked, or are not.
    Seats {
        /// Whether they are booked.
        booked: bool,
        /// Which.
        seats: Vec<SeatIndex>,
    },
}

/// A booking that PostgreSQL committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose.
    pub visitor: VisitorId,
    /// The grant that was spent, if one was.
    pub grant: Option<GrantKey>,
    /// Which.
    pub booking: Uuid,
    /// How it stands.
    pub status: BookingStatus,
    /// Its seats, as far as they are its own now.
    pub seats: Vec<SeatIndex>,
}

impl Committed {
    /// What the line is to hear of a booking. One that was released since has no seats any more: they may be someone
    /// else's by now, so only its grant is told of.
    pub fn of(visitor: &VisitorId, grant: Option<GrantKey>, booking: &Booking) -> Self {
        let gone = grant.is_some() && booking.status == BookingStatus::Released;
        Self {
            visitor: visitor.clone(),
            grant,
            booking: booking.id,
            status: booking.status,
            seats: if gone { Vec::new() } else { booking.seats.clone() },
        }
    }
}

/// A life of a line that is being restored.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// The epoch in which it lives on.
    pub epoch: u64,
    /// When the life before was last heard of, by the clock of then, ms: from then on no deadline has run.
    pub at_ms: i64,
}

/// A place that comes back from the journal.
#[derive(Clone, Debug)]
pub struct Returning {
    /// Whose.
    pub visitor: VisitorId,
    /// Its number.
    pub seq: Seq,
    /// How it stood.
    pub stage: Stage,
    /// Its turn.
    pub turn: u8,
    /// Seats that the visitor had booked when it was drawn.
    pub owned: u32,
    /// Its grant, if it had one.
    pub grant: Option<LiveGrant>,
}

/// What a life of a line starts with.
pub struct Install<'a> {
    /// The epoch.
    pub epoch: u64,
    /// The last epoch of a deleted sale of the same id; what is left of it is no life.
    pub first_epoch: u64,
    /// The epoch that Redis has, and has not wholly; 0 for none.
    pub lost_epoch: u64,
    /// The operator's phase.
    pub command: Phase,
    /// Seqs are drawn above this.
    pub first_seq: Seq,
    /// Seats in the plan.
    pub seats: usize,
    /// Shifts of deadlines so far, ms.
    pub shift_ms: i64,
    /// Seats booked or held.
    pub booked_seats: &'a SeatSet,
    /// Bookings that are held.
    pub held: &'a HashSet<Uuid>,
    /// Visitors who booked before the line's first life, and how many seats.
    pub visitors: &'a [(VisitorId, u32)],
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
    /// Who may not come any more.
    pub banned: &'a [VisitorId],
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
    /// Bytes of the stream that no journal has yet.
    pub unjournaled: u64,
    /// Whether Redis lost the line, and its places are being brought back.
    pub restoring: bool,
}
