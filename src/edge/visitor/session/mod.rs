//! One socket's conversation, as an explicit state machine. One task, which owns the state: what the room has to tell
//! comes through the socket's lane, what the visitor says through the wire.

mod hears;
mod says;

use super::{
    frames::{Frames, Gone, Incoming},
    standing::{self, LiveGrant},
    who::{self, Proofs, Who},
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
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::time::sleep;
use wire::{
    domain::{
        booking::Booking,
        ids::{GrantKey, Seq, VisitorId},
        line::{Position, Stranger},
        refusal::Refusal,
    },
    protocol::{
        client::ClientMessage,
        close::{self, ErrorCode},
        server::{ErrorMessage, ServerMessage},
    },
};

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
    edge: Arc<Edge>,
    room: Arc<Room>,
    socket: Arc<Socket>,
    frames: Frames,
    visitor: VisitorId,
    /// Where he comes from, if nothing but that is known of him.
    stranger: Option<Stranger>,
    /// Until when his identity is good, in Unix seconds; nothing for who has none.
    until: Option<i64>,
    state: State,
    /// News from entries up to this one are in what was already said.
    since: Position,
    /// A redeem under way; meanwhile the visitor's next words wait.
    redeeming: Option<Redeeming>,
    /// The sale has closed; said as soon as no redeem is under way.
    closing: bool,
    /// The server leaves; so as soon as no redeem is under way.
    restarting: bool,
    /// Version of the seat map that was sent last.
    map_version: u64,
}

/// Holds the conversation from the upgrade to the end.
pub async fn run(
    edge: Arc<Edge>,
    room: Arc<Room>,
    mut frames: Frames,
    socket: Arc<Socket>,
    caller: Caller,
    cookie: Option<String>,
) {
    let (who, again) = match first_message(&edge, &room, &mut frames, cookie).await {
        Ok(first) => first,
        Err(end) => return finish(frames, end).await,
    };
    let stranger = who.stranger(&edge, caller);
    if let Err(error) = standing::may_draw(&edge, &room, &who, stranger) {
        return finish(frames, error.into()).await;
    }
    let visitor = who.visitor.clone();
    let id = socket.id;
    let mut session = Session {
        edge: edge.clone(),
        room: room.clone(),
        socket,
        frames,
        visitor: visitor.clone(),
        stranger,
        until: who.until,
        state: State::Idle,
        since: Position::default(),
        redeeming: None,
        closing: false,
        restarting: false,
        map_version: 0,
    };
    room.sockets.attach(&visitor, session.socket.clone());
    let end = match session.join(who, again).await {
        Ok(()) => session.talk().await,
        Err(end) => end,
    };
    room.detach(&visitor, id);
    finish(session.frames, end).await;
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

async fn finish(mut frames: Frames, end: End) {
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
    /// The conversation after the first join.
    async fn talk(&mut self) -> End {
        let socket = self.socket.clone();
        loop {
            if self.closing && self.redeeming.is_none() {
                return error(ErrorCode::SaleClosed, "the sale is closed");
            }
            if self.restarting && self.redeeming.is_none() {
                return RESTART;
            }
            let step = tokio::select! {
                biased;
                redeemed = async { match &mut self.redeeming { Some(r) => r.await, None => std::future::pending().await } } => {
                    self.redeeming = None;
                    self.redeemed(redeemed).await
                }
                next = socket.next() => match next {
                    None => Err(End::Gone),
                    Some(Next::Rank(update)) => self.rank(update).await,
                    Some(Next::News(position, news)) => self.news(position, news).await,
                },
                incoming = self.frames.receive(), if self.redeeming.is_none() => self.heard(incoming).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), End> {
        Ok(self.frames.send(&message).await?)
    }
}
