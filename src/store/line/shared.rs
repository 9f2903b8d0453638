//! What one instance has read of a line, for the others: when a line was restored, or Redis found anew, all of them want to read it in the
//! same moment, and all of a million places.

use super::{Line, scripts::Key};
use crate::store::errors::StoreError;
use wire::domain::line::Position;

/// How long it is kept: it is followed from where it stood, and each has as much to catch up with.
const KEPT_MS: u64 = 10_000;
/// Entries after it at most, for the same reason.
const BEHIND_MAX: u64 = 2_000;
/// For how long nobody else reads, unless whoever does says that he still does.
const READING_MS: u64 = 2_000;

impl Line {
    fn shared_key(&self, what: &str) -> String {
        format!("{}:{what}", self.key(Key::Line))
    }

    /// What another instance has read lately, and where the stream stood before; not what was there before `after`.
    pub async fn shared_board(
        &self,
        now: Position,
        after: Position,
    ) -> Result<Option<(Position, Vec<u8>)>, StoreError> {
        let mut get = redis::cmd("GET");
        let found: Option<Vec<u8>> =
            get.arg(self.shared_key("board")).query_async(&mut self.node.pool.get().await?).await?;
        let Some(bytes) = found.filter(|bytes| bytes.len() >= 16) else { return Ok(None) };
        let (at, bytes) = bytes.split_at(16);
        let number =
            |from: usize| at[from..from + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let at = Position { epoch: number(0), n: number(8) };
        let is_new = at.epoch == now.epoch && at >= after && at <= now && now.n - at.n <= BEHIND_MAX;
        Ok(is_new.then(|| (at, bytes.to_vec())))
    }

    /// Shares what this instance has read.
    pub async fn share_board(&self, at: Position, bytes: &[u8]) -> Result<(), StoreError> {
        let value = [&at.epoch.to_le_bytes(), &at.n.to_le_bytes(), bytes].concat();
        let mut set = redis::cmd("SET");
        set.arg(self.shared_key("board")).arg(value).arg("PX").arg(KEPT_MS);
        set.query_async::<()>(&mut self.node.pool.get().await?).await?;
        Ok(redis::cmd("DEL")
            .arg(self.shared_key("reading"))
            .query_async(&mut self.node.shared.clone())
            .await?)
    }

    /// Whether this instance is the one that reads; said again while it does.
    pub async fn may_read_board(&self, still: bool) -> Result<bool, StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.shared_key("reading")).arg(self.instance()).arg(if still { "XX" } else { "NX" });
        let set: Option<String> =
            set.arg("PX").arg(READING_MS).query_async(&mut self.node.shared.clone()).await?;
        Ok(set.is_some())
    }

    /// How many places are in the line.
    pub async fn waiting(&self) -> Result<u64, StoreError> {
        Ok(redis::cmd("ZCARD").arg(self.key(Key::Line)).query_async(&mut self.node.shared.clone()).await?)
    }
}
