//! What is done about one visitor in PostgreSQL: he is removed from a sale, perhaps for good, or forgotten everywhere.

use super::{
    audit::Note,
    errors::StoreError,
    postgres::{Pool, unsigned},
};
use serde_json::{Value, json};
use wire::domain::{
    audit::Actor,
    ids::{SaleId, VisitorId},
};

/// Visitors, as PostgreSQL knows them; cheap to clone.
#[derive(Clone)]
pub struct Visitors {
    pool: Pool,
}

/// What was forgotten of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Places of his in journals, which name nobody now.
    pub places: u64,
    /// Bookings of his, which keep their seats.
    pub bookings: u64,
}

impl Visitors {
    /// Over a pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Records that a visitor is removed from a sale, and whether he may come again; false if there is no such sale. What
    /// the line must know of it is a version of the sale's settings.
    pub async fn remove(
        &self,
        sale: &SaleId,
        visitor: &VisitorId,
        ban: bool,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let lock = "SELECT FROM sales WHERE id = $1 FOR UPDATE";
        if tx.query_opt(lock, &[&sale.as_str()]).await?.is_none() {
            return Ok(false);
        }
        let change = match ban {
            true => "INSERT INTO bans (sale_id, visitor_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            false => "DELETE FROM bans WHERE sale_id = $1 AND visitor_id = $2",
        };
        let changed = tx.execute(change, &[&sale.as_str(), &visitor.as_str()]).await? == 1;
        if changed {
            tx.execute("UPDATE sales SET version = version + 1 WHERE id = $1", &[&sale.as_str()]).await?;
        }
        let (from, to) = (json!({ "banned": ban != changed }), json!({ "banned": ban }));
        let note = Note::new(by, "visitor removed").sale(sale).visitor(visitor);
        note.change(from, to).write(&tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets a person in all sales: what made his places' commitments his own goes, bookings keep their seats under names
    /// that are nobody's, and what was done to him stays without him. Goes over all journals: some seconds for a million
    /// places. Safe to repeat.
    pub async fn forget(&self, visitor: &VisitorId, by: &Actor) -> Result<Forgotten, StoreError> {
        let name: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&visitor.as_str()];
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        // The same name in Redis and here, so that a restored line knows that the place has ended.
        let places =
            "UPDATE journal_places SET visitor_id = 'forgotten:' || seq, salt = '' WHERE visitor_id = $1";
        let places = tx.execute(places, &name).await?;
        // A void row, which keeps a grant from booking, is no booking.
        let bookings = "WITH renamed AS (UPDATE bookings SET visitor_id = 'forgotten:' || bookings.id FROM sales \
                        WHERE bookings.sale_id = sales.id AND visitor_id = $1 RETURNING bookings.status) \
                        SELECT count(*) FROM renamed WHERE status <> 'void'";
        let bookings = unsigned(tx.query_one(bookings, &name).await?.get(0));
        let lifted = "WITH lifted AS (DELETE FROM bans WHERE visitor_id = $1 RETURNING sale_id) \
                      UPDATE sales SET version = version + 1 FROM lifted WHERE id = lifted.sale_id";
        tx.execute(lifted, &name).await?;
        tx.execute("UPDATE audit SET visitor_id = '' WHERE visitor_id = $1", &name).await?;
        let gone = json!({ "places": places, "bookings": bookings });
        Note::new(by, "visitor forgotten").change(gone, Value::Null).write(&tx).await?;
        tx.commit().await?;
        Ok(Forgotten { places, bookings })
    }
}
