//! A whole line at one moment, for whoever wants to prove something of it.

use super::{Line, VisitorText, scripts::Key};
use crate::store::errors::StoreError;
use wire::domain::{ids::Seq, place::Stage};

/// Fields of a hash read at once: a long read must not hold up a line that lives.
const SCAN: usize = 10_000;
/// Tries to find a moment at which nothing changes meanwhile.
const TRIES: usize = 5;

/// All places of a line.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The life of the line.
    pub epoch: u64,
    /// Each visitor's record: how the place stands, its number.
    pub places: Vec<(String, Stage, Seq)>,
    /// In the line.
    pub line: Vec<(String, Seq)>,
    /// Served ahead of it.
    pub returned: Vec<(String, Seq)>,
    /// Kept for who was not there.
    pub away: Vec<(String, Seq)>,
    /// Whose grants live.
    pub grants: Vec<String>,
}

/// What a survey of a line found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Redis has no such line.
    Missing,
    /// The line changed as often as it was read.
    Moving,
    /// Its places, all at one moment.
    Still(Box<Survey>),
}

impl Line {
    /// Reads all places. Nothing may change meanwhile, or what is read would contradict itself.
    ///
    /// # Errors
    /// Redis is away, or holds what this program did not write.
    pub async fn survey(&self) -> Result<Found, StoreError> {
        for _ in 0..TRIES {
            let Some((before, _)) = self.position_there().await? else { return Ok(Found::Missing) };
            let mut survey = self.read().await?;
            survey.epoch = before.epoch;
            if self.position_there().await?.is_some_and(|(after, _)| after == before) {
                return Ok(Found::Still(Box::new(survey)));
            }
        }
        Ok(Found::Moving)
    }

    async fn read(&self) -> Result<Survey, StoreError> {
        let mut places = Vec::new();
        for (visitor, record) in self.scan::<String>("HSCAN", Key::Places).await? {
            let mut fields = record.split(':');
            let stage = fields.next().and_then(Stage::parse);
            let seq = fields.next().and_then(|seq| seq.parse().ok());
            let (Some(stage), Some(seq)) = (stage, seq) else {
                return Err(StoreError::Corrupt(format!("place {record:?}")));
            };
            places.push((visitor, stage, seq));
        }
        // Scanning may give the same twice.
        places.sort_unstable();
        places.dedup();
        let grants: Vec<(VisitorText, f64)> = self.scan("ZSCAN", Key::Grants).await?;
        let mut grants: Vec<String> = grants.into_iter().map(|(visitor, _)| visitor).collect();
        grants.sort_unstable();
        grants.dedup();
        Ok(Survey {
            epoch: 0,
            places,
            line: self.numbered(Key::Line).await?,
            returned: self.numbered(Key::Returned).await?,
            away: self.numbered(Key::Away).await?,
            grants,
        })
    }

    async fn numbered(&self, key: Key) -> Result<Vec<(VisitorText, Seq)>, StoreError> {
        let mut members: Vec<(VisitorText, Seq)> = self.scan("ZSCAN", key).await?;
        members.sort_unstable();
        members.dedup();
        Ok(members)
    }

    async fn scan<T: redis::FromRedisValue>(
        &self,
        command: &str,
        key: Key,
    ) -> Result<Vec<(VisitorText, T)>, StoreError> {
        let mut connection = self.node.pool.get().await?;
        let (mut cursor, mut found) = (0u64, Vec::new());
        loop {
            let (next, more): (u64, Vec<(VisitorText, T)>) = redis::cmd(command)
                .arg(self.key(key))
                .arg(cursor)
                .arg("COUNT")
                .arg(SCAN)
                .query_async(&mut connection)
                .await?;
            found.extend(more);
            cursor = next;
            if cursor == 0 {
                return Ok(found);
            }
        }
    }
}
