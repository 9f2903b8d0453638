//! Joins that come in while a call to Redis runs go together in the next one, in their order of arrival.

use super::{Room, settle};
use crate::{
    limits::JOINS_MAX,
    metrics,
    shutdown::Stage,
    store::{
        errors::StoreError,
        line::{Join, JoinAnswer, JoinReply},
    },
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A join and who waits for its answer.
pub(super) struct Request {
    pub join: Join,
    pub reply: oneshot::Sender<Result<JoinAnswer, StoreError>>,
}

/// Serves joins until the room is gone.
pub(super) async fn run(room: Arc<Room>, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(JOINS_MAX);
    while requests.recv_many(&mut batch, JOINS_MAX).await > 0 {
        // A draining server draws no places: another instance does.
        if room.stage() >= Stage::Leaving {
            batch
                .drain(..)
                .for_each(|request| answer(request, Err(StoreError::Timeout("a draining server"))));
            continue;
        }
        let joins: Vec<Join> = batch.iter().map(|request| request.join.clone()).collect();
        match join_all(&room, &joins).await {
            Ok(reply) => {
                metrics::joins(room.id.as_str(), reply.drawn);
                for (i, request) in batch.drain(..).enumerate() {
                    answer(request, Ok(reply.answer(i)));
                }
            }
            Err(error) => {
                tracing::warn!(sale = %room.id, "{} joins failed: {error}", batch.len());
                batch.drain(..).for_each(|request| answer(request, Err(StoreError::Timeout("Redis"))));
            }
        }
    }
}

async fn join_all(room: &Room, joins: &[Join]) -> Result<JoinReply, StoreError> {
    match room.line.join(joins).await {
        // Redis was emptied: the sale starts a new life there.
        Err(error) if error.is_missing_line() => {
            settle::install(room).await?;
            room.line.join(joins).await
        }
        result => result,
    }
}

fn answer(request: Request, result: Result<JoinAnswer, StoreError>) {
    // Who has gone meanwhile keeps his place and finds it when he returns.
    let _ = request.reply.send(result);
}
