//! Answers that are read row by row: bounded in number, and each whole or broken off.

use crate::{edge::error::HttpError, room::errors::RoomError};
use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Exports read at once, each on a connection of its own.
const EXPORTS_MAX: usize = 8;
static EXPORTS: Semaphore = Semaphore::const_new(EXPORTS_MAX);

/// The right to read one.
pub struct Slot(SemaphorePermit<'static>);

/// One of the exports that may be read at once.
pub fn slot() -> Result<Slot, HttpError> {
    let busy = format!("{EXPORTS_MAX} exports are being read already; try again when one is done");
    EXPORTS.try_acquire().map(Slot).map_err(|_| HttpError::unavailable(busy))
}

/// The rows behind a head, as they are read.
pub fn streamed<T: 'static>(
    slot: Slot,
    kind: &'static str,
    head: String,
    rows: impl Stream<Item = Result<T, RoomError>> + Send + 'static,
    line: impl Fn(T) -> String + Send + 'static,
) -> Response {
    let head = futures_util::stream::iter([Ok(Bytes::from(head))]);
    let rows = rows.map(move |row| {
        let _slot = &slot.0;
        // An error cuts the answer off, so that a part of it is never taken for the whole.
        let row = row.inspect_err(|error| tracing::warn!("an export broke off: {error}"))?;
        Ok::<_, RoomError>(Bytes::from(line(row)))
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(head.chain(rows))).into_response()
}
