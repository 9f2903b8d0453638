//! What the server says.

use super::close::ErrorCode;
pub use crate::domain::place::LapseReason;
use crate::domain::{
    booking::{Booking, BookingStatus},
    phase::Phase,
    plan::{Plan, SeatIndex},
    refusal::Refusal,
    work::Work,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The place is durable.
    Joined(Joined),
    /// How many are ahead now.
    Rank {
        /// Places ahead.
        rank: u64,
        /// Places in the line.
        total: u64,
        /// `[low, high]` seconds.
        eta_s: Option<[u64; 2]>,
    },
    /// The turn has come.
    Granted(Granted),
    /// The place or grant has ended.
    Lapsed {
        /// Why.
        reason: LapseReason,
    },
    /// All seats.
    SeatMap(SeatMap),
    /// Seats that changed since the last version.
    SeatsChanged {
        /// One more than the last one on this socket.
        version: u64,
        /// Now taken.
        taken: Vec<SeatIndex>,
        /// Now free.
        freed: Vec<SeatIndex>,
    },
    /// Committed.
    Booking(BookingMessage),
    /// An expected no.
    Refused(Refused),
    /// The sale's phase changed.
    Phase {
        /// The new one.
        phase: Phase,
        /// When the sale opens by itself.
        opens_at: Option<Timestamp>,
    },
    /// The operator's words; empty clears.
    Notice {
        /// Plain text.
        text: String,
    },
    /// Whether nothing can be booked, and nobody is admitted, because a store does not answer.
    Outage {
        /// From now on, or no longer.
        on: bool,
    },
    /// The server drains.
    Reconnect {
        /// When to come back, in milliseconds.
        after_ms: u64,
    },
    /// The socket is closed after this.
    Error(ErrorMessage),
    /// Someone is.
    Pong {},
}

/// One's standing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The place token; null once booked.
    pub place: Option<String>,
    /// How the place stands.
    pub state: PlaceState,
    /// Places ahead.
    pub rank: u64,
    /// Places in the line.
    pub total: u64,
    /// `[low, high]` seconds.
    pub eta_s: Option<[u64; 2]>,
    /// The sale's phase.
    pub phase: Phase,
    /// When the sale opens by itself.
    pub opens_at: Option<Timestamp>,
    /// The server's clock.
    pub now: Timestamp,
    /// The life of the line.
    pub epoch: u64,
}

/// How a place stands, as a visitor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceState {
    /// In the line.
    Waiting,
    /// It is one's turn.
    Granted,
    /// Booked.
    Booked,
}

/// The right to book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The booking token.
    pub token: String,
    /// How long it lives.
    pub expires_in_ms: u64,
    /// How soon it must be used for the first time; null when it was.
    pub claim_in_ms: Option<u64>,
    /// Seats that may be booked with it.
    pub max_seats: u32,
}

/// All seats that are not free, as a bitmap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatMap {
    /// Version of the map on this socket.
    pub version: u64,
    /// Standard base64; bit i, least significant first, is seat i in plan order.
    pub taken: String,
}

/// A booking as its visitor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookingMessage {
    /// The request that it answers, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Its id.
    pub booking: Uuid,
    /// Its seats.
    pub seats: Vec<String>,
    /// How it stands.
    pub status: BookingStatus,
    /// How long a hold still runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_expires_in_ms: Option<u64>,
    /// Whether its seats are next to each other.
    pub together: bool,
}

impl BookingMessage {
    /// The message for `booking` at `now`.
    pub fn new(booking: &Booking, plan: &Plan, request: Option<String>, now: Timestamp) -> Self {
        Self {
            request,
            booking: booking.id,
            seats: plan.ids_of(&booking.seats),
            status: booking.status,
            hold_expires_in_ms: booking.hold_expires_in_ms(now),
            together: booking.together,
        }
    }
}

/// An expected no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The request that it answers.
    pub request: String,
    /// Why.
    pub reason: String,
    /// The seats that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<String>>,
    /// Whether another try can succeed.
    pub retry: bool,
}

impl Refused {
    /// The message for `refusal`.
    pub fn new(request: String, refusal: &Refusal, plan: &Plan) -> Self {
        let seats = match refusal {
            Refusal::SeatTaken(seats) => Some(plan.ids_of(seats)),
            Refusal::UnknownSeat(seats) if !seats.is_empty() => Some(seats.clone()),
            _ => None,
        };
        Self { request, reason: refusal.reason().into(), seats, retry: refusal.retry() }
    }
}

/// What went wrong; the same over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what to do.
    pub message: String,
    /// Whether to connect again.
    pub retry: bool,
    /// When another try can succeed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// The work to do first, where work is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Work>,
}

impl ErrorMessage {
    /// Of that code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: code.retry(), after_ms: None, proof: None }
    }
}

impl ServerMessage {
    /// The message as a text frame.
    pub fn to_json(&self) -> String {
        // Plain strings and numbers: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The `error` of that code.
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error(ErrorMessage::new(code, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_in_the_contract() {
        let rank = ServerMessage::Rank { rank: 0, total: 1, eta_s: Some([1, 2]) };
        assert_eq!(rank.to_json(), r#"{"type":"rank","rank":0,"total":1,"eta_s":[1,2]}"#);
        let error = ServerMessage::error(ErrorCode::BadMessage, "no").to_json();
        assert_eq!(error, r#"{"type":"error","code":"bad_message","message":"no","retry":false}"#);
        assert_eq!(ServerMessage::Pong {}.to_json(), r#"{"type":"pong"}"#);
        let joined = ServerMessage::Joined(Joined {
            place: None,
            state: PlaceState::Booked,
            rank: 0,
            total: 3,
            eta_s: None,
            phase: Phase::Open,
            opens_at: None,
            now: "2026-11-22T10:00:00Z".parse().unwrap(),
            epoch: 1,
        });
        assert_eq!(
            joined.to_json(),
            r#"{"type":"joined","place":null,"state":"booked","rank":0,"total":3,"eta_s":null,"phase":"open","opens_at":null,"now":"2026-11-22T10:00:00Z","epoch":1}"#
        );
        let refused = Refused {
            request: "r1".into(),
            reason: "seat_taken".into(),
            seats: Some(vec!["B-3-13".into()]),
            retry: true,
        };
        assert_eq!(
            ServerMessage::Refused(refused).to_json(),
            r#"{"type":"refused","request":"r1","reason":"seat_taken","seats":["B-3-13"],"retry":true}"#
        );
    }
}
