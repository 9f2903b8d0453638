//! What the operations of all visitors amount to: places, waits, grants, ranks.

use super::{log::Spot, state::LineState};
use crate::facts::{Micros, NEVER};
use std::collections::{BTreeMap, HashMap, HashSet};
use wire::domain::{ids::Seq, place::Stage};

/// A moment that is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub at: Micros,
    pub spot: Spot,
}

/// How a place ended before its visitor's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Booked,
    Lapsed,
}

/// An end, and in which life of the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub moment: Moment,
    pub epoch: u64,
    pub how: How,
}

/// A place, as its visitor saw it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub visitor: u32,
    pub seq: Seq,
    /// The life of the line in which it was acknowledged first.
    pub epoch: u64,
    /// The earliest join that may have drawn it.
    pub drawn: Moment,
    /// Its first acknowledgement.
    pub joined: Moment,
    /// The connection of that.
    pub connection: u32,
    /// No earlier join can have drawn it: it had not been in the line unseen.
    pub fresh: bool,
    /// From when it was surely out of the line.
    pub gone: Micros,
    /// Until when it was surely in the line, never having left it.
    pub in_line_until: Micros,
    /// A grant was seen.
    pub granted: bool,
    /// Grants seen and turns missed before the visitor's eyes.
    pub turns: u8,
    pub missed: u8,
    /// Its visitor may have given it up.
    pub leave_sent: bool,
    /// Surely had its first turn before it, when it was seen last: it can miss one more unseen, and is kept.
    pub first_turn: bool,
    /// A join of its visitor was never answered while it lived.
    pub unsure: bool,
    pub end: Option<End>,
}

impl Place {
    /// Whether what became of it is not known from the history.
    pub fn open(&self) -> bool {
        !self.granted && self.end.is_none() && !self.leave_sent
    }
}

/// A span in which a place surely waited with its visitor connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub place: u32,
    pub epoch: u64,
    pub from: Micros,
    pub until: Micros,
    pub last: Spot,
}

/// A grant as it was seen first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub place: u32,
    pub epoch: u64,
    pub seen: Moment,
    /// Decided by then at the latest.
    pub decided_by: Micros,
    /// The visitor waited for it, connected.
    pub waited: bool,
    /// Its deadlines, if the message had taken no time.
    pub expires_at: Micros,
    pub claim_at: Micros,
    /// When the visitor first did, or heard, what may have ended it.
    pub ended_by: Micros,
}

/// A rank that was shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub place: u32,
    pub epoch: u64,
    pub rank: u64,
    pub moment: Moment,
    /// Known not to have been read before; nothing for a rank that came by itself.
    pub since: Option<Micros>,
    /// The place may be one that is served ahead of the line, which shows as 0.
    pub maybe_returned: bool,
}

/// What is known of a visitor.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub number: u32,
    pub id: Option<u64>,
    /// His places: a range of [`Facts::places`].
    pub places: (u32, u32),
    /// A join was never answered: it may have drawn a place.
    pub unknown_join: bool,
    /// A redeem was never answered: it may have booked.
    pub unknown_redeem: bool,
    /// A place was acknowledged whose number could not be read.
    pub unreadable: bool,
    /// Had a place or booking of this sale before the run.
    pub known_before: bool,
    /// Saw a grant.
    pub granted: bool,
}

/// A place that was given to a visitor whose other place had no end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    pub place: u32,
    pub seq: Seq,
    pub by: Moment,
}

/// A place that was there again after its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct CameBack {
    pub place: u32,
    pub end: Moment,
    pub again: Moment,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub visitors: Vec<Visitor>,
    pub places: Vec<Place>,
    pub waits: Vec<Wait>,
    pub grants: Vec<Grant>,
    pub shown: Vec<Shown>,
    pub replaced: Vec<Replaced>,
    pub came_back: Vec<CameBack>,
    /// Turns missed for the second time that were not called expired.
    pub missed_again: Vec<(u32, Moment)>,
    /// When each life of the line was seen first.
    pub epochs: BTreeMap<u64, Micros>,
}

/// How long before anyone saw the next life of a line the last one may have ended.
const EPOCH_MARGIN_US: Micros = 5_000_000;

impl Facts {
    /// Until when this life of the line surely lasted.
    pub fn epoch_end(&self, epoch: u64) -> Micros {
        let next = self.epochs.range(epoch + 1..).map(|(_, at)| *at).min();
        next.map_or(NEVER, |at| at.saturating_sub(EPOCH_MARGIN_US))
    }

    pub fn place(&self, index: u32) -> &Place {
        &self.places[index as usize]
    }

    pub fn places_of(&self, visitor: &Visitor) -> &[Place] {
        &self.places[visitor.places.0 as usize..visitor.places.1 as usize]
    }

    /// The places that were drawn in the line's present life and are in it to this day, never having left it.
    pub fn still_in_line(&self, line: &LineState) -> HashSet<usize> {
        let waiting: HashSet<(u64, Seq)> =
            line.places.iter().filter(|p| p.stage == Stage::Waiting).map(|p| (p.visitor, p.seq)).collect();
        let ids: HashMap<u32, u64> = self.visitors.iter().filter_map(|v| Some((v.number, v.id?))).collect();
        let waits = |place: &Place| {
            let id = ids.get(&place.visitor);
            place.epoch == line.epoch && id.is_some_and(|id| waiting.contains(&(*id, place.seq)))
        };
        self.places.iter().enumerate().filter(|(_, place)| waits(place)).map(|(index, _)| index).collect()
    }
}
