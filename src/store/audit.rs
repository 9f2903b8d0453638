//! What operators did, in PostgreSQL. A note is written in the transaction that it tells of: there is no change without it,
//! and none of a change that was not kept.

use super::{
    errors::StoreError,
    postgres::{NO_TIMEOUT, Pool, long_reader},
};
use deadpool_postgres::GenericClient;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;
use std::pin::Pin;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use wire::domain::{
    audit::{Actor, AuditFilter, AuditRecord},
    ids::{SaleId, VisitorId},
};

/// One change, to be noted.
pub(super) struct Note<'a> {
    by: &'a Actor,
    action: &'static str,
    sale: Option<&'a SaleId>,
    booking: Option<Uuid>,
    visitor: Option<&'a VisitorId>,
    from: Value,
    to: Value,
}

impl<'a> Note<'a> {
    /// Somebody did something; from nothing to nothing yet.
    pub fn new(by: &'a Actor, action: &'static str) -> Self {
        Self { by, action, sale: None, booking: None, visitor: None, from: Value::Null, to: Value::Null }
    }

    /// Of which sale.
    pub fn sale(self, sale: &'a SaleId) -> Self {
        Self { sale: Some(sale), ..self }
    }

    /// Of which booking.
    pub fn booking(self, booking: Uuid) -> Self {
        Self { booking: Some(booking), ..self }
    }

    /// Of which visitor.
    pub fn visitor(self, visitor: &'a VisitorId) -> Self {
        Self { visitor: Some(visitor), ..self }
    }

    /// From what to what.
    pub fn change(self, from: Value, to: Value) -> Self {
        Self { from, to, ..self }
    }

    /// Written by whoever makes the change, in the same transaction.
    pub async fn write(self, tx: &impl GenericClient) -> Result<(), StoreError> {
        let insert = "INSERT INTO audit (who, action, sale_id, booking_id, visitor_id, before, after) \
                      VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7::text::jsonb)";
        let (sale, visitor) = (self.sale.map(SaleId::as_str), self.visitor.map(VisitorId::as_str));
        let (from, to) = (self.from.to_string(), self.to.to_string());
        tx.execute(insert, &[&self.by.as_str(), &self.action, &sale, &self.booking, &visitor, &from, &to])
            .await?;
        Ok(())
    }
}

/// What has changed between two objects: of each field that did, what it was and what it is.
pub(super) fn difference(from: &Value, to: &Value) -> (Value, Value) {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return (from.clone(), to.clone()) };
    let changed = |one: &serde_json::Map<String, Value>, other: &serde_json::Map<String, Value>| {
        one.iter()
            .filter(|(key, value)| other.get(*key) != Some(value))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    (Value::Object(changed(from, to)), Value::Object(changed(to, from)))
}

/// The changes of a filter, as they are read.
pub type Records = Pin<Box<dyn Stream<Item = Result<AuditRecord, StoreError>> + Send>>;

/// The changes that are wanted, oldest first; memory does not grow with their number.
pub async fn read(pool: &Pool, filter: &AuditFilter) -> Result<Records, StoreError> {
    let client = long_reader(pool, NO_TIMEOUT).await?;
    let query = "SELECT id, at, who, action, sale_id, booking_id, visitor_id, before::text, after::text FROM audit \
                 WHERE ($1::timestamptz IS NULL OR at >= $1) AND (cardinality($2::text[]) = 0 OR sale_id = ANY($2)) \
                 ORDER BY at, id";
    let sales: Vec<&str> = filter.sales.iter().map(SaleId::as_str).collect();
    let wanted: [&(dyn ToSql + Sync); 2] = [&filter.since, &sales];
    let rows = client.query_raw(query, wanted).await?;
    Ok(Box::pin(rows.map_err(StoreError::from).map(move |row| {
        let _keep = &client;
        record(&row?)
    })))
}

fn record(row: &Row) -> Result<AuditRecord, StoreError> {
    let value = |at: usize| {
        serde_json::from_str(row.get(at)).map_err(|error| StoreError::Corrupt(format!("audit: {error}")))
    };
    Ok(AuditRecord {
        id: row.get(0),
        at: row.get(1),
        who: row.get(2),
        action: row.get(3),
        sale: row.get(4),
        booking: row.get::<_, Option<Uuid>>(5).map(|id| id.to_string()),
        visitor: row.get(6),
        from: value(7)?,
        to: value(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_says_what_changed_alone() {
        let (from, to) =
            (json!({"rate": 2, "name": "a", "gone": 1}), json!({"rate": 3, "name": "a", "new": 2}));
        assert_eq!(difference(&from, &to), (json!({"rate": 2, "gone": 1}), json!({"rate": 3, "new": 2})));
        assert_eq!(difference(&Value::Null, &to), (Value::Null, to.clone()));
    }
}
