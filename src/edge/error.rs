//! Errors over HTTP: `{"code","message","retry"}`, with what to do in words.

use super::rarely::Rarely;
use crate::{
    metrics::{self, Refused},
    room::errors::RoomError,
};
use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use wire::{
    domain::work::Work,
    protocol::{close::ErrorCode, server::ErrorMessage},
};

/// When to come again, where nothing better is known.
const AFTER: Duration = Duration::from_secs(10);
const REALM: &str = "Bearer realm=\"waitroom\"";

/// A request that was not served.
#[derive(Clone, Debug)]
pub struct HttpError {
    /// The status.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people: what to do.
    pub message: String,
    /// Whether another try can succeed.
    pub retry: bool,
    /// Headers that belong to the status.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Work that is to be done first.
    proof: Option<Work>,
    /// When a full network may draw places again.
    after_ms: Option<u64>,
}

impl HttpError {
    /// Of that status and code; not worth another try.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry: false,
            headers: Vec::new(),
            proof: None,
            after_ms: None,
        }
    }

    /// With a header.
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// There is no such sale.
    pub fn unknown_sale() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_sale", "there is no such sale; GET /v1/sales lists them")
    }

    /// The sale is over.
    pub fn sale_closed() -> Self {
        Self::new(StatusCode::GONE, "sale_closed", "the sale is closed")
    }

    /// A page of another host.
    pub fn foreign_origin() -> Self {
        let message = "pages of this origin may not speak for visitors here; see the setting allowed_origins";
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", message)
    }

    /// No good proof of who the visitor is.
    pub fn identity(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "identity_invalid", message)
            .header(header::WWW_AUTHENTICATE, REALM)
    }

    /// More than may be; there may be more in so long.
    pub fn too_many(message: impl Into<String>, after: Duration) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
        error.retry = true;
        // Whoever comes when he is told to must not be too early.
        let seconds = after.as_millis().div_ceil(1000).max(1);
        error
            .headers
            .push((header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX))));
        error
    }

    /// A store that is needed does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self { retry: true, ..error }.header(header::RETRY_AFTER, "2")
    }

    /// The same, of what is on record all the same: `kept` says so first.
    pub fn although(self, kept: String) -> Self {
        if self.status != StatusCode::SERVICE_UNAVAILABLE {
            return self;
        }
        Self { message: format!("{kept} as soon as this is over: {}", self.message), ..self }
    }

    /// The same, and the same request would not succeed.
    pub fn not_again(self) -> Self {
        Self { retry: false, ..self }
    }

    /// The body or a parameter is not as it must be.
    pub fn bad_message(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_message", message)
    }

    /// A value is out of its range; the message begins with its field's name.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }
}

/// One error for all who waited for the same answer.
pub fn shared(error: Arc<HttpError>) -> HttpError {
    Arc::unwrap_or_clone(error)
}

/// What a visitor hears when the line cannot be asked. The cause is logged: he can do nothing about it.
pub fn unavailable(error: RoomError) -> ErrorMessage {
    tracing::debug!("a visitor was not served: {error}");
    if let RoomError::NetworkFull { again } = error {
        metrics::visitor_refused(Refused::AddressPlaces);
        let again_ms = u64::try_from(again.as_millis()).unwrap_or(u64::MAX);
        let minutes = again_ms.div_ceil(60_000);
        let message = format!(
            "as many have joined from your network as may in ten minutes; it goes on in {minutes} min, or at once with an identity \
             of the shop"
        );
        return ErrorMessage { after_ms: Some(again_ms), ..ErrorMessage::new(ErrorCode::TooMany, message) };
    }
    let message = match error {
        RoomError::Overloaded => {
            "everyone comes at once; a place that you have is kept, come back in a moment"
        }
        RoomError::JournalBehind => "no new places just now: what has happened must be put on record first",
        RoomError::Store(_) | RoomError::Ended | RoomError::NetworkFull { .. } => {
            "the line cannot be reached just now; a place that you have is kept, come back in a moment"
        }
    };
    ErrorMessage::new(ErrorCode::Unavailable, message)
}

impl From<RoomError> for HttpError {
    fn from(error: RoomError) -> Self {
        static FAILED: Rarely = Rarely::new();
        if let Some(so_far) = FAILED.happens() {
            tracing::warn!(so_far, "a request was not served: {error}");
        }
        Self::unavailable(match (&error, error.store()) {
            (RoomError::Overloaded, _) => "everyone comes at once; try again in a moment".to_owned(),
            (RoomError::JournalBehind, _) => {
                "what has happened must be put on record first; try again in a moment".to_owned()
            }
            (_, Some(store)) => format!("{store} cannot be used just now; try again"),
            _ => "this server cannot serve the sale just now; try again".to_owned(),
        })
    }
}

impl From<ErrorMessage> for HttpError {
    fn from(error: ErrorMessage) -> Self {
        use ErrorCode::*;
        match error.code {
            IdentityInvalid => Self::identity(error.message),
            SaleClosed => Self::sale_closed(),
            LimitReached => Self::new(StatusCode::FORBIDDEN, "limit_reached", error.message),
            Removed => Self::new(StatusCode::FORBIDDEN, "removed", error.message),
            Unavailable => Self::unavailable(error.message),
            TooMany => {
                let after = error.after_ms.map_or(AFTER, Duration::from_millis);
                Self { after_ms: error.after_ms, ..Self::too_many(error.message, after) }
            }
            ProofNeeded => {
                let needed = Self::new(StatusCode::UNAUTHORIZED, "proof_needed", error.message);
                let needed = needed.header(header::WWW_AUTHENTICATE, REALM);
                Self { retry: true, proof: error.proof, ..needed }
            }
            BadMessage | JoinTimeout | Replaced => Self::bad_message(error.message),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.code, "message": self.message, "retry": self.retry });
        if let Some(proof) = self.proof {
            body["proof"] = json!(proof);
        }
        if let Some(after_ms) = self.after_ms {
            body["after_ms"] = json!(after_ms);
        }
        let mut response = (self.status, Json(body)).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_when_he_is_told_to_is_not_too_early() {
        for (after_ms, told) in [(0, "1"), (1_000, "1"), (7_001, "8"), (7_900, "8")] {
            let response = HttpError::too_many("", Duration::from_millis(after_ms)).into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], told);
        }
    }
}
