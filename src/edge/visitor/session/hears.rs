//! What the room tells, and what the visitor hears of it.

use super::{End, RESTART, Session, State, error};
use crate::{
    edge::visitor::standing::{self, LiveGrant},
    metrics,
    room::sockets::{News, RankUpdate},
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::sleep;
use wire::{
    domain::{
        booking::Booking,
        line::{Join, JoinMode, Position},
        phase::Phase,
        place::{LapseReason, Stage},
    },
    protocol::{
        close::ErrorCode,
        server::{BookingMessage, ServerMessage},
    },
};

/// How long a visitor whose place could not be looked for waits for the next try, at least.
const RECHECK_PAUSE: Duration = Duration::from_secs(2);

impl Session {
    pub(super) async fn rank(&mut self, update: RankUpdate) -> Result<(), End> {
        if !matches!(self.state, State::Waiting(_)) {
            return Ok(());
        }
        let (rank, total, eta_s) = (update.rank, update.total, update.eta_s);
        self.send(ServerMessage::Rank { rank, total, eta_s }).await?;
        metrics::rank_push(update.at.elapsed());
        Ok(())
    }

    pub(super) async fn news(&mut self, position: Position, news: News) -> Result<(), End> {
        let is_old = position != Position::default() && position <= self.since;
        match (news, self.state) {
            (News::Ping, _) => Ok(self.frames.ping().await?),
            (News::Replaced | News::Removed, _) if is_old => Ok(()),
            (News::Removed, _) => Err(standing::removed().into()),
            (News::Replaced, _) => {
                Err(error(ErrorCode::Replaced, "you have opened the line elsewhere; this socket is closed"))
            }
            // The whole map that was sent last has what came before it.
            (News::SeatsChanged(version, frame, since), State::Granted(_)) if version > self.map_version => {
                self.frames.send_text(&frame).await?;
                metrics::seat_news(since.elapsed());
                Ok(())
            }
            (News::SeatsChanged(..), _) => Ok(()),
            (News::Notice(text), _) => self.send(ServerMessage::Notice { text: text.to_string() }).await,
            (News::Phase(phase), _) => self.phase(phase).await,
            (News::Reconnect(after_ms), _) => self.send(ServerMessage::Reconnect { after_ms }).await,
            (News::Restart, _) if self.redeeming.is_some() => {
                self.restarting = true;
                Ok(())
            }
            (News::Restart, _) => Err(RESTART),
            (News::BookingChanged(id), _) => self.booking_changed(id).await,
            (News::Recheck, _) | (News::Shifted, State::Granted(_)) => self.recheck().await,
            (News::Shifted, _) => Ok(()),
            (News::Granted { grant, owned, deadline_ms, claim_ms, at_ms }, State::Waiting(seq))
                if !is_old && seq == grant.seq =>
            {
                self.grant(LiveGrant { key: grant, owned, deadline_ms, claim_ms: Some(claim_ms) }).await?;
                metrics::grant_delivery(self.room.line.since(at_ms));
                Ok(())
            }
            (News::Lapsed(seq, reason), State::Waiting(own)) if !is_old && seq == own => {
                self.lapsed(reason).await
            }
            (News::Lapsed(seq, reason), State::Granted(grant)) if !is_old && seq == grant.key.seq => {
                self.lapsed(reason).await
            }
            // Booked by an older socket of the visitor, whose redeem was under way.
            (News::Booked(seq), State::Granted(grant))
                if !is_old && seq == grant.key.seq && self.redeeming.is_none() =>
            {
                self.booked();
                let bookings = self.bookings().await?;
                match bookings.last() {
                    Some(booking) => self.send_booking(booking, None).await,
                    None => Ok(()),
                }
            }
            (News::Granted { .. } | News::Lapsed(..) | News::Booked(_), _) => Ok(()),
        }
    }

    pub(super) async fn grant(&mut self, grant: LiveGrant) -> Result<(), End> {
        self.socket.watch(None);
        self.state = State::Granted(grant);
        let granted = standing::granted(&self.edge, &self.room, &self.visitor, &grant);
        self.send(ServerMessage::Granted(granted)).await
    }

    pub(super) async fn lapsed(&mut self, reason: LapseReason) -> Result<(), End> {
        self.state = State::Idle;
        self.socket.watch(None);
        self.room.sockets.unwatch_seats(self.socket.id);
        self.send(ServerMessage::Lapsed { reason }).await
    }

    pub(super) fn booked(&mut self) {
        self.state = State::Booked;
        self.room.sockets.unwatch_seats(self.socket.id);
    }

    pub(super) async fn phase(&mut self, phase: Phase) -> Result<(), End> {
        if phase == Phase::Closed {
            self.closing = true;
            if matches!(self.state, State::Granted(_)) && self.redeeming.is_none() {
                self.lapsed(LapseReason::Closed).await?;
            }
        }
        let opens_at = self.room.line.settings().opens_at;
        self.send(ServerMessage::Phase { phase, opens_at }).await
    }

    pub(super) async fn booking_changed(&mut self, id: uuid::Uuid) -> Result<(), End> {
        let bookings = self.bookings().await?;
        match bookings.iter().find(|booking| booking.id == id) {
            Some(booking) => self.send_booking(booking, None).await,
            None => Ok(()),
        }
    }

    /// What was said may not be true any more: the line was lost and restored, or deadlines have moved. The place's
    /// seq is its proof.
    pub(super) async fn recheck(&mut self) -> Result<(), End> {
        let seq = match self.state {
            State::Waiting(seq) => seq,
            State::Granted(grant) => grant.key.seq,
            State::Idle | State::Booked => return Ok(()),
        };
        let visitor = self.visitor.clone();
        let connection = Some(self.socket.id);
        let (mode, token_seq) = (JoinMode::Recheck, Some(seq));
        let join = Join { visitor, connection, poll_ms: 0, mode, token_seq, stranger: None };
        let answer = match self.room.line.join(join).await {
            Ok(answer) => answer,
            Err(error) => {
                // Nothing that was said is known to be wrong: nobody is sent away for it.
                tracing::debug!("a place is looked for later: {error}");
                self.recheck_later();
                return Ok(());
            }
        };
        if answer.removed {
            return Err(standing::removed().into());
        }
        if answer.standing.is_some_and(|place| place.stage == Stage::Ended) {
            // It ended while this instance did not listen.
            return self.lapsed(LapseReason::Expired).await;
        }
        self.joined(answer).await
    }

    fn recheck_later(&self) {
        let socket = self.socket.clone();
        // Not all at the same moment.
        let pause = RECHECK_PAUSE + RECHECK_PAUSE.mul_f64((socket.id % 64) as f64 / 64.0);
        tokio::spawn(async move {
            sleep(pause).await;
            socket.tell(Position::default(), News::Recheck);
        });
    }

    pub(super) async fn bookings(&mut self) -> Result<Vec<Booking>, End> {
        Ok(self.room.seats.bookings_of(&self.visitor).await?)
    }

    pub(super) async fn send_booking(
        &mut self,
        booking: &Booking,
        request: Option<String>,
    ) -> Result<(), End> {
        let told = BookingMessage::new(booking, &self.room.sale.plan, request, Timestamp::now());
        self.send(ServerMessage::Booking(told)).await
    }
}
