//! One socket's conversation, as an explicit state machine. One task, which owns the state: what the room has to tell
//! comes through the socket's lane, what the visitor says through the wire.

use super::{
    Edge,
    standing::{self, LiveGrant},
    who::{self, Proofs, Who},
    wire::{Gone, Incoming, Wire},
};
use crate::{
    domain::{
        booking::Booking,
        ids::{Seq, VisitorId},
        phase::Phase,
        place::{LapseReason, Stage},
        refusal::Refusal,
    },
    limits::{JOIN_TIMEOUT, MESSAGES_BURST, MESSAGES_PER_S},
    metrics,
    protocol::{
        client::{ClientMessage, RedeemMessage},
        close::{self, ErrorCode},
        server::{BookingMessage, ErrorMessage, Refused, ServerMessage},
    },
    room::{
        Room,
        hub::{News, Next, Socket, Watch},
    },
    store::{
        events::Position,
        line::{Join, JoinAnswer, JoinMode},
    },
};
use axum::extract::ws::WebSocket;
use jiff::Timestamp;
use std::{future::Future, pin::Pin, sync::Arc, time::Instant};
use tokio::time::timeout;

/// Where the conversation stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// No place is live.
    Idle,
    /// In the line, or served ahead of it.
    Waiting(Seq),
    /// It is the visitor's turn.
    Granted(LiveGrant),
    /// Booked.
    Booked,
}

/// Why a conversation ends.
enum End {
    /// The connection is over.
    Gone,
    /// Said with an `error`, then closed.
    Error(ErrorMessage),
    /// A frame above the limit.
    TooBig,
    /// The server restarts.
    Restart,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<ErrorMessage> for End {
    fn from(error: ErrorMessage) -> Self {
        Self::Error(error)
    }
}

fn error(code: ErrorCode, message: impl Into<String>) -> End {
    End::Error(ErrorMessage { code, message: message.into(), retry: code.retry() })
}

type Verdict = (String, Result<Booking, Refusal>);
type Redeeming = Pin<Box<dyn Future<Output = Verdict> + Send>>;

struct Session {
    edge: Arc<Edge>,
    room: Arc<Room>,
    socket: Arc<Socket>,
    wire: Wire,
    visitor: VisitorId,
    state: State,
    /// News from entries up to this one are in what was already said.
    since: Position,
    /// A redeem under way; meanwhile the visitor's next words wait.
    redeeming: Option<Redeeming>,
    /// The sale has closed; said as soon as no redeem is under way.
    closing: bool,
    allowance: Allowance,
}

/// Holds the conversation from the upgrade to the end.
pub async fn run(
    edge: Arc<Edge>,
    room: Arc<Room>,
    websocket: WebSocket,
    socket: Arc<Socket>,
    cookie: Option<String>,
) {
    let mut wire = Wire::new(websocket, socket.clone());
    let (who, again) = match first_message(&edge, &room, &mut wire, cookie).await {
        Ok(first) => first,
        Err(end) => return finish(wire, end).await,
    };
    let visitor = who.visitor.clone();
    let id = socket.id;
    let mut session = Session {
        edge,
        room: room.clone(),
        socket,
        wire,
        visitor: visitor.clone(),
        state: State::Idle,
        since: Position::default(),
        redeeming: None,
        closing: false,
        allowance: Allowance::new(),
    };
    room.hub.attach(&visitor, session.socket.clone());
    let end = match session.join(who, again).await {
        Ok(()) => session.talk().await,
        Err(end) => end,
    };
    room.detach(&visitor, id);
    finish(session.wire, end).await;
}

/// The first message must be a `join`, and soon.
async fn first_message(
    edge: &Edge,
    room: &Room,
    wire: &mut Wire,
    cookie: Option<String>,
) -> Result<(Who, bool), End> {
    let first = async {
        loop {
            match wire.receive().await {
                Incoming::Control => {}
                other => return other,
            }
        }
    };
    let Ok(incoming) = timeout(JOIN_TIMEOUT, first).await else {
        return Err(error(
            ErrorCode::JoinTimeout,
            "no join came within 10 s; connect again and join at once",
        ));
    };
    match parse(incoming)? {
        ClientMessage::Join { identity, place, again } => {
            let who = who::identify_or_new(edge, room, &Proofs { identity, place, cookie })?;
            Ok((who, again == Some(true)))
        }
        _ => Err(out_of_turn("the first message must be a join")),
    }
}

fn parse(incoming: Incoming) -> Result<ClientMessage, End> {
    match incoming {
        Incoming::Text(text) => ClientMessage::parse(&text)
            .map_err(|why| error(ErrorCode::BadMessage, format!("not understood: {why}"))),
        Incoming::Binary | Incoming::Control => {
            Err(out_of_turn("messages are text frames with one JSON object"))
        }
        Incoming::TooBig => Err(End::TooBig),
        Incoming::Gone => Err(End::Gone),
    }
}

fn out_of_turn(message: &str) -> End {
    error(ErrorCode::BadMessage, message)
}

async fn finish(mut wire: Wire, end: End) {
    match end {
        End::Gone => {}
        End::TooBig => wire.close_too_big().await,
        End::Restart => wire.close(close::RESTART, "the server restarts").await,
        End::Error(error) => {
            let code = error.code.close_code();
            if wire.send(&ServerMessage::Error(error)).await.is_ok() {
                wire.close(code, "").await;
            }
        }
    }
}

impl Session {
    /// The conversation after the first join.
    async fn talk(&mut self) -> End {
        let socket = self.socket.clone();
        loop {
            if self.closing && self.redeeming.is_none() {
                return error(ErrorCode::SaleClosed, "the sale is closed");
            }
            let step = tokio::select! {
                biased;
                verdict = async { match &mut self.redeeming { Some(r) => r.await, None => std::future::pending().await } } => {
                    self.redeeming = None;
                    self.redeemed(verdict).await
                }
                next = socket.next() => match next {
                    None => Err(End::Gone),
                    Some(Next::Rank(update)) => self.rank(update).await,
                    Some(Next::News(position, news)) => self.news(position, news).await,
                },
                incoming = self.wire.receive(), if self.redeeming.is_none() => self.heard(incoming).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), End> {
        Ok(self.wire.send(&message).await?)
    }

    // ---- what the visitor says ----

    async fn heard(&mut self, incoming: Incoming) -> Result<(), End> {
        if !self.allowance.take() {
            return Err(error(ErrorCode::TooMany, "too many messages: at most 20 a second"));
        }
        if matches!(incoming, Incoming::Control) {
            return Ok(());
        }
        match parse(incoming)? {
            ClientMessage::Ping {} => self.send(ServerMessage::Pong {}).await,
            ClientMessage::Leave {} => self.leave().await,
            ClientMessage::Seats {} => self.seats().await,
            ClientMessage::Redeem(message) => {
                self.redeem(message);
                Ok(())
            }
            ClientMessage::Join { identity, place, again } => {
                self.join_again(Proofs { identity, place, cookie: None }, again == Some(true)).await
            }
        }
    }

    /// A later join: allowed while no place is live.
    async fn join_again(&mut self, proofs: Proofs, again: bool) -> Result<(), End> {
        if matches!(self.state, State::Waiting(_) | State::Granted(_)) {
            return Err(out_of_turn("you have a live place already; leave it before you join again"));
        }
        let who = who::identify(&self.edge, &self.room, &proofs)?;
        if who.as_ref().is_some_and(|who| who.visitor != self.visitor) {
            return Err(error(
                ErrorCode::IdentityInvalid,
                "that is another visitor's; open another socket for him",
            ));
        }
        // An ended place never comes back: its token only says who this is.
        let who = Who { visitor: self.visitor.clone(), token_seq: None };
        self.join(who, again).await
    }

    async fn join(&mut self, who: Who, again: bool) -> Result<(), End> {
        let answer = standing::join(&self.room, &who, Some(self.socket.id), 0, again).await?;
        self.joined(answer).await
    }

    /// Says how the visitor stands, and takes up the state that goes with it.
    async fn joined(&mut self, answer: JoinAnswer) -> Result<(), End> {
        let joined = standing::joined(&self.edge, &self.room, &self.visitor, &answer);
        let (Some(joined), Some(place)) = (joined, answer.standing) else {
            return Err(error(ErrorCode::SaleClosed, "the sale is closed"));
        };
        self.since = answer.position;
        let watch = Watch { seq: place.seq, since: answer.position, shown: place.rank };
        self.socket.watch((place.stage == Stage::Waiting).then_some(watch));
        self.send(ServerMessage::Joined(joined)).await?;
        match (place.stage, standing::live_grant(&answer)) {
            (Stage::Booked, _) => {
                self.state = State::Booked;
                let bookings = self.bookings().await?;
                for booking in standing::to_tell(bookings) {
                    self.send_booking(&booking, None).await?;
                }
            }
            (_, Some(grant)) => self.grant(grant).await?,
            _ => self.state = State::Waiting(place.seq),
        }
        let notice = self.room.state().notice;
        if notice.is_empty() { Ok(()) } else { self.send(ServerMessage::Notice { text: notice }).await }
    }

    async fn leave(&mut self) -> Result<(), End> {
        if !matches!(self.state, State::Waiting(_) | State::Granted(_)) {
            return Ok(());
        }
        if self.room.leave(&self.visitor).await.map_err(|_| standing::unavailable())? {
            return self.lapsed(LapseReason::Left).await;
        }
        Ok(())
    }

    async fn seats(&mut self) -> Result<(), End> {
        let State::Granted(grant) = self.state else { return self.refuse_seats().await };
        if grant.claim_ms.is_some() {
            if !self.room.claim(&self.visitor).await.map_err(|_| standing::unavailable())? {
                return self.refuse_seats().await;
            }
            self.state = State::Granted(LiveGrant { claim_ms: None, ..grant });
        }
        let map = self.room.seat_map(Some(&self.socket));
        self.send(ServerMessage::SeatMap(map)).await
    }

    async fn refuse_seats(&mut self) -> Result<(), End> {
        let refused = Refused::new("seats".into(), &Refusal::NotGranted, &self.room.plan);
        self.send(ServerMessage::Refused(refused)).await
    }

    fn redeem(&mut self, message: RedeemMessage) {
        let (edge, room, visitor) = (self.edge.clone(), self.room.clone(), self.visitor.clone());
        self.redeeming = Some(Box::pin(async move {
            let result = standing::redeem(&edge, &room, &visitor, &message).await;
            (message.request, result)
        }));
    }

    async fn redeemed(&mut self, (request, result): Verdict) -> Result<(), End> {
        match result {
            Ok(booking) => {
                if let State::Granted(_) = self.state {
                    self.booked();
                }
                self.send_booking(&booking, Some(request)).await
            }
            Err(refusal) => {
                let refused = Refused::new(request, &refusal, &self.room.plan);
                self.send(ServerMessage::Refused(refused)).await
            }
        }
    }

    // ---- what the room tells ----

    async fn rank(&mut self, update: crate::room::hub::RankUpdate) -> Result<(), End> {
        if !matches!(self.state, State::Waiting(_)) {
            return Ok(());
        }
        let (rank, total, eta_s) = (update.rank, update.total, update.eta_s);
        self.send(ServerMessage::Rank { rank, total, eta_s }).await?;
        metrics::rank_push(update.at.elapsed());
        Ok(())
    }

    async fn news(&mut self, position: Position, news: News) -> Result<(), End> {
        let is_old = position != Position::default() && position <= self.since;
        match (news, self.state) {
            (News::Ping, _) => Ok(self.wire.ping().await?),
            (News::Replaced, _) if is_old => Ok(()),
            (News::Replaced, _) => {
                Err(error(ErrorCode::Replaced, "you have opened the line elsewhere; this socket is closed"))
            }
            (News::SeatsChanged(frame), State::Granted(_)) => Ok(self.wire.send_text(&frame).await?),
            (News::SeatsChanged(_), _) => Ok(()),
            (News::Notice(text), _) => self.send(ServerMessage::Notice { text: text.to_string() }).await,
            (News::Phase(phase), _) => self.phase(phase).await,
            (News::Reconnect(after_ms), _) => self.send(ServerMessage::Reconnect { after_ms }).await,
            (News::Restart, _) => Err(End::Restart),
            (News::BookingChanged(id), _) => self.booking_changed(id).await,
            (News::Recheck | News::Shifted, _) => self.recheck().await,
            (News::Granted { grant, owned, deadline_ms, claim_ms, at_ms }, State::Waiting(seq))
                if !is_old && seq == grant.seq =>
            {
                self.grant(LiveGrant { key: grant, owned, deadline_ms, claim_ms: Some(claim_ms) }).await?;
                metrics::grant_delivery(self.room.since(at_ms));
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

    async fn grant(&mut self, grant: LiveGrant) -> Result<(), End> {
        self.socket.watch(None);
        self.state = State::Granted(grant);
        let granted = standing::granted(&self.edge, &self.room, &self.visitor, &grant);
        self.send(ServerMessage::Granted(granted)).await
    }

    async fn lapsed(&mut self, reason: LapseReason) -> Result<(), End> {
        self.state = State::Idle;
        self.socket.watch(None);
        self.socket.watch_seats(false);
        self.send(ServerMessage::Lapsed { reason }).await
    }

    fn booked(&mut self) {
        self.state = State::Booked;
        self.socket.watch_seats(false);
    }

    async fn phase(&mut self, phase: Phase) -> Result<(), End> {
        if phase == Phase::Closed {
            self.closing = true;
            if matches!(self.state, State::Granted(_)) && self.redeeming.is_none() {
                self.lapsed(LapseReason::Closed).await?;
            }
        }
        let opens_at = self.room.settings().opens_at;
        self.send(ServerMessage::Phase { phase, opens_at }).await
    }

    async fn booking_changed(&mut self, id: uuid::Uuid) -> Result<(), End> {
        let bookings = self.bookings().await?;
        match bookings.iter().find(|booking| booking.id == id) {
            Some(booking) => self.send_booking(booking, None).await,
            None => Ok(()),
        }
    }

    /// What was said may not be true any more: the line was lost and restored, or deadlines have moved. The place's
    /// seq is its proof.
    async fn recheck(&mut self) -> Result<(), End> {
        let seq = match self.state {
            State::Waiting(seq) => seq,
            State::Granted(grant) => grant.key.seq,
            State::Idle | State::Booked => return Ok(()),
        };
        let visitor = self.visitor.clone();
        let connection = Some(self.socket.id);
        let join = Join { visitor, connection, poll_ms: 0, mode: JoinMode::Join, token_seq: Some(seq) };
        let answer = self.room.join(join).await.map_err(|_| standing::unavailable())?;
        self.joined(answer).await
    }

    async fn bookings(&mut self) -> Result<Vec<Booking>, End> {
        Ok(self.room.bookings_of(&self.visitor).await.map_err(|_| standing::unavailable())?)
    }

    async fn send_booking(&mut self, booking: &Booking, request: Option<String>) -> Result<(), End> {
        let told = BookingMessage::new(booking, &self.room.plan, request, Timestamp::now());
        self.send(ServerMessage::Booking(told)).await
    }
}

/// How many messages the peer may still send: a bucket that fills by the second.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new() -> Self {
        Self { left: MESSAGES_BURST, at: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.at).as_secs_f64() * MESSAGES_PER_S;
        (self.left, self.at) = ((self.left + refill).min(MESSAGES_BURST) - 1.0, now);
        self.left >= 0.0
    }
}
