//! What the visitor says, and what it does.

use super::{End, Redeemed, Session, State, error, out_of_turn, parse};
use crate::{
    edge::visitor::{
        frames::Incoming,
        standing::{self, LiveGrant},
        who::{self, Known, Proofs, Who},
    },
    room::sockets::Watch,
};
use wire::{
    domain::{
        line::{Left, LineAnswer},
        phase::Phase,
        place::{LapseReason, Stage},
        refusal::Refusal,
    },
    protocol::{
        client::{ClientMessage, RedeemMessage},
        close::ErrorCode,
        server::{Refused, ServerMessage},
    },
};

impl Session {
    pub(super) async fn heard(&mut self, incoming: Incoming) -> Result<(), End> {
        if matches!(incoming, Incoming::Control) {
            return Ok(());
        }
        match parse(incoming)? {
            ClientMessage::Ping {} => self.send(ServerMessage::Pong {}).await,
            ClientMessage::Leave {} => {
                self.frames.charge(self.talk.edge.bounds.costly_message);
                self.leave().await
            }
            ClientMessage::Seats {} => self.seats().await,
            ClientMessage::Redeem(message) => {
                self.redeem(message);
                Ok(())
            }
            ClientMessage::Join { identity, place, again, proof: _ } => {
                self.frames.charge(self.talk.edge.bounds.costly_message);
                let proofs = Proofs { identity, place, cookie: None, proof: None };
                self.join_again(proofs, again == Some(true)).await
            }
        }
    }

    /// A later join: allowed while no place is live.
    pub(super) async fn join_again(&mut self, proofs: Proofs, again: bool) -> Result<(), End> {
        if matches!(self.talk.state, State::Waiting(_) | State::Granted(_)) {
            return Err(out_of_turn("you have a live place already; leave it before you join again"));
        }
        let who = who::identify(&self.talk.edge, &self.talk.room.sale, &proofs)?;
        if who.as_ref().is_some_and(|who| who.visitor != self.talk.visitor) {
            return Err(error(
                ErrorCode::IdentityInvalid,
                "that is another visitor's; open another socket for him",
            ));
        }
        if who.as_ref().is_some_and(|who| who.known == Known::Vouched) {
            self.talk.stranger = None;
        }
        // An ended place never comes back: its token only says who this is.
        self.talk.until = who.and_then(|who| who.until).or(self.talk.until);
        let who = self.who();
        self.join(who, again).await
    }

    /// Of what a socket has told: where he comes from says whether anything vouches for him.
    fn who(&self) -> Who {
        let known = if self.talk.stranger.is_none() { Known::Vouched } else { Known::Before };
        Who { visitor: self.talk.visitor.clone(), token_seq: None, known, until: self.talk.until }
    }

    pub(super) async fn join(&mut self, who: Who, again: bool) -> Result<(), End> {
        let (stranger, connection) = (self.talk.stranger, Some(self.socket.id));
        let answer =
            standing::join(&self.talk.edge, &self.talk.room, &who, stranger, connection, 0, again).await?;
        self.joined(answer).await
    }

    /// Says how the visitor stands, and takes up the state that goes with it.
    pub(super) async fn joined(&mut self, answer: LineAnswer) -> Result<(), End> {
        let joined = standing::joined(&self.talk.edge, &self.talk.room, &self.who(), &answer);
        let (Some(joined), Some(place)) = (joined, answer.standing) else {
            return Err(error(ErrorCode::SaleClosed, "the sale is closed"));
        };
        self.talk.since = answer.position;
        // Joined between the close and hearing of it.
        self.closing |= answer.phase == Phase::Closed;
        let watch = Watch { seq: place.seq, since: answer.position, shown: place.rank };
        let watch = (place.stage == Stage::Waiting).then_some(watch);
        self.talk.room.sockets.watch_rank(&self.socket, watch);
        self.send(ServerMessage::Joined(joined)).await?;
        match (place.stage, standing::live_grant(&answer)) {
            (Stage::Booked, _) => {
                self.talk.state = State::Booked;
                let bookings = self.bookings().await?;
                for booking in standing::to_tell(bookings) {
                    self.send_booking(&booking, None).await?;
                }
            }
            (_, Some(grant)) => self.grant(grant).await?,
            _ => self.talk.state = State::Waiting(place.seq),
        }
        let notice = self.talk.room.line.state().notice;
        if !notice.is_empty() {
            self.send(ServerMessage::Notice { text: notice }).await?;
        }
        // As all were told: whoever is attached by now hears of it when that changes.
        if self.talk.room.sockets.outage() {
            self.send(ServerMessage::Outage { on: true }).await?;
        }
        Ok(())
    }

    pub(super) async fn leave(&mut self) -> Result<(), End> {
        if !matches!(self.talk.state, State::Waiting(_) | State::Granted(_)) {
            return Ok(());
        }
        match self.talk.room.leave(&self.talk.visitor).await? {
            Left::Ended => self.lapsed(LapseReason::Left).await,
            Left::Busy | Left::Unsettled(_) => self.refuse("leave", &Refusal::Busy).await,
            Left::Nothing => Ok(()),
        }
    }

    pub(super) async fn seats(&mut self) -> Result<(), End> {
        let State::Granted(grant) = self.talk.state else { return self.refuse_seats().await };
        if grant.claim_ms.is_some() {
            if !self.talk.room.line.claim(&self.talk.visitor).await? {
                return self.refuse_seats().await;
            }
            self.talk.state = State::Granted(LiveGrant { claim_ms: None, ..grant });
        }
        let map = self.talk.room.seats.watch(&self.talk.room.sockets, &self.socket);
        self.talk.map_version = map.version;
        self.send(ServerMessage::SeatMap(map)).await
    }

    pub(super) async fn refuse_seats(&mut self) -> Result<(), End> {
        self.refuse("seats", &Refusal::NotGranted).await
    }

    /// What was asked for, in place of a request's id.
    async fn refuse(&mut self, asked: &str, refusal: &Refusal) -> Result<(), End> {
        let refused = Refused::new(asked.to_owned(), refusal, &self.talk.room.sale.plan);
        self.send(ServerMessage::Refused(refused)).await
    }

    pub(super) fn redeem(&mut self, message: RedeemMessage) {
        let (edge, room, visitor) =
            (self.talk.edge.clone(), self.talk.room.clone(), self.talk.visitor.clone());
        self.redeeming = Some(Box::pin(async move {
            let grant = standing::grant_of(&edge, &room, &visitor, &message.token);
            let result = standing::redeem(&room, &visitor, grant, &message).await;
            (message.request, grant, result)
        }));
    }

    pub(super) async fn redeemed(&mut self, (request, spent, result): Redeemed) -> Result<(), End> {
        match result {
            Ok(booking) => {
                // An old token gets its old booking: that is not the end of a new turn.
                if matches!(self.talk.state, State::Granted(grant) if Some(grant.key) == spent) {
                    self.booked();
                }
                self.send_booking(&booking, Some(request)).await
            }
            Err(refusal) => self.refuse(&request, &refusal).await,
        }
    }
}
