//! One socket's conversation, as an explicit state machine. One task, which owns the state: what the room has to tell
//! comes through the socket's lane, what the visitor says through the wire. While there is nothing but a line to be waited in, the
//! socket is parked, and has no task.

mod hears;
mod parked;
mod says;
mod talk;

use super::{
    frames::{Frames, Gone, Incoming},
    standing,
    who::{self, Known, Proofs, Who},
};
use crate::{
    edge::{Edge, caller::Caller, error::unavailable},
    metrics,
    room::{
        Room,
        errors::RoomError,
        sockets::{Next, Socket},
    },
};
use parked::ParkedTalk;
use std::{
    future::{Future, pending, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
pub use talk::Held;
use talk::{State, Talk};
use tokio::time::sleep;

use wire::{
    domain::{booking::Booking, ids::GrantKey, line::Position, refusal::Refusal},
    protocol::{
        client::ClientMessage,
        close::{self, ErrorCode},
        server::{ErrorMessage, ServerMessage},
    },
};

/// Why a conversation ends.
enum End {
    /// The connection is over.
    Gone,
    /// Said with an `error`, then closed.
    Error(ErrorMessage),
    /// The peer has said goodbye.
    Closed,
    /// Closed with that code and reason.
    Close(u16, &'static str),
}

/// Whose socket came as the server leaves may join within this; then he is told when to come back like everyone else.
const LAST_JOIN: Duration = Duration::from_secs(1);

/// The server restarts.
const RESTART: End = End::Close(close::RESTART, "the server restarts");

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

impl From<RoomError> for End {
    fn from(error: RoomError) -> Self {
        Self::Error(unavailable(error))
    }
}

fn error(code: ErrorCode, message: impl Into<String>) -> End {
    End::Error(ErrorMessage::new(code, message))
}

/// A redeem's request, its grant if the token was good, and what came of it.
type Redeemed = (String, Option<GrantKey>, Result<Booking, Refusal>);
type Redeeming = Pin<Box<dyn Future<Output = Redeemed> + Send>>;

struct Session {
    talk: Talk,
    socket: Arc<Socket>,
    frames: Frames,
    /// A redeem under way; meanwhile the visitor's next words wait.
    redeeming: Option<Redeeming>,
    /// The sale has closed; said as soon as no redeem is under way.
    closing: bool,
    /// The server leaves; so as soon as no redeem is under way.
    restarting: bool,
    /// Is not parked before something comes.
    stays: bool,
}

/// Holds the conversation from the upgrade on.
pub async fn run(
    edge: Arc<Edge>,
    room: Arc<Room>,
    mut frames: Frames,
    socket: Arc<Socket>,
    caller: Caller,
    cookie: Option<String>,
    held: Held,
) {
    let (who, again) = match first_message(&edge, &room, &mut frames, cookie).await {
        Ok(first) => first,
        Err(end) => return finish(frames, end).await,
    };
    // A socket each would else be an allowance each, and whoever is known may draw as often as he connects.
    if who.known != Known::New && edge.allow(&who.visitor, 1).is_err() {
        let message = "you connect more often than anyone needs to; wait a moment";
        return finish(frames, error(ErrorCode::TooMany, message)).await;
    }
    let stranger = who.stranger(&edge, caller);
    if let Err(error) = standing::may_draw(&edge, &room, &who, stranger) {
        return finish(frames, error.into()).await;
    }
    let (visitor, until) = (who.visitor.clone(), who.until);
    let (state, since, map_version) = (State::Idle, Position::default(), 0);
    let talk = Talk { edge, room, visitor, stranger, until, state, since, map_version, _held: held };
    let mut session = Session::new(talk, socket, frames);
    session.talk.room.sockets.attach(&session.talk.visitor, session.socket.clone());
    let began = session.join(who, again).await;
    session.go_on(began).await;
}

/// The first message must be a `join`, and soon.
async fn first_message(
    edge: &Edge,
    room: &Room,
    frames: &mut Frames,
    cookie: Option<String>,
) -> Result<(Who, bool), End> {
    let first = async {
        loop {
            match frames.receive().await {
                Incoming::Control => {}
                other => return other,
            }
        }
    };
    let incoming = tokio::select! {
        incoming = first => incoming,
        () = sleep(edge.bounds.join_within) => {
            let message = "no join came within 10 s; connect again and join at once";
            return Err(error(ErrorCode::JoinTimeout, message));
        }
        () = edge.rooms.leaving(LAST_JOIN) => return Err(RESTART),
    };
    match parse(incoming)? {
        ClientMessage::Join { identity, place, again, proof } => {
            let who = who::identify_or_new(edge, room, &Proofs { identity, place, cookie, proof })?;
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
        Incoming::Flood => {
            metrics::sockets_dropped("flood", 1);
            tracing::debug!("a socket sends more frames than it may");
            Err(error(ErrorCode::TooMany, "too many frames: at most 20 a second, pings and fragments too"))
        }
        Incoming::Broken(code, reason) => Err(End::Close(code, reason)),
        Incoming::Closed => Err(End::Closed),
        Incoming::Gone => Err(End::Gone),
    }
}

fn out_of_turn(message: &str) -> End {
    error(ErrorCode::BadMessage, message)
}

/// What the peer did wrong, if that is why it ends.
fn fault(end: &End) -> Option<&'static str> {
    match end {
        End::Error(error) if error.code == ErrorCode::BadMessage => Some("bad_message"),
        End::Error(error) if error.code == ErrorCode::JoinTimeout => Some("no_join"),
        End::Close(close::TOO_BIG, _) => Some("too_big"),
        End::Close(code, _) if *code != close::RESTART => Some("protocol"),
        _ => None,
    }
}

async fn finish(mut frames: Frames, end: End) {
    if let Some(reason) = fault(&end) {
        metrics::sockets_dropped(reason, 1);
    }
    match end {
        End::Gone => {}
        End::Closed => frames.answer_close().await,
        End::Close(code, reason) => frames.close(code, reason).await,
        End::Error(error) => {
            let code = error.code.close_code();
            if frames.send(&ServerMessage::Error(error)).await.is_ok() {
                frames.close(code, "").await;
            }
        }
    }
}

impl Session {
    fn new(talk: Talk, socket: Arc<Socket>, frames: Frames) -> Self {
        Self { talk, socket, frames, redeeming: None, closing: false, restarting: false, stays: false }
    }

    /// Goes on where it was parked.
    async fn wake(parked: ParkedTalk, socket: Arc<Socket>) {
        let ParkedTalk { talk, resting, .. } = parked;
        let is_behind = !resting.unwritten.is_empty();
        let Ok(frames) = Frames::go_on(resting, socket.clone(), &talk.edge.bounds).await else {
            return talk.room.detach(&talk.visitor, &socket);
        };
        let mut session = Self::new(talk, socket, frames);
        let began = if is_behind { session.frames.flush().await.map_err(End::from) } else { Ok(()) };
        // What woke it is yet to be seen here.
        session.stays = true;
        session.go_on(began).await;
    }

    /// Goes on until the end, or until there is nothing but to wait.
    async fn go_on(mut self, began: Result<(), End>) {
        let end = match began {
            Ok(()) => self.talk().await,
            Err(end) => Some(end),
        };
        let Some(end) = end else { return self.park() };
        self.talk.room.detach(&self.talk.visitor, &self.socket);
        finish(self.frames, end).await;
    }

    /// The conversation after the first join; it ends with nothing if there is nothing but to wait.
    async fn talk(&mut self) -> Option<End> {
        let socket = self.socket.clone();
        loop {
            if self.closing && self.redeeming.is_none() {
                return Some(error(ErrorCode::SaleClosed, "the sale is closed"));
            }
            if self.restarting && self.redeeming.is_none() {
                return Some(RESTART);
            }
            let may_park = !std::mem::take(&mut self.stays) && self.may_park();
            let step = tokio::select! {
                biased;
                redeemed = async { match &mut self.redeeming { Some(r) => r.await, None => pending().await } } => {
                    self.redeeming = None;
                    self.redeemed(redeemed).await
                }
                next = socket.next() => match next {
                    None => Err(End::Gone),
                    Some(Next::Rank(update)) => self.rank(update).await,
                    Some(Next::News(position, news)) => self.news(position, news).await,
                },
                incoming = self.frames.receive(), if self.redeeming.is_none() => self.heard(incoming).await,
                // Nothing of all that is there.
                () = ready(()), if may_park => {
                    if self.frames.may_rest() && socket.may_park() {
                        return None;
                    }
                    self.stays = true;
                    Ok(())
                }
            };
            if let Err(end) = step {
                return Some(end);
            }
        }
    }

    fn park(self) {
        let Self { talk, socket, frames, .. } = self;
        let Some(resting) = frames.rest() else { return talk.room.detach(&talk.visitor, &socket) };
        let lot = talk.edge.lot.clone();
        if let Err(parked) = socket.park(Box::new(ParkedTalk { talk, resting, is_over: false }), &lot) {
            parked.wake(socket);
        }
    }

    fn may_park(&self) -> bool {
        let waits = self.redeeming.is_none() && !matches!(self.talk.state, State::Granted(_));
        waits && self.talk.edge.bounds.parks
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), End> {
        Ok(self.frames.send(&message).await?)
    }
}
