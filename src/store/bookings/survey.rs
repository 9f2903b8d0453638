//! All that PostgreSQL has of a sale's bookings at one moment, for whoever wants to prove something of it.

use super::Bookings;
use crate::store::errors::StoreError;
use jiff::Timestamp;
use uuid::Uuid;
use wire::domain::booking::BookingStatus;

/// A booking with the grant that it spent.
#[derive(Clone, Debug)]
pub struct Sold {
    /// Its id.
    pub booking: Uuid,
    /// The grant.
    pub grant: Uuid,
    /// Whose.
    pub visitor: String,
    /// Its seats.
    pub seats: Vec<String>,
    /// How it stands.
    pub status: BookingStatus,
    /// When it was made.
    pub created_at: Timestamp,
}

/// All that PostgreSQL has of a sale's bookings at one moment.
#[derive(Clone, Debug)]
pub struct BookingsSurvey {
    /// That moment, by PostgreSQL's clock.
    pub at: Timestamp,
    /// All bookings but void rows.
    pub bookings: Vec<Sold>,
    /// The taken seats, and by which booking.
    pub seats: Vec<(String, Uuid)>,
}

impl Bookings {
    /// All bookings and taken seats, as they are now.
    ///
    /// # Errors
    /// PostgreSQL is away, or holds what this program did not write.
    pub async fn survey(&self) -> Result<BookingsSurvey, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let at = tx.query_one("SELECT now()", &[]).await?.get(0);
        let query = "SELECT id, grant_id, visitor_id, seats, status, created_at FROM bookings \
                     WHERE sale_id = $1 AND status <> 'void'";
        let mut bookings = Vec::new();
        for row in tx.query(query, &[&self.sale.as_str()]).await? {
            let status: &str = row.get("status");
            bookings.push(Sold {
                booking: row.get("id"),
                grant: row.get("grant_id"),
                visitor: row.get("visitor_id"),
                seats: row.get("seats"),
                created_at: row.get("created_at"),
                status: BookingStatus::parse(status)
                    .ok_or_else(|| StoreError::Corrupt(format!("booking: {status}")))?,
            });
        }
        let query = "SELECT seat_id, booking_id FROM booked_seats WHERE sale_id = $1";
        let seats = tx.query(query, &[&self.sale.as_str()]).await?;
        tx.commit().await?;
        Ok(BookingsSurvey { at, bookings, seats: seats.iter().map(|row| (row.get(0), row.get(1))).collect() })
    }
}
