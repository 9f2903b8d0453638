//! What a client may say. Unknown types and fields are refused, so that a mistake is heard of at once.

use serde::{Deserialize, Serialize};

/// Longest `request` id, in characters.
pub const REQUEST_CHARS_MAX: usize = 64;
/// Most seats that one redeem may name, before the sale's own limit is looked at.
const SEATS_NAMED_MAX: usize = 1000;

/// One message from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Come into the line, or back to one's place.
    Join {
        /// The shop's identity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
        /// The place token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
        /// After a booking: draw a new place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<bool>,
        /// The work that was asked for, done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// Give the place up.
    Leave {},
    /// Ask for the seat map and its changes.
    Seats {},
    /// Spend the booking token.
    Redeem(RedeemMessage),
    /// Is anyone there?
    Ping {},
}

/// A try to spend the booking token; also the body of the HTTP call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedeemMessage {
    /// The client's own id of this try.
    pub request: String,
    /// The booking token.
    pub token: String,
    /// These seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<String>>,
    /// Or the best ones free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestMessage>,
}

/// Seats chosen by the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestMessage {
    /// How many.
    pub count: u32,
    /// Only of this category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Only next to each other.
    #[serde(default)]
    pub together: bool,
}

/// Whether JSON text is an object at all: serde would also read a struct from an array of its fields.
pub fn object(json: &[u8]) -> Result<(), String> {
    match json.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err("one JSON object is expected".into()),
    }
}

impl ClientMessage {
    /// The message in a text frame, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        object(text.as_bytes())?;
        let message: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if let Self::Redeem(redeem) = &message {
            redeem.check()?;
        }
        Ok(message)
    }
}

impl RedeemMessage {
    /// What no type can say of a redeem.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=REQUEST_CHARS_MAX).contains(&self.request.chars().count()) {
            return Err(format!("request must have 1 to {REQUEST_CHARS_MAX} characters"));
        }
        match (&self.seats, &self.best) {
            (Some(seats), None) if seats.is_empty() => Err("seats must name at least one seat".into()),
            (Some(seats), None) if seats.len() > SEATS_NAMED_MAX => Err("seats names too many seats".into()),
            (None, Some(best)) if best.count == 0 => Err("best.count must be at least 1".into()),
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err("a redeem has either seats or best".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_s_messages_are_understood() {
        let join = ClientMessage::parse(r#"{"type":"join"}"#);
        assert_eq!(join, Ok(ClientMessage::Join { identity: None, place: None, again: None, proof: None }));
        for good in [
            r#"{"type":"join","identity":"a.b.c","place":"k1.x.y","again":true,"proof":"k1.x.y.7"}"#,
            r#"{"type":"leave"}"#,
            r#"{"type":"seats"}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"redeem","request":"r1","token":"t","seats":["A"]}"#,
            r#"{"type":"redeem","request":"r1","token":"t","best":{"count":2,"category":"VIP","together":true}}"#,
            r#"{"type":"redeem","request":"r1","token":"t","best":{"count":2}}"#,
        ] {
            assert!(ClientMessage::parse(good).is_ok(), "{good}: {:?}", ClientMessage::parse(good));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!(r#"{{"type":"redeem","request":"{}","token":"t","seats":["A"]}}"#, "x".repeat(65));
        for bad in [
            "",
            "[]",
            "null",
            "{",
            r#"{"type":"hello"}"#,
            r#"{"type":7}"#,
            "{}",
            r#""join""#,
            r#"["join"]"#,
            r#"["redeem",{"request":"r1","token":"t","seats":["A"]}]"#,
            r#"{"type":"join","extra":1}"#,
            r#"{"type":"leave","extra":1}"#,
            r#"{"type":"ping","x":0}"#,
            r#"{"type":"seats","x":0}"#,
            r#"{"type":"join","again":"yes"}"#,
            r#"{"type":"join","place":7}"#,
            r#"{"type":"redeem","request":"r1","token":"t"}"#,
            r#"{"type":"redeem","token":"t","seats":["A"]}"#,
            r#"{"type":"redeem","request":"r1","seats":["A"]}"#,
            r#"{"type":"redeem","request":"","token":"t","seats":["A"]}"#,
            r#"{"type":"redeem","request":"r1","token":"t","seats":[]}"#,
            r#"{"type":"redeem","request":"r1","token":"t","seats":["A"],"best":{"count":1}}"#,
            r#"{"type":"redeem","request":"r1","token":"t","best":{"count":0}}"#,
            r#"{"type":"redeem","request":"r1","token":"t","best":{"count":-1}}"#,
            r#"{"type":"redeem","request":"r1","token":"t","best":{"count":1,"row":3}}"#,
            r#"{"type":"redeem","request":"r1","token":"t","seats":["A"],"x":1}"#,
            &long,
        ] {
            assert!(ClientMessage::parse(bad).is_err(), "{bad}");
        }
    }
}
