//! Sales in PostgreSQL: the operator's word. Redis follows it by version.

mod epochs;
mod proof;

use super::{
    audit::{Note, difference},
    errors::StoreError,
    postgres::{unsigned, within},
};
use deadpool_postgres::{GenericClient, Pool};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{pin::pin, sync::Arc};
use tokio_postgres::{Row, binary_copy::BinaryCopyInWriter, error::SqlState, types::Type};
use uuid::Uuid;
use wire::domain::{
    audit::Actor,
    ids::{SaleId, VisitorId},
    phase::Phase,
    plan::{Plan, SeatIndex},
    sale::{NewSale, Sale, SaleSettings, SaleState},
    seats::SeatSet,
};

/// Sales in PostgreSQL; cheap to clone.
#[derive(Clone)]
pub struct Sales {
    pool: Pool,
    proof: Arc<proof::Proof>,
}

/// A sale, as far as its room must know it.
pub struct Version {
    /// Which.
    pub id: SaleId,
    /// Rises with each change by the operator.
    pub version: u64,
    /// Tells it from a deleted sale of the same id.
    pub first_epoch: u64,
    /// Closed, and nothing is held any more.
    pub is_over: bool,
}

const STATE: &str = "version, name, anonymous, phase, notice, opens_at, rate, max_active, grant_ttl_s, claim_s, away_s, max_seats, \
                     hold_ttl_s";

impl Sales {
    /// Over a pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool, proof: Arc::default() }
    }

    /// Creates a sale in phase `scheduled`; false if its id is taken, or too like another's by its hash.
    pub async fn create(&self, sale: &NewSale<'_>, by: &Actor) -> Result<bool, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        // A hall has up to a million seats.
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        let s = sale.settings;
        let inserted = tx
            .execute(
                "INSERT INTO sales (id, name, plan, anonymous, opens_at, rate, max_active, grant_ttl_s, claim_s, \
                 away_s, max_seats, hold_ttl_s, epoch, first_epoch, version) \
                 SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12, coalesce(max(epoch), 0), coalesce(max(epoch), 0), \
                 coalesce(max(version), 0) + 1 \
                 FROM deleted_sales WHERE sale_id = $1 ON CONFLICT DO NOTHING",
                &[
                    &sale.id.as_str(),
                    &sale.name,
                    &sale.plan_json,
                    &sale.anonymous,
                    &s.opens_at,
                    &s.rate,
                    &signed(s.max_active),
                    &signed(s.grant_ttl_s),
                    &signed(s.claim_s),
                    &signed(s.away_s),
                    &signed(s.max_seats),
                    &signed(s.hold_ttl_s),
                ],
            )
            .await?;
        if inserted == 0 {
            return Ok(false);
        }
        let sink = tx
            .copy_in("COPY seats (sale_id, position, seat_id, category, blocked) FROM STDIN BINARY")
            .await?;
        let types = [Type::TEXT, Type::INT4, Type::TEXT, Type::TEXT, Type::BOOL];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for (i, seat) in sale.plan.seats.iter().enumerate() {
            let category = sale.plan.categories[usize::from(seat.category)].as_str();
            let blocked = sale.blocked.contains(i as SeatIndex);
            writer
                .as_mut()
                .write(&[&sale.id.as_str(), &signed(i as u32), &seat.id, &category, &blocked])
                .await?;
        }
        writer.finish().await?;
        let mut made = json!({ "name": sale.name, "anonymous": sale.anonymous, "seats": sale.plan.seats.len(),
            "blocked": sale.blocked.len() });
        if let (Value::Object(made), Ok(Value::Object(settings))) = (&mut made, serde_json::to_value(s)) {
            made.extend(settings);
        }
        Note::new(by, "sale created").sale(sale.id).change(Value::Null, made).write(&tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// All sales, oldest first, as far as rooms must know them.
    pub async fn versions(&self) -> Result<Vec<Version>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let statement = client
                .prepare_cached(
                    "SELECT id, version, first_epoch, phase = 'closed' AND NOT EXISTS \
                     (SELECT FROM bookings WHERE sale_id = sales.id AND status = 'held') \
                     FROM sales ORDER BY created_at, id",
                )
                .await?;
            let rows = client.query(&statement, &[]).await?;
            let version = |row: &Row| {
                Ok(Version {
                    id: sale_id(row.get(0))?,
                    version: unsigned(row.get(1)),
                    first_epoch: unsigned(row.get(2)),
                    is_over: row.get(3),
                })
            };
            rows.iter().map(version).collect()
        })
        .await
    }

    /// The whole sale, its plan included.
    pub async fn load(&self, id: &SaleId) -> Result<Option<(Sale, SaleState)>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let Some(row) = client
                .query_opt("SELECT plan, first_epoch FROM sales WHERE id = $1", &[&id.as_str()])
                .await?
            else {
                return Ok(None);
            };
            let plan = Plan::parse(row.get(0)).map_err(|e| StoreError::Corrupt(format!("sale {id}: {e}")))?;
            let Some(state) = read_state(&client, id, plan.seats.len(), "").await? else { return Ok(None) };
            let sale = Sale { id: id.clone(), plan: Arc::new(plan), first_epoch: unsigned(row.get(1)) };
            Ok(Some((sale, state)))
        })
        .await
    }

    /// What an operator can change, as it is now.
    pub async fn state(&self, id: &SaleId, seats: usize) -> Result<Option<SaleState>, StoreError> {
        within(&self.pool, async { read_state(&self.pool.get().await?, id, seats, "").await }).await
    }

    /// Changes what `change` changes, all or nothing, under a lock; its refusal is handed through. Nothing if there
    /// is no such sale. `told` says in names what it is for the audit.
    pub async fn update<E>(
        &self,
        id: &SaleId,
        seats: usize,
        by: &Actor,
        change: impl FnOnce(&mut SaleState) -> Result<(), E>,
        told: impl Fn(&SaleState) -> Value,
    ) -> Result<Option<Result<SaleState, E>>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let Some(before) = read_state(&tx, id, seats, "FOR UPDATE").await? else { return Ok(None) };
        let mut after = before.clone();
        if let Err(refusal) = change(&mut after) {
            return Ok(Some(Err(refusal)));
        }
        if after == before {
            return Ok(Some(Ok(before)));
        }
        after.version += 1;
        let s = &after.settings;
        tx.execute(
            "UPDATE sales SET version = $2, phase = $3, notice = $4, opens_at = $5, rate = $6, max_active = $7, \
             grant_ttl_s = $8, claim_s = $9, away_s = $10, max_seats = $11, hold_ttl_s = $12, name = $13, \
             anonymous = $14 WHERE id = $1",
            &[
                &id.as_str(),
                &(after.version as i64),
                &after.command.as_str(),
                &after.notice,
                &s.opens_at,
                &s.rate,
                &signed(s.max_active),
                &signed(s.grant_ttl_s),
                &signed(s.claim_s),
                &signed(s.away_s),
                &signed(s.max_seats),
                &signed(s.hold_ttl_s),
                &after.name,
                &after.anonymous,
            ],
        )
        .await?;
        if after.blocked != before.blocked {
            let blocked: Vec<i32> = after.blocked.iter().map(signed).collect();
            tx.execute(
                "UPDATE seats SET blocked = NOT blocked WHERE sale_id = $1 AND blocked <> (position = ANY($2))",
                &[&id.as_str(), &blocked],
            )
            .await?;
        }
        let (from, to) = difference(&told(&before), &told(&after));
        Note::new(by, "sale changed").sale(id).change(from, to).write(&tx).await?;
        tx.commit().await?;
        Ok(Some(Ok(after)))
    }

    /// Opens the sale if it is scheduled and `opens_at` has come by PostgreSQL's clock; true if this call did it.
    pub async fn open_if_due(&self, id: &SaleId) -> Result<bool, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let opened = client
                .execute(
                    "UPDATE sales SET phase = 'open', version = version + 1 \
                     WHERE id = $1 AND phase = 'scheduled' AND opens_at <= now()",
                    &[&id.as_str()],
                )
                .await?;
            Ok(opened == 1)
        })
        .await
    }

    /// Forgets a closed sale: its bookings, seats and settings. Its epoch stays. False if it is not closed, nothing if there
    /// is no such sale.
    pub async fn delete(&self, id: &SaleId, by: &Actor) -> Result<Option<bool>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        // A big sale has a million rows.
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        let query = "SELECT phase = 'closed', epoch, version, name FROM sales WHERE id = $1 FOR UPDATE";
        let Some(row) = tx.query_opt(query, &[&id.as_str()]).await? else { return Ok(None) };
        if !row.get::<_, bool>(0) {
            return Ok(Some(false));
        }
        let (epoch, version): (i64, i64) = (row.get(1), row.get(2));
        let name: String = row.get(3);
        tx.execute(
            "INSERT INTO deleted_sales (sale_id, epoch, version) VALUES ($1, $2, $3) \
             ON CONFLICT (sale_id) DO UPDATE SET epoch = excluded.epoch, version = excluded.version",
            &[&id.as_str(), &epoch, &version],
        )
        .await?;
        let journal = ["journal", "journal_batches", "journal_heads", "journal_places"];
        for table in ["booked_seats", "bookings", "seats", "bans"].into_iter().chain(journal) {
            tx.execute(&format!("DELETE FROM {table} WHERE sale_id = $1"), &[&id.as_str()]).await?;
        }
        tx.execute("DELETE FROM sales WHERE id = $1", &[&id.as_str()]).await?;
        // What was done stays on record; to whom goes with the sale.
        let unname = "UPDATE audit SET visitor_id = '' WHERE sale_id = $1 AND visitor_id <> ''";
        tx.execute(unname, &[&id.as_str()]).await?;
        let was = json!({ "name": name, "phase": Phase::Closed });
        Note::new(by, "sale deleted").sale(id).change(was, Value::Null).write(&tx).await?;
        tx.commit().await?;
        Ok(Some(true))
    }

    /// The seating plan as it was uploaded.
    pub async fn plan_json(&self, id: &SaleId) -> Result<Option<Vec<u8>>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let row = client.query_opt("SELECT plan FROM sales WHERE id = $1", &[&id.as_str()]).await?;
            Ok(row.map(|row| row.get(0)))
        })
        .await
    }

    /// The sale that a booking belongs to.
    pub async fn of_booking(&self, booking: Uuid) -> Result<Option<SaleId>, StoreError> {
        let client = self.pool.get().await?;
        let query = "SELECT sale_id FROM bookings WHERE id = $1 AND status <> 'void'";
        let row = client.query_opt(query, &[&booking]).await?;
        row.map(|row| sale_id(row.get(0))).transpose()
    }
}

async fn read_state(
    client: &impl GenericClient,
    id: &SaleId,
    seats: usize,
    lock: &str,
) -> Result<Option<SaleState>, StoreError> {
    let query = format!("SELECT {STATE} FROM sales WHERE id = $1 {lock}");
    let Some(row) = client.query_opt(&query, &[&id.as_str()]).await? else { return Ok(None) };
    let blocked = client
        .query("SELECT position FROM seats WHERE sale_id = $1 AND blocked", &[&id.as_str()])
        .await?
        .iter()
        .map(|row| natural(row.get(0)))
        .collect::<Vec<SeatIndex>>();
    let bans = "SELECT visitor_id FROM bans WHERE sale_id = $1 ORDER BY visitor_id";
    let banned = client.query(bans, &[&id.as_str()]).await?;
    let banned = banned.iter().filter_map(|row| VisitorId::parse(row.get(0))).collect();
    state_of(&row, SeatSet::from_seats(seats, blocked), banned).map(Some)
}

fn state_of(row: &Row, blocked: SeatSet, banned: Arc<[VisitorId]>) -> Result<SaleState, StoreError> {
    let phase: &str = row.get("phase");
    let opens_at: Option<Timestamp> = row.get("opens_at");
    let int = |column: &str| natural(row.get::<_, i32>(column));
    Ok(SaleState {
        version: unsigned(row.get("version")),
        command: Phase::parse(phase).ok_or_else(|| StoreError::Corrupt(format!("phase {phase:?}")))?,
        name: row.get("name"),
        anonymous: row.get("anonymous"),
        notice: row.get("notice"),
        settings: SaleSettings {
            opens_at,
            rate: row.get("rate"),
            max_active: int("max_active"),
            grant_ttl_s: int("grant_ttl_s"),
            claim_s: int("claim_s"),
            away_s: int("away_s"),
            max_seats: int("max_seats"),
            hold_ttl_s: int("hold_ttl_s"),
        },
        blocked,
        banned,
    })
}

fn sale_id(text: &str) -> Result<SaleId, StoreError> {
    SaleId::parse(text).ok_or_else(|| StoreError::Corrupt(format!("sale id {text:?}")))
}

/// PostgreSQL has no unsigned integers; all of ours are far below the bound.
fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn natural(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Whether the error is a unique key that was there already, and which.
pub(super) fn unique_violation(error: &tokio_postgres::Error) -> Option<&str> {
    let error = error.as_db_error()?;
    (*error.code() == SqlState::UNIQUE_VIOLATION).then(|| error.constraint().unwrap_or_default())
}
