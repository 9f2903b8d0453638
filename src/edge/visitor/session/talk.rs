//! Where a conversation stands, and what news mean for it: said here once, for a session and a parked socket alike.

use super::{End, error};
use crate::{
    edge::{
        Edge,
        networks::Seat,
        visitor::standing::{self, LiveGrant},
    },
    room::{
        Room,
        rooms::Connection,
        sockets::{News, RankUpdate},
    },
};
use std::{sync::Arc, time::Instant};
use uuid::Uuid;
use wire::{
    domain::{
        ids::{Seq, VisitorId},
        line::{Position, Stranger},
        phase::Phase,
        place::LapseReason,
    },
    protocol::{close::ErrorCode, server::ServerMessage},
};

/// Where the conversation stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// No place is live.
    Idle,
    /// In the line, or served ahead of it.
    Waiting(Seq),
    /// It is the visitor's turn.
    Granted(LiveGrant),
    /// Booked.
    Booked,
}

/// What a socket has taken of what there is for all: one of the instance's, one of its network's.
pub type Held = (Connection, Seat);

/// A conversation, whoever carries it.
pub(super) struct Talk {
    pub edge: Arc<Edge>,
    pub room: Arc<Room>,
    pub visitor: VisitorId,
    /// Where he comes from, if nothing but that is known of him.
    pub stranger: Option<Stranger>,
    /// Until when his identity is good, in Unix seconds; nothing for who has none.
    pub until: Option<i64>,
    pub state: State,
    /// News from entries up to this one are in what was already said.
    pub since: Position,
    /// Version of the seat map that was sent last.
    pub map_version: u64,
    /// Until the conversation is over.
    pub _held: Held,
}

/// What is to be done about news.
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// It is asked whether anyone is there.
    Ping,
    /// It is said.
    Say(ServerMessage),
    /// More than that.
    Do(Deed),
}

/// What takes a session.
pub(super) enum Deed {
    /// The conversation ends.
    End(End),
    /// The server leaves; it ends as soon as no redeem is under way.
    Restart,
    /// The sale has closed.
    Close,
    /// The turn has come, at that time in Redis' ms.
    Grant(LiveGrant, i64),
    /// The place or grant has ended.
    Lapse(LapseReason),
    /// An older socket of the visitor has booked for him.
    Booked,
    /// What became of a booking is told.
    Booking(Uuid),
    /// The changes of the seat map are shown.
    Seats(Arc<str>, Instant),
    /// The line is asked how he stands.
    Recheck,
}

impl Talk {
    /// What these news mean now.
    pub fn weigh(&self, position: Position, news: &News) -> Step {
        let is_old = position != Position::default() && position <= self.since;
        let deed = match (news, self.state) {
            (News::Ping, _) => return Step::Ping,
            (News::Replaced | News::Removed, _) if is_old => return Step::Nothing,
            (News::Removed, _) => Deed::End(standing::removed().into()),
            (News::Replaced, _) => {
                let message = "you have opened the line elsewhere; this socket is closed";
                Deed::End(error(ErrorCode::Replaced, message))
            }
            // The whole map that was sent last has what came before it.
            (News::SeatsChanged(version, frame, since), State::Granted(_)) if *version > self.map_version => {
                Deed::Seats(frame.clone(), *since)
            }
            (News::Notice(text), _) => return Step::Say(ServerMessage::Notice { text: text.to_string() }),
            (News::Outage(on), _) => return Step::Say(ServerMessage::Outage { on: *on }),
            (News::Phase(Phase::Closed), _) => Deed::Close,
            (News::Phase(phase), _) => return Step::Say(self.phase(*phase)),
            (News::Reconnect(after_ms), _) => {
                return Step::Say(ServerMessage::Reconnect { after_ms: *after_ms });
            }
            (News::Restart, _) => Deed::Restart,
            (News::BookingChanged(id), _) => Deed::Booking(*id),
            (News::Recheck, State::Waiting(_) | State::Granted(_)) | (News::Shifted, State::Granted(_)) => {
                Deed::Recheck
            }
            (News::Granted { grant, owned, deadline_ms, claim_ms, at_ms }, State::Waiting(seq))
                if !is_old && seq == grant.seq =>
            {
                let claim_ms = Some(*claim_ms);
                let grant = LiveGrant { key: *grant, owned: *owned, deadline_ms: *deadline_ms, claim_ms };
                Deed::Grant(grant, *at_ms)
            }
            (News::Lapsed(seq, reason), State::Waiting(own)) if !is_old && *seq == own => {
                Deed::Lapse(*reason)
            }
            (News::Lapsed(seq, reason), State::Granted(grant)) if !is_old && *seq == grant.key.seq => {
                Deed::Lapse(*reason)
            }
            (News::Booked(seq), State::Granted(grant)) if !is_old && *seq == grant.key.seq => Deed::Booked,
            _ => return Step::Nothing,
        };
        Step::Do(deed)
    }

    /// How a rank is said, if he waits.
    pub fn rank(&self, update: RankUpdate) -> Option<ServerMessage> {
        let (rank, total, eta_s) = (update.rank, update.total, update.eta_s);
        matches!(self.state, State::Waiting(_)).then_some(ServerMessage::Rank { rank, total, eta_s })
    }

    /// How a phase is said.
    pub fn phase(&self, phase: Phase) -> ServerMessage {
        ServerMessage::Phase { phase, opens_at: self.room.line.settings().opens_at }
    }
}
