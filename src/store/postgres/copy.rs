//! Rows for COPY, encoded whole and sent in one piece: the driver's own writer needs more round trips, and more of the
//! processor.

use crate::store::errors::StoreError;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use std::pin::pin;
use tokio_postgres::{
    CopyInSink,
    types::{IsNull, ToSql, Type},
};

/// Sends the rows of a COPY … FROM STDIN BINARY that has begun.
pub(in crate::store) async fn send(
    sink: CopyInSink<Bytes>,
    rows: Bytes,
) -> Result<(), tokio_postgres::Error> {
    let mut sink = pin!(sink);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

/// Rows in PostgreSQL's binary COPY format (PostgreSQL's manual, "COPY", "Binary Format").
pub(in crate::store) struct CopyFile {
    types: &'static [Type],
    bytes: BytesMut,
}

impl CopyFile {
    pub fn new(types: &'static [Type], capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(64 + capacity);
        bytes.put_slice(b"PGCOPY\n\xff\r\n\0");
        bytes.put_i32(0); // flags: none
        bytes.put_i32(0); // length of the header's extension
        Self { types, bytes }
    }

    pub fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        self.bytes.put_i16(self.types.len() as i16);
        for (value, kind) in values.iter().zip(self.types) {
            let at = self.bytes.len();
            self.bytes.put_i32(-1); // NULL, until its length is known
            let encoded = value.to_sql_checked(kind, &mut self.bytes);
            if let IsNull::No = encoded.map_err(|e| StoreError::Corrupt(e.to_string()))? {
                let length = (self.bytes.len() - at - 4) as i32;
                self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    pub fn finish(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }
}
