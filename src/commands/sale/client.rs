//! The admin API over HTTP.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use ureq::{Agent, Body, http::Response};

use crate::commands::{Exit, ExitError};
use crate::settings::AdminSettings;

/// What the server says about a request that it does not do.
const ERROR_BYTES_MAX: u64 = 1 << 20;

/// A client of one server's admin API.
pub(in crate::commands) struct Client {
    agent: Agent,
    base: String,
    bearer: String,
}

impl Client {
    /// A client of the server whose settings these are.
    pub(in crate::commands) fn new(settings: &AdminSettings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            // A plan of 30 MiB takes a while; the answer's body has no limit, as all bookings are streamed.
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // The admin listener is plain HTTP nearby: a proxy of the environment would only be in the way.
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{}", reachable(settings.admin_listen)),
            bearer: format!("Bearer {}", settings.admin_token.expose()),
        }
    }

    /// GET, the answer as JSON.
    pub(in crate::commands) fn get(&self, path: &str) -> Result<Value, ExitError> {
        self.json(self.agent.get(self.url(path)).header("Authorization", &self.bearer).call())
    }

    /// GET, but nothing where the server knows no such thing.
    pub(in crate::commands) fn find(&self, path: &str) -> Result<Option<Value>, ExitError> {
        let answer = self.agent.get(self.url(path)).header("Authorization", &self.bearer).call();
        match answer {
            Ok(response) if response.status().as_u16() == 404 => Ok(None),
            answer => self.json(answer).map(Some),
        }
    }

    /// GET, the answer as a stream of the media type.
    pub(super) fn stream(&self, path: &str, accept: &str) -> Result<impl Read + use<>, ExitError> {
        let request = self.agent.get(self.url(path)).header("Authorization", &self.bearer);
        let response = self.accepted(request.header("Accept", accept).call())?;
        Ok(response.into_body().into_reader())
    }

    /// POST.
    pub(in crate::commands) fn post(&self, path: &str, body: &Value) -> Result<Value, ExitError> {
        self.json(self.agent.post(self.url(path)).header("Authorization", &self.bearer).send_json(body))
    }

    /// PATCH.
    pub(in crate::commands) fn patch(&self, path: &str, body: &Value) -> Result<Value, ExitError> {
        self.json(self.agent.patch(self.url(path)).header("Authorization", &self.bearer).send_json(body))
    }

    /// DELETE.
    pub(super) fn delete(&self, path: &str) -> Result<Value, ExitError> {
        self.json(self.agent.delete(self.url(path)).header("Authorization", &self.bearer).call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn json(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, ExitError> {
        let mut text = String::new();
        let read = self.accepted(answer)?.into_body().into_reader().read_to_string(&mut text);
        read.map_err(|error| self.away(&error))?;
        serde_json::from_str(&text).map_err(|_| {
            let message =
                format!("{} does not answer as a waitroom's admin API; is admin_listen right?", self.base);
            ExitError::new(Exit::Unreachable, message)
        })
    }

    /// The response if it is a yes.
    fn accepted(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ExitError> {
        let response = answer.map_err(|error| self.away(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut body = String::new();
        // What cannot be read is told by the status alone.
        let _ = response.into_body().into_reader().take(ERROR_BYTES_MAX).read_to_string(&mut body);
        let message = explain(&body).unwrap_or_else(|| status.to_string());
        Err(match status.as_u16() {
            403 => ExitError::new(Exit::Settings, format!("admin_token: {message}")),
            401 => ExitError::new(
                Exit::Settings,
                format!("admin_token: {} refuses it; give the server's own", self.base),
            ),
            400..500 => ExitError::new(Exit::Usage, format!("refused: {message}")),
            _ => ExitError::new(Exit::Unreachable, format!("{} cannot serve: {message}", self.base)),
        })
    }

    fn away(&self, error: &dyn std::fmt::Display) -> ExitError {
        let message = format!(
            "{} cannot be reached: {error}; is the server running and admin_listen right?",
            self.base
        );
        ExitError::new(Exit::Unreachable, message)
    }
}

/// The server's message, with its code.
fn explain(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    let message = value.get("message")?.as_str()?;
    Some(match value.get("code").and_then(Value::as_str) {
        Some(code) => format!("{message} ({code})"),
        None => message.to_owned(),
    })
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    encoded.collect()
}

/// Where to reach a listener: one that listens everywhere is also here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_also_here() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }

    #[test]
    fn a_visitor_is_one_segment_whatever_his_name() {
        assert_eq!(segment("kim@example.org"), "kim%40example.org");
        assert_eq!(segment("a/b?ü"), "a%2Fb%3F%C3%BC");
    }

    #[test]
    fn the_servers_own_words() {
        assert_eq!(
            explain(r#"{"code":"exists","message":"is there","retry":false}"#).unwrap(),
            "is there (exists)"
        );
        assert_eq!(explain("<html>"), None);
    }
}
