//! How this instance reads a line anew. Of a large one a single instance reads all places, and shares what it has read: when a line was
//! restored all want it in the same moment, and it would be seconds of Redis' time for each dozen of them.

use super::{LiveLine, board::Board};
use crate::store::errors::StoreError;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use wire::domain::line::Position;

/// Lines below this are read by each for itself, which is two calls.
const SHARED_MIN: u64 = 20_000;
/// How long another instance is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether it is done.
const PAUSE: Duration = Duration::from_millis(100);

impl LiveLine {
    /// All places in the line, and an entry from which on the stream tells what has changed since they were read: `now`, or an earlier one.
    pub(super) async fn read_board(&self, now: Position) -> Result<(Position, Board), StoreError> {
        if self.store.waiting().await? < SHARED_MIN {
            return Ok((now, self.read_places(false).await?));
        }
        let known = self.live().position;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            // Where the stream stands may be later than `now` by the time that somebody has read it.
            let there = self.store.position().await?.map_or(now, |(position, _)| position);
            if let Some((at, bytes)) = self.store.shared_board(there, known.min(there)).await?
                && let Some(board) = Board::from_bytes(&bytes)
            {
                return Ok((at, board));
            }
            if self.store.may_read_board(false).await? {
                let at = self.store.position().await?.map_or(now, |(position, _)| position);
                let board = self.read_places(true).await?;
                self.store.share_board(at, &board.to_bytes()).await?;
                return Ok((at, board));
            }
            sleep(PAUSE).await;
        }
        Ok((now, self.read_places(false).await?))
    }

    async fn read_places(&self, is_shared: bool) -> Result<Board, StoreError> {
        let mut board = Board::default();
        let mut last = None;
        loop {
            let seqs = self.store.seqs(last).await?;
            seqs.iter().for_each(|seq| board.insert(*seq));
            if seqs.is_empty() {
                break;
            }
            last = seqs.last().copied();
            if is_shared {
                self.store.may_read_board(true).await?;
            }
        }
        board.recount();
        Ok(board)
    }
}
