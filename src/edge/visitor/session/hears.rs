//! What the room tells, and what the visitor hears of it.

use super::{
    End, Session, State,
    talk::{Deed, Step},
};
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
    protocol::server::{BookingMessage, ServerMessage},
};

/// How long a visitor whose place could not be looked for waits for the next try, at least.
const RECHECK_PAUSE: Duration = Duration::from_secs(2);

impl Session {
    pub(super) async fn rank(&mut self, update: RankUpdate) -> Result<(), End> {
        let Some(message) = self.talk.rank(update) else { return Ok(()) };
        self.send(message).await?;
        metrics::rank_push(update.at.elapsed());
        Ok(())
    }

    pub(super) async fn news(&mut self, position: Position, news: News) -> Result<(), End> {
        match self.talk.weigh(position, &news) {
            Step::Nothing => Ok(()),
            Step::Ping => Ok(self.frames.ping().await?),
            Step::Say(message) => self.send(message).await,
            Step::Do(deed) => self.act(deed).await,
        }
    }

    async fn act(&mut self, deed: Deed) -> Result<(), End> {
        match deed {
            Deed::End(end) => Err(end),
            Deed::Restart => {
                self.restarting = true;
                Ok(())
            }
            Deed::Close => self.close().await,
            Deed::Grant(grant, at_ms) => {
                self.grant(grant).await?;
                metrics::grant_delivery(self.talk.room.line.since(at_ms));
                Ok(())
            }
            Deed::Lapse(reason) => self.lapsed(reason).await,
            // His own redeem, which is under way, answers it.
            Deed::Booked if self.redeeming.is_some() => Ok(()),
            Deed::Booked => {
                self.booked();
                let bookings = self.bookings().await?;
                match bookings.last() {
                    Some(booking) => self.send_booking(booking, None).await,
                    None => Ok(()),
                }
            }
            Deed::Booking(id) => self.booking_changed(id).await,
            Deed::Seats(frame, since) => {
                self.frames.send_text(&frame).await?;
                metrics::seat_news(since.elapsed());
                Ok(())
            }
            Deed::Recheck => self.recheck().await,
        }
    }

    pub(super) async fn grant(&mut self, grant: LiveGrant) -> Result<(), End> {
        self.socket.watch(None);
        self.talk.state = State::Granted(grant);
        let granted = standing::granted(&self.talk.edge, &self.talk.room, &self.talk.visitor, &grant);
        self.send(ServerMessage::Granted(granted)).await
    }

    pub(super) async fn lapsed(&mut self, reason: LapseReason) -> Result<(), End> {
        self.talk.state = State::Idle;
        self.socket.watch(None);
        self.talk.room.sockets.unwatch_seats(self.socket.id);
        self.send(ServerMessage::Lapsed { reason }).await
    }

    pub(super) fn booked(&mut self) {
        self.talk.state = State::Booked;
        self.talk.room.sockets.unwatch_seats(self.socket.id);
    }

    async fn close(&mut self) -> Result<(), End> {
        self.closing = true;
        if matches!(self.talk.state, State::Granted(_)) && self.redeeming.is_none() {
            self.lapsed(LapseReason::Closed).await?;
        }
        self.send(self.talk.phase(Phase::Closed)).await
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
        let seq = match self.talk.state {
            State::Waiting(seq) => seq,
            State::Granted(grant) => grant.key.seq,
            State::Idle | State::Booked => return Ok(()),
        };
        let visitor = self.talk.visitor.clone();
        let connection = Some(self.socket.id);
        let (mode, token_seq) = (JoinMode::Recheck, Some(seq));
        let join = Join { visitor, connection, poll_ms: 0, mode, token_seq, stranger: None };
        let answer = match self.talk.room.line.join(join).await {
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
        Ok(self.talk.room.seats.bookings_of(&self.talk.visitor).await?)
    }

    pub(super) async fn send_booking(
        &mut self,
        booking: &Booking,
        request: Option<String>,
    ) -> Result<(), End> {
        let told = BookingMessage::new(booking, &self.talk.room.sale.plan, request, Timestamp::now());
        self.send(ServerMessage::Booking(told)).await
    }
}
