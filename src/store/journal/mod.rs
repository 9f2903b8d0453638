//! The journal of a sale in PostgreSQL: the line's stream, entry by entry, chained. One instance writes it at a time, and
//! whoever has lost the right to finds out under the lock of the chain's head.

mod form;
mod purge;
mod read;
mod replay;
mod story;

pub use purge::Purge;

use super::{
    errors::StoreError,
    line::stream::{Changes, Entry, Named},
    postgres::{
        bigint,
        copy::{CopyFile, send},
        unsigned, within,
    },
};
use deadpool_postgres::{GenericClient, Pool, Transaction};
use futures_util::future;
use std::sync::Arc;
use tokio_postgres::{Row, types::Type};
use wire::domain::{
    ids::SaleId,
    journal::{Batch, Hash, Head, SALT_BYTES, Salt, Tree, entry_leaf, place_leaf},
    line::Position,
};

/// How long an instance may write without saying so again, in seconds.
const LEASE_S: f64 = 6.0;

const ENTRIES: &str = "COPY journal (sale_id, epoch, n, batch, entry, commitments) FROM STDIN BINARY";
const ENTRIES_TYPES: [Type; 6] = [Type::TEXT, Type::INT8, Type::INT8, Type::INT8, Type::TEXT, Type::BYTEA];
const PLACES: &str = "COPY journal_places (sale_id, seq, epoch, n, visitor_id, salt) FROM STDIN BINARY";
const PLACES_TYPES: [Type; 6] = [Type::TEXT, Type::INT8, Type::INT8, Type::INT8, Type::TEXT, Type::BYTEA];

/// The end of a sale's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Batches so far.
    pub batch: u64,
    /// The last entry.
    pub position: Position,
    /// The hash of the last batch.
    pub hash: Hash,
    /// The last entry as it was in the stream, hashed.
    pub source: Hash,
}

/// Who may write a journal.
#[derive(Clone, Debug)]
pub enum Lease {
    /// This instance, from here on.
    Ours(Tail),
    /// Another one, which had got so far.
    Theirs(Position),
}

/// An entry of the stream that can be read.
#[derive(Debug)]
pub struct Record {
    /// Its place in the stream.
    pub position: Position,
    /// What happened.
    pub changes: Changes,
    /// To whom.
    named: Named,
    /// Its text, as Redis had it.
    pub text: Arc<str>,
}

impl Record {
    /// From the stream's entry; why not, if this program cannot read it.
    pub fn of(entry: Entry) -> Result<Self, String> {
        let Entry { position, changes, text } = entry;
        let named = serde_json::from_str(&text).map_err(|error| error.to_string());
        Ok(Self { position, changes: changes?, named: named?, text })
    }
}

/// With what right something is added.
#[derive(Clone, Copy, Debug)]
pub enum Writer<'a> {
    /// Who holds the lease.
    Holder(&'a str),
    /// Anyone who knows what comes next, when Redis has lost it.
    Witness,
}

/// Why nothing was journaled.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another instance writes by now.
    #[error("another instance keeps the journal now")]
    NotHolder,
    /// PostgreSQL is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for JournalError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The journal of a sale; cheap to clone.
#[derive(Clone)]
pub struct Journal {
    pool: Pool,
    sale: SaleId,
}

impl Journal {
    /// Over a pool.
    pub fn new(pool: Pool, sale: SaleId) -> Self {
        Self { pool, sale }
    }

    /// Takes the right to write, or keeps it.
    pub async fn lease(&self, holder: &str) -> Result<Lease, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let statement = client
                .prepare_cached(
                    "INSERT INTO journal_heads AS head (sale_id, holder, until) \
                     VALUES ($1, $2, now() + make_interval(secs => $3)) \
                     ON CONFLICT (sale_id) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                     WHERE head.holder = excluded.holder OR head.until < now() \
                     RETURNING batch, epoch, n, hash, source",
                )
                .await?;
            if let Some(row) = client.query_opt(&statement, &[&self.sale.as_str(), &holder, &LEASE_S]).await?
            {
                return Ok(Lease::Ours(tail(&row)?));
            }
            // Of a pool of one, the next question needs this very connection.
            drop(client);
            Ok(Lease::Theirs(self.end().await?))
        })
        .await
    }

    /// Lets another instance write at once.
    pub async fn release(&self, holder: &str) -> Result<(), StoreError> {
        within(&self.pool, async {
            let release = "UPDATE journal_heads SET until = '-infinity' WHERE sale_id = $1 AND holder = $2";
            self.pool.get().await?.execute(release, &[&self.sale.as_str(), &holder]).await?;
            Ok(())
        })
        .await
    }

    /// Whether somebody else has the right to write.
    pub async fn is_kept_by_others(&self, holder: &str) -> Result<bool, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT 1 FROM journal_heads WHERE sale_id = $1 AND holder <> $2 AND until >= now()";
            let query = client.prepare_cached(query).await?;
            Ok(client.query_opt(&query, &[&self.sale.as_str(), &holder]).await?.is_some())
        })
        .await
    }

    /// The chain's end, without the right to write.
    pub async fn tail(&self) -> Result<Option<Tail>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT batch, epoch, n, hash, source FROM journal_heads WHERE sale_id = $1";
            let row = client.query_opt(&client.prepare_cached(query).await?, &[&self.sale.as_str()]).await?;
            row.as_ref().map(tail).transpose()
        })
        .await
    }

    /// The last entry that is journaled.
    pub async fn end(&self) -> Result<Position, StoreError> {
        Ok(self.tail().await?.map_or_else(Position::default, |tail| tail.position))
    }

    /// The chain's end, for everyone; nothing before the first batch.
    pub async fn head(&self) -> Result<Option<Head>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let newest =
                format!("SELECT {BATCH} FROM journal_batches WHERE sale_id = $1 ORDER BY batch DESC LIMIT 1");
            let row =
                client.query_opt(&client.prepare_cached(&newest).await?, &[&self.sale.as_str()]).await?;
            Ok(row.map(|row| batch(&row)).transpose()?.map(|batch| batch.head(&self.sale)))
        })
        .await
    }

    /// Adds entries of one epoch behind `tail`, all or none; answers the new end.
    ///
    /// # Errors
    /// Another instance writes by now, or PostgreSQL is away: what became of them is not known then.
    pub async fn append(
        &self,
        writer: Writer<'_>,
        tail: &Tail,
        records: &[Record],
    ) -> Result<Tail, JournalError> {
        within(&self.pool, async {
            let (Some(first), Some(last)) = (records.first(), records.last()) else {
                return Ok(tail.clone());
            };
            let sale = self.sale.as_str();
            let number = tail.batch + 1;
            let count = records.iter().map(|record| record.named.places()).sum();
            let mut salts = salts(count)?.into_iter();
            let mut leaves = Vec::with_capacity(records.len());
            let mut rows = CopyFile::new(&ENTRIES_TYPES, 512 * records.len());
            let mut places = CopyFile::new(&PLACES_TYPES, 512 * records.len());
            for Record { position, changes, named, .. } in records {
                let (entry, drawn) = form::of(changes, named, &mut salts);
                let text =
                    serde_json::to_string(&entry).map_err(|error| StoreError::Corrupt(error.to_string()))?;
                leaves.push(entry_leaf(*position, &text));
                let mut commitments = Vec::with_capacity(32 * drawn.len());
                let (epoch, n) = (bigint(position.epoch), bigint(position.n));
                for place in &drawn {
                    leaves.push(place_leaf(*position, place.seq, &place.commitment));
                    commitments.extend_from_slice(&place.commitment.0);
                    places.row(&[
                        &sale,
                        &bigint(place.seq),
                        &epoch,
                        &n,
                        &place.visitor.as_str(),
                        &place.salt.as_slice(),
                    ])?;
                }
                rows.row(&[&sale, &epoch, &n, &bigint(number), &text, &commitments])?;
            }
            let (count, root) = (leaves.len() as u64, Tree::new(leaves).root());
            let mut client = self.pool.get().await.map_err(StoreError::from)?;
            let (entries, named) =
                future::try_join(client.prepare_cached(ENTRIES), client.prepare_cached(PLACES)).await?;
            let tx = client.transaction().await?;
            let at = self.hold(&tx, writer, tail).await?;
            let batch = Batch {
                batch: number,
                previous: tail.hash,
                epoch: first.position.epoch,
                first: first.position.n,
                last: last.position.n,
                leaves: count,
                root,
                at,
            };
            let hash = batch.hash(&self.sale);
            send(tx.copy_in(&entries).await?, rows.finish()).await?;
            send(tx.copy_in(&named).await?, places.finish()).await?;
            let tail = Tail { batch: number, position: last.position, hash, source: Hash::of(&last.text) };
            self.link(&tx, writer, &batch, &tail).await?;
            tx.commit().await?;
            Ok(tail)
        })
        .await
    }

    /// Makes a batch the chain's end.
    async fn link(
        &self,
        tx: &Transaction<'_>,
        writer: Writer<'_>,
        batch: &Batch,
        tail: &Tail,
    ) -> Result<(), tokio_postgres::Error> {
        let sale = self.sale.as_str();
        let (number, epoch, last) = (bigint(batch.batch), bigint(batch.epoch), bigint(batch.last));
        let (first, leaves) = (bigint(batch.first), bigint(batch.leaves));
        let (previous, root) = (batch.previous.0.as_slice(), batch.root.0.as_slice());
        tx.execute(
            "INSERT INTO journal_batches (sale_id, batch, previous, epoch, first, last, leaves, root, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[&sale, &number, &previous, &epoch, &first, &last, &leaves, &root, &batch.at],
        )
        .await?;
        tx.execute(
            "UPDATE journal_heads SET batch = $2, epoch = $3, n = $4, hash = $5, source = $6, \
             until = CASE WHEN $7 THEN now() + make_interval(secs => $8) ELSE until END WHERE sale_id = $1",
            &[
                &sale,
                &number,
                &epoch,
                &last,
                &tail.hash.0.as_slice(),
                &tail.source.0.as_slice(),
                &matches!(writer, Writer::Holder(_)),
                &LEASE_S,
            ],
        )
        .await?;
        Ok(())
    }

    /// Locks the chain's end. Whoever is not its holder, or knows another end, must not write. Answers PostgreSQL's time
    /// in ms.
    async fn hold(
        &self,
        tx: &Transaction<'_>,
        writer: Writer<'_>,
        known: &Tail,
    ) -> Result<i64, JournalError> {
        let lock = "SELECT batch, epoch, n, hash, source, holder, (extract(epoch FROM clock_timestamp()) * 1000)::bigint \
                    FROM journal_heads WHERE sale_id = $1 FOR UPDATE";
        let Some(row) = tx.query_opt(lock, &[&self.sale.as_str()]).await? else {
            return Err(JournalError::NotHolder);
        };
        let may = match writer {
            Writer::Holder(holder) => row.get::<_, &str>(5) == holder,
            Writer::Witness => true,
        };
        if may && tail(&row)? == *known { Ok(row.get(6)) } else { Err(JournalError::NotHolder) }
    }
}

const BATCH: &str = "batch, previous, epoch, first, last, leaves, root, at";

fn batch(row: &Row) -> Result<Batch, StoreError> {
    Ok(Batch {
        batch: unsigned(row.get(0)),
        previous: hash(row.get(1))?,
        epoch: unsigned(row.get(2)),
        first: unsigned(row.get(3)),
        last: unsigned(row.get(4)),
        leaves: unsigned(row.get(5)),
        root: hash(row.get(6))?,
        at: row.get(7),
    })
}

fn tail(row: &Row) -> Result<Tail, StoreError> {
    let position = Position { epoch: unsigned(row.get(1)), n: unsigned(row.get(2)) };
    Ok(Tail { batch: unsigned(row.get(0)), position, hash: hash(row.get(3))?, source: hash(row.get(4))? })
}

fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes
        .try_into()
        .map(Hash)
        .map_err(|_| StoreError::Corrupt("a hash of the journal has not 32 bytes".into()))
}

/// What nobody can guess, from the system's generator: so many salts.
fn salts(count: usize) -> Result<Vec<Salt>, StoreError> {
    let mut random = vec![0; SALT_BYTES * count];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Corrupt(format!("no random numbers: {error}")))?;
    Ok(random.as_chunks().0.to_vec())
}
