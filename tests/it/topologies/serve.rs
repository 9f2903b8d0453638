//! A server on nodes of its own.

use crate::world::{Server, World};
use std::sync::atomic::{AtomicU32, Ordering};
use waitroom::store::postgres::connect::postgres_single;

/// A server on this Redis, with a database of its own: instances open every sale that they find.
pub async fn serve(url: &str, others: &[(&str, &str)]) -> Server {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let world = World::shared();
    let name = format!("topology{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let postgres = world.postgres.url();
    postgres_single(&postgres)
        .await
        .unwrap()
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let postgres = postgres.replace("/waitroom?", &format!("/{name}?"));
    let all = [&[("redis_url", url), ("postgres_url", &postgres)], others].concat();
    Server::start_with(world, &all).await
}
