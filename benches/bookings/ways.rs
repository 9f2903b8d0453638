//! The ways of writing a batch.

use crate::{
    columns::{Columns, Parameters, booking, own, shared},
    copies::{self, Encoded},
    rows::{Batch, Row},
    statements::{Pair, Statements, VALUES_MAX},
};
use bytes::Bytes;
use futures_util::{SinkExt, future::join4};
use std::{collections::HashMap, pin::pin};
use tokio_postgres::{Client, Error, Statement, error::SqlState, types::ToSql};
use uuid::Uuid;
use waitroom::store::postgres::connect;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    Save,
    SaveAll,
    Values,
    Unnest,
    UnnestAtOnce,
    UnnestOrNot,
    CopyText,
    Copy,
    CopyPipelined,
    Staging,
}

pub const WAYS: [(Way, &str); 10] = [
    (Way::Save, "save(): autocommit"),
    (Way::SaveAll, "saveAll(): one transaction"),
    (Way::Values, "multi-row VALUES"),
    (Way::Unnest, "unnest"),
    (Way::UnnestAtOnce, "unnest, one statement"),
    (Way::UnnestOrNot, "unnest ON CONFLICT RETURNING"),
    (Way::CopyText, "COPY text"),
    (Way::Copy, "COPY binary"),
    (Way::CopyPipelined, "COPY binary, pipelined"),
    (Way::Staging, "COPY to staging, ON CONFLICT"),
];

/// A connection with everything prepared.
pub struct Writer {
    client: Client,
    statements: Statements,
}

impl Writer {
    pub async fn connect(url: &str) -> Self {
        let client = connect::postgres_single(url).await.unwrap();
        let statements = Statements::prepare(&client).await.unwrap();
        Self { client, statements }
    }

    /// Writes the batch; answers how many of its bookings got all their seats. A way that a conflict aborts is
    /// followed by one that survives it, in a new transaction.
    pub async fn write(&mut self, way: Way, batch: &Batch) -> Result<usize, Error> {
        match way {
            Way::Save => return self.save(batch).await,
            Way::UnnestOrNot => return self.unnest_or_not(batch).await,
            Way::Staging => return self.staging(batch).await,
            _ => {}
        }
        let written = match way {
            Way::SaveAll => self.save_all(batch).await,
            Way::Values => self.values(batch).await,
            Way::Unnest => self.unnest(batch).await,
            Way::UnnestAtOnce => self.unnest_at_once(batch).await,
            Way::CopyText => self.copy(copies::text(batch), |s| &s.copy_text).await,
            Way::Copy => self.copy(copies::binary(batch), |s| &s.copy_binary).await,
            _ => self.copy_pipelined(copies::binary(batch)).await,
        };
        match written {
            Ok(()) => Ok(batch.rows.len()),
            Err(e) if e.code() != Some(&SqlState::UNIQUE_VIOLATION) => Err(e),
            Err(_) if way == Way::SaveAll => self.save_what_can(batch).await,
            Err(_) => self.unnest_or_not(batch).await,
        }
    }

    /// Each row its own transaction. Who finds a seat taken takes the rest back.
    async fn save(&mut self, batch: &Batch) -> Result<usize, Error> {
        let (client, Statements { row: insert, take_back, .. }) = (&self.client, &self.statements);
        let mut booked = 0;
        'rows: for row in &batch.rows {
            client.execute(&insert.bookings, &booking(&batch.sale, row, &row.seats.as_slice())).await?;
            for seat in &row.seats {
                let inserted = client.execute(&insert.seats, &[&batch.sale, seat, &row.id]).await;
                if let Err(e) = inserted {
                    if e.code() != Some(&SqlState::UNIQUE_VIOLATION) {
                        return Err(e);
                    }
                    client.execute(&take_back.seats, &[&[row.id].as_slice()]).await?;
                    client.execute(&take_back.bookings, &[&[row.id].as_slice()]).await?;
                    continue 'rows;
                }
            }
            booked += 1;
        }
        Ok(booked)
    }

    async fn save_all(&mut self, batch: &Batch) -> Result<(), Error> {
        let (tx, insert) = (self.client.transaction().await?, &self.statements.row);
        for row in &batch.rows {
            tx.execute(&insert.bookings, &booking(&batch.sale, row, &row.seats.as_slice())).await?;
        }
        for (seat, booking) in &batch.seats {
            tx.execute(&insert.seats, &[&batch.sale, seat, booking]).await?;
        }
        tx.commit().await
    }

    async fn save_what_can(&mut self, batch: &Batch) -> Result<usize, Error> {
        let (tx, insert) = (self.client.transaction().await?, &self.statements.row_or_not);
        for row in &batch.rows {
            tx.execute(&insert.bookings, &booking(&batch.sale, row, &row.seats.as_slice())).await?;
        }
        let mut got = Vec::new();
        for (seat, booking) in &batch.seats {
            if tx.execute(&insert.seats, &[&batch.sale, seat, booking]).await? == 1 {
                got.push(*booking);
            }
        }
        let booked = take_back(&tx, &self.statements.take_back, batch, got).await?;
        tx.commit().await?;
        Ok(booked)
    }

    async fn values(&mut self, batch: &Batch) -> Result<(), Error> {
        let size = batch.rows.len().min(VALUES_MAX);
        let insert = &self.statements.values[size.ilog10() as usize];
        let tx = self.client.transaction().await?;
        for rows in batch.rows.chunks(size) {
            let seats: Vec<_> = rows.iter().map(|row| row.seats.as_slice()).collect();
            let mut parameters = shared(&batch.sale);
            let own = rows.iter().zip(&seats).flat_map(|(row, seats)| own(row, seats));
            parameters.extend(own);
            tx.execute(&insert.bookings, &parameters).await?;
        }
        for seats in batch.seats.chunks(2 * size) {
            let mut parameters: Parameters = vec![&batch.sale];
            parameters.extend(
                seats.iter().flat_map(|(seat, booking)| -> [&(dyn ToSql + Sync); 2] { [seat, booking] }),
            );
            tx.execute(&insert.seats, &parameters).await?;
        }
        tx.commit().await
    }

    async fn unnest(&mut self, batch: &Batch) -> Result<(), Error> {
        let (tx, insert, columns) =
            (self.client.transaction().await?, &self.statements.unnest, Columns::of(batch));
        tx.execute(&insert.bookings, &columns.bookings(batch)).await?;
        tx.execute(&insert.seats, &columns.seats(batch)).await?;
        tx.commit().await
    }

    /// Both tables in one statement, which is its own transaction: one round trip.
    async fn unnest_at_once(&mut self, batch: &Batch) -> Result<(), Error> {
        let columns = Columns::of(batch);
        let mut parameters = columns.bookings(batch);
        parameters.extend(&columns.seats(batch)[1..]);
        self.client.execute(&self.statements.unnest_at_once, &parameters).await?;
        Ok(())
    }

    async fn unnest_or_not(&mut self, batch: &Batch) -> Result<usize, Error> {
        let (tx, columns) = (self.client.transaction().await?, Columns::of(batch));
        let insert = &self.statements.unnest_or_not;
        // As nobody shares a grant here, all bookings are fresh.
        tx.query(&insert.bookings, &columns.bookings(batch)).await?;
        let got = tx.query(&insert.seats, &columns.seats(batch)).await?;
        let got = got.iter().map(|row| row.get(0)).collect();
        let booked = take_back(&tx, &self.statements.take_back, batch, got).await?;
        tx.commit().await?;
        Ok(booked)
    }

    async fn copy(&mut self, rows: Encoded, into: fn(&Statements) -> &Pair) -> Result<(), Error> {
        let (tx, into) = (self.client.transaction().await?, into(&self.statements));
        send(tx.client(), &into.bookings, rows.bookings).await?;
        send(tx.client(), &into.seats, rows.seats).await?;
        tx.commit().await
    }

    /// All four requests are queued at once, in order: three round trips in place of six. If a COPY fails, COMMIT
    /// becomes ROLLBACK by itself.
    async fn copy_pipelined(&mut self, rows: Encoded) -> Result<(), Error> {
        let (client, into) = (&self.client, &self.statements.copy_binary);
        let (begun, bookings, seats, committed) = join4(
            client.batch_execute("BEGIN"),
            send(client, &into.bookings, rows.bookings),
            send(client, &into.seats, rows.seats),
            client.batch_execute("COMMIT"),
        )
        .await;
        begun.and(bookings).and(seats).and(committed)
    }

    async fn staging(&mut self, batch: &Batch) -> Result<usize, Error> {
        let rows = copies::binary(batch);
        let (tx, statements) = (self.client.transaction().await?, &self.statements);
        send(tx.client(), &statements.copy_staging.bookings, rows.bookings).await?;
        send(tx.client(), &statements.copy_staging.seats, rows.seats).await?;
        tx.query(&statements.from_staging.bookings, &[]).await?;
        let got = tx.query(&statements.from_staging.seats, &[]).await?;
        let got = got.iter().map(|row| row.get(0)).collect();
        let booked = take_back(&tx, &statements.take_back, batch, got).await?;
        tx.commit().await?;
        Ok(booked)
    }
}

async fn send(client: &Client, into: &Statement, rows: Bytes) -> Result<(), Error> {
    let mut sink = pin!(client.copy_in(into).await?);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

/// Whoever got fewer seats than wanted gets none. `got` is a booking for each seat that was free.
async fn take_back(
    tx: &tokio_postgres::Transaction<'_>,
    statements: &Pair,
    batch: &Batch,
    got: Vec<Uuid>,
) -> Result<usize, Error> {
    if got.len() == batch.seats.len() {
        return Ok(batch.rows.len());
    }
    let mut seats: HashMap<Uuid, usize> = HashMap::new();
    got.into_iter().for_each(|booking| *seats.entry(booking).or_default() += 1);
    let lost = |row: &&Row| seats.get(&row.id) != Some(&row.seats.len());
    let lost: Vec<Uuid> = batch.rows.iter().filter(lost).map(|row| row.id).collect();
    tx.execute(&statements.seats, &[&lost]).await?;
    tx.execute(&statements.bookings, &[&lost]).await?;
    Ok(batch.rows.len() - lost.len())
}
