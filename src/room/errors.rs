//! Why a room did not do what it was asked. That a visitor may not do something is no error but an answer.

use crate::store::errors::{Store, StoreError};
use std::{sync::Arc, time::Duration};

/// A question that was not answered. One error may be for all who asked together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RoomError {
    /// Those who came before take all the time there is.
    #[error("more ask at once than can be answered")]
    Overloaded,
    /// What happened is not on record yet, and nothing that can wait is added to it.
    #[error("the journal is behind")]
    JournalBehind,
    /// As many places were drawn from the visitor's network as may be.
    #[error("too many places were drawn from one network")]
    NetworkFull {
        /// When it may draw again.
        again: Duration,
    },
    /// A store did not do its part.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Who was to answer has ended: a bug.
    #[error("a task of the room has ended")]
    Ended,
}

impl RoomError {
    /// The name of the store that could not be used, if it was one.
    pub fn store(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.store().map(Store::name),
            _ => None,
        }
    }
}

impl From<StoreError> for RoomError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
