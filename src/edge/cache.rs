//! Answers of the public API that many ask for and that may be a second old: bounded in time and memory.

use super::error::HttpError;
use crate::{
    domain::ids::SaleId,
    limits::{CACHE_BYTES_MAX, CACHE_TTL},
};
use bytes::Bytes;
use moka::future::Cache as Moka;
use std::{future::Future, sync::Arc, time::Instant};

/// A cached answer.
#[derive(Clone)]
pub struct Cached {
    /// The body.
    pub body: Bytes,
    /// When it was made.
    pub made: Instant,
    /// A tag of its content.
    pub etag: String,
}

/// Cached answers by path, and ids that are no sale's.
pub struct Cache {
    answers: Moka<String, Cached>,
    plans: Moka<SaleId, Cached>,
    unknown: Moka<SaleId, ()>,
}

impl Default for Cache {
    fn default() -> Self {
        let weigh = |cached: &Cached| u32::try_from(cached.body.len() + 256).unwrap_or(u32::MAX);
        Self {
            answers: Moka::builder()
                .time_to_live(CACHE_TTL)
                .weigher(move |_, cached| weigh(cached))
                .max_capacity(CACHE_BYTES_MAX)
                .build(),
            // A sale's plan never changes.
            plans: Moka::builder()
                .weigher(move |_, cached| weigh(cached))
                .max_capacity(CACHE_BYTES_MAX)
                .build(),
            unknown: Moka::builder().time_to_live(CACHE_TTL).max_capacity(10_000).build(),
        }
    }
}

impl Cache {
    /// The answer under `key`, made at most once a second however many ask.
    pub async fn answer<F>(&self, key: String, make: F) -> Result<Cached, HttpError>
    where
        F: Future<Output = Result<Bytes, HttpError>>,
    {
        let make =
            async { make.await.map(|body| Cached { body, made: Instant::now(), etag: String::new() }) };
        self.answers.try_get_with(key, make).await.map_err(copy)
    }

    /// The plan of a sale, read once as long as memory allows.
    pub async fn plan<F>(&self, sale: SaleId, make: F) -> Result<Cached, HttpError>
    where
        F: Future<Output = Result<Cached, HttpError>>,
    {
        self.plans.try_get_with(sale, make).await.map_err(copy)
    }

    /// Whether nobody knew this sale a moment ago.
    pub async fn is_unknown(&self, sale: &SaleId) -> bool {
        self.unknown.contains_key(sale)
    }

    /// Nobody knows this sale.
    pub async fn unknown(&self, sale: SaleId) {
        self.unknown.insert(sale, ()).await;
    }

    /// The sale exists now.
    pub async fn known(&self, sale: &SaleId) {
        self.unknown.invalidate(sale).await;
        self.answers.invalidate_all();
    }
}

/// One error is shared by all who waited for the same answer.
fn copy(error: Arc<HttpError>) -> HttpError {
    let copy = HttpError::new(error.status, error.code, error.message.clone());
    if error.retry { HttpError::unavailable(error.message.clone()) } else { copy }
}
