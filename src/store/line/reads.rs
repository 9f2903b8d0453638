//! What is read of a line without changing it.

use super::{
    Counts, Line, VisitorText, parse_phase,
    scripts::{Key, Via},
};
use crate::store::errors::StoreError;
use redis::aio::ConnectionLike;
use std::collections::HashSet;
use uuid::Uuid;
use wire::domain::{
    ids::{Seq, VisitorId},
    line::Position,
    phase::Phase,
    seats::SeatSet,
};

/// How this program writes a line; see `lua/install.lua`.
const FORMAT: u64 = 1;

impl Line {
    /// The stream's last entry and the sale's phase; nothing if the sale is not installed.
    pub async fn position(&self) -> Result<Option<(Position, Phase)>, StoreError> {
        self.read_position(&mut self.bound(Via::Shared).await?).await
    }

    /// The same, of whichever Redis there is.
    pub(super) async fn position_there(&self) -> Result<Option<(Position, Phase)>, StoreError> {
        self.read_position(&mut self.node.shared.clone()).await
    }

    async fn read_position(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> Result<Option<(Position, Phase)>, StoreError> {
        let fields: (Option<u64>, Option<u64>, Option<String>, Option<u64>) = redis::cmd("HMGET")
            .arg(self.key(Key::Sale))
            .arg(&["epoch", "n", "phase", "format"])
            .query_async(connection)
            .await?;
        let (Some(epoch), Some(n), Some(phase), format) = fields else { return Ok(None) };
        if let Some(format) = format.filter(|format| *format > FORMAT) {
            return Err(StoreError::TooNew { format, known: FORMAT });
        }
        Ok(Some((Position { epoch, n }, parse_phase(&phase)?)))
    }

    /// Up to 10,000 seqs of the line above `after`, in order.
    pub async fn seqs(&self, after: Option<Seq>) -> Result<Vec<Seq>, StoreError> {
        let low = after.map_or("-inf".to_owned(), |seq| format!("({seq}"));
        let members: Vec<(VisitorText, Seq)> = redis::cmd("ZRANGE")
            .arg(self.key(Key::Line))
            .arg(low)
            .arg("+inf")
            .arg(&["BYSCORE", "LIMIT", "0", "10000", "WITHSCORES"])
            .query_async(&mut self.node.pool.get().await?)
            .await?;
        Ok(members.into_iter().map(|(_, seq)| seq).collect())
    }

    /// The seats that are booked or held, of a plan of so many.
    pub async fn booked_seats(&self, seats: usize) -> Result<SeatSet, StoreError> {
        let bitmap: Vec<u8> = redis::cmd("GET")
            .arg(self.key(Key::Booked))
            .query_async(&mut self.node.pool.get().await?)
            .await?;
        Ok(SeatSet::from_redis_bitmap(seats, &bitmap))
    }

    /// All shifts of deadlines so far in ms, and when booking was last proven possible, in Redis' ms; nothing while one is being added.
    pub async fn shift(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let (shift, bookable_at, shifting): (Option<i64>, Option<i64>, Option<i64>) = redis::cmd("HMGET")
            .arg(self.key(Key::Sale))
            .arg(&["shift", "bookable_at", "shifting"])
            .query_async(&mut self.node.shared.clone())
            .await?;
        Ok(shifting.is_none().then_some((shift.unwrap_or(0), bookable_at.unwrap_or(0))))
    }

    /// The bookings that the line believes to be held.
    pub async fn held(&self) -> Result<HashSet<Uuid>, StoreError> {
        let ids: Vec<String> = redis::cmd("SMEMBERS")
            .arg(self.key(Key::Held))
            .query_async(&mut self.node.pool.get().await?)
            .await?;
        let parse = |id: &String| id.parse().map_err(|_| StoreError::Corrupt(format!("held booking {id:?}")));
        ids.iter().map(parse).collect()
    }

    /// ZRANK, for the board's audit, with the entry at which it was true.
    pub async fn rank(&self, visitor: &VisitorId) -> Result<(Option<u64>, Position), StoreError> {
        let (rank, (epoch, n)): (Option<u64>, (u64, u64)) = redis::pipe()
            .atomic()
            .cmd("ZRANK")
            .arg(self.key(Key::Line))
            .arg(visitor.as_str())
            .cmd("HMGET")
            .arg(self.key(Key::Sale))
            .arg(&["epoch", "n"])
            .query_async(&mut self.node.shared.clone())
            .await?;
        Ok((rank, Position { epoch, n }))
    }

    /// The sale's live numbers.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        type Numbers = (Option<i64>, Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<u8>);
        let (line, returned, away, granted, held, numbers): (u64, u64, u64, u64, u64, Numbers) =
            redis::pipe()
                .atomic()
                .cmd("ZCARD")
                .arg(self.key(Key::Line))
                .cmd("ZCARD")
                .arg(self.key(Key::Returned))
                .cmd("ZCARD")
                .arg(self.key(Key::Away))
                .cmd("ZCARD")
                .arg(self.key(Key::Grants))
                .cmd("SCARD")
                .arg(self.key(Key::Held))
                .cmd("HMGET")
                .arg(self.key(Key::Sale))
                .arg(&["free", "admitted_total", "lapsed_total", "written", "journaled", "restoring"])
                .query_async(&mut self.node.shared.clone())
                .await?;
        let (free, admitted, lapsed, written, journaled, restoring) = numbers;
        Ok(Counts {
            waiting: line + returned,
            away,
            granted,
            held,
            seats_left: free.unwrap_or(0).max(0).unsigned_abs(),
            admitted_total: admitted.unwrap_or(0),
            lapsed_total: lapsed.unwrap_or(0),
            unjournaled: written.unwrap_or(0).saturating_sub(journaled.unwrap_or(0)),
            restoring: restoring.is_some(),
        })
    }
}
