//! A sale's journal as PostgreSQL has it, in the order of an export.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::awaited::Awaited;
use crate::commands::{Exit, ExitError, serve};
use crate::settings::SecretUrl;
use crate::store::bookings::{Bookings, Sold};
use crate::store::errors::StoreError;
use crate::store::journal::{Journal, Tail};
use crate::store::postgres::connect::postgres_pool;
use crate::store::sales::Sales;
use load::journal::{FORMAT, Header, Item, Sold as Told};
use wire::domain::ids::{GrantKey, SaleId};
use wire::domain::journal::Head;
use wire::domain::phase::Phase;
use wire::domain::plan::Plan;

/// What was booked reaches the journal within about a second, and where the instance that kept it has died, once its lease of 6 s
/// has run out: what it has not told so long after PostgreSQL was asked for the bookings, it does not tell.
const LAG: Duration = Duration::from_secs(10);
/// Nothing comes any more into the journal of a closed sale that has been silent for so long.
const SETTLED: Duration = Duration::from_secs(60);
/// Between two looks for more of it.
const LOOK: Duration = Duration::from_millis(100);

/// A sale's journal, one batch in memory at a time.
pub(in crate::commands) struct Source {
    runtime: Runtime,
    journal: Journal,
    header: Header,
    sold: std::vec::IntoIter<Told>,
    awaited: Awaited,
    /// The last batch that was read.
    batch: u64,
    head: Option<Head>,
    /// The last batch that was said to be there and was looked for.
    sought: u64,
    asked: Instant,
    is_closed: bool,
    ended: bool,
}

impl Source {
    /// Reads the sale and its bookings.
    ///
    /// # Errors
    /// There is no such sale, or PostgreSQL is away.
    pub(in crate::commands) fn open(url: &SecretUrl, id: &SaleId) -> anyhow::Result<Self> {
        let runtime = serve::runtime()?;
        let pool = postgres_pool(url.expose(), 2).map_err(StoreError::from)?;
        let read = async {
            let Some((sale, state)) = Sales::new(pool.clone()).load(id).await? else { return Ok(None) };
            let survey = Bookings::new(pool.clone(), id.clone(), sale.plan.clone()).survey().await?;
            Ok::<_, StoreError>(Some((sale, state, survey)))
        };
        let (sale, state, survey) = runtime
            .block_on(read)?
            .ok_or_else(|| ExitError::new(Exit::Usage, format!("this PostgreSQL has no sale {id}")))?;
        let seats = sale.plan.seats.iter().map(|seat| seat.id.to_string()).collect();
        let is_closed = state.command == Phase::Closed;
        let sold: Vec<Told> = survey.bookings.into_iter().map(|sold| told(sold, id, &sale.plan)).collect();
        Ok(Self {
            runtime,
            journal: Journal::new(pool, id.clone()),
            header: Header {
                journal: FORMAT,
                sale: id.clone(),
                bookings_at: survey.at,
                closed: is_closed,
                seats,
            },
            awaited: Awaited::new(&sold, is_closed),
            sold: sold.into_iter(),
            batch: 0,
            head: None,
            sought: 0,
            asked: Instant::now(),
            is_closed,
            ended: false,
        })
    }

    /// The first line of an export.
    pub(in crate::commands) fn header(&self) -> &Header {
        &self.header
    }

    /// What follows; nothing after the head.
    ///
    /// # Errors
    /// PostgreSQL is away.
    pub(in crate::commands) fn next_item(&mut self) -> anyhow::Result<Option<Item>> {
        if self.ended {
            return Ok(None);
        }
        if let Some(sold) = self.sold.next() {
            return Ok(Some(Item::Sold(sold)));
        }
        loop {
            if let Some((batch, entries)) = self.runtime.block_on(self.journal.batch(self.batch + 1))? {
                entries.iter().for_each(|entry| self.awaited.hear(&entry.text));
                self.batch = batch.batch;
                self.head = Some(batch.head(&self.header.sale));
                return Ok(Some(Item::Batch(batch, entries)));
            }
            if !self.awaited.is_heard() && !self.is_settled() && self.asked.elapsed() < LAG {
                std::thread::sleep(LOOK);
                continue;
            }
            match self.end()? {
                // Somebody writes on.
                Some(head) if head.batch > self.batch && head.batch > self.sought => self.sought = head.batch,
                head => {
                    self.ended = true;
                    return Ok(Some(Item::Head(head)));
                }
            }
        }
    }

    /// Whether the sale was closed long before PostgreSQL was asked, and nothing was journaled since.
    fn is_settled(&self) -> bool {
        let is_old = |head: &Head| head.time + SETTLED < self.header.bookings_at;
        self.is_closed && self.head.as_ref().is_some_and(is_old)
    }

    /// The chain's end as its writers keep it. After a purge that row is all that is left, and says nothing of what is there.
    fn end(&self) -> anyhow::Result<Option<Head>> {
        let Some(head) = self.head.clone() else { return Ok(None) };
        let tail = self.runtime.block_on(self.journal.tail())?;
        let said = |tail: Tail| Head {
            batch: tail.batch,
            epoch: tail.position.epoch,
            n: tail.position.n,
            hash: tail.hash,
            time: head.time,
        };
        Ok(tail.map(said))
    }
}

/// Without whose it is.
fn told(sold: Sold, sale: &SaleId, plan: &Plan) -> Told {
    let mut seats: Vec<_> = sold.seats.iter().filter_map(|seat| plan.index_of(seat)).collect();
    seats.sort_unstable();
    let grant = GrantKey::of_grant_id(sold.grant, sale);
    Told { booking: sold.booking, grant, seats, status: sold.status, created_at: sold.created_at }
}
