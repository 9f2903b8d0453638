//! Stub until the server is merged.

use std::future::Future;
use std::net::SocketAddr;

use crate::settings::ServeSettings;
use crate::shutdown;

/// The server.
#[derive(Debug)]
pub struct App {
    public: SocketAddr,
    admin: SocketAddr,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Bad or dangerous settings.
    #[error("{0}")]
    Settings(String),
    /// A server that it needs cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl App {
    /// Starts it.
    pub async fn start(settings: &ServeSettings) -> Result<App, StartError> {
        Ok(App { public: settings.http.listen, admin: settings.admin.admin_listen })
    }

    /// Where visitors connect.
    pub fn public_addr(&self) -> SocketAddr {
        self.public
    }

    /// Where the operator connects.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Runs until `stop`, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> shutdown::Report {
        stop.await;
        shutdown::Report::default()
    }
}
