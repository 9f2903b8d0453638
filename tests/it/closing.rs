//! Sales are closed when their test is over: all servers of a world serve each sale of it, and those of the last tests would have
//! hundreds.

use crate::world::WORLD;
use std::{cell::RefCell, thread};
use tokio::runtime;
use tokio_postgres::NoTls;

#[derive(Default)]
struct Sales(RefCell<Vec<String>>);

thread_local!(static SALES: Sales = Sales::default());

/// A test has a thread of its own, and ends with it.
pub fn after_this_test(sale: &str) {
    SALES.with(|sales| sales.0.borrow_mut().push(sale.to_owned()));
}

impl Drop for Sales {
    fn drop(&mut self) {
        let (sales, Some(world)) = (self.0.take(), WORLD.get()) else { return };
        let close = async move {
            let (client, connection) = tokio_postgres::connect(&world.postgres.url(), NoTls).await?;
            tokio::spawn(connection);
            // One at a time, so that nobody who has one of them and wants another waits for us.
            let close = "UPDATE sales SET phase = 'closed', version = version + 1 WHERE id = $1";
            for sale in &sales {
                client.execute(close, &[sale]).await?;
            }
            Ok::<_, tokio_postgres::Error>(())
        };
        let runtime = || runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // A thread that ends can wait for nothing itself. Tests may have taken PostgreSQL away.
        let _ = thread::spawn(move || runtime().block_on(close)).join();
    }
}
