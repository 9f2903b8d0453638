//! What a PostgreSQL is, and whether it keeps what it confirmed.

/// The facts of a PostgreSQL server that decide whether it keeps what it confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresFacts {
    /// `server_version`, as it is.
    pub version: String,
    /// Connections of all clients together.
    pub max_connections: u32,
    /// Those of them that only superusers get.
    pub reserved_connections: u32,
    /// `on` or `off`.
    pub fsync: String,
    /// `off` confirms before it is on disk.
    pub synchronous_commit: String,
    /// `on` or `off`.
    pub full_page_writes: String,
    /// A standby: cannot be written.
    pub in_recovery: bool,
}

impl PostgresFacts {
    /// Asks the server.
    pub async fn read(client: &tokio_postgres::Client) -> Result<Self, tokio_postgres::Error> {
        let text = "SELECT current_setting('server_version'), current_setting('max_connections')::int, \
                    current_setting('superuser_reserved_connections')::int, current_setting('fsync'), \
                    current_setting('synchronous_commit'), current_setting('full_page_writes'), pg_is_in_recovery()";
        let row = client.query_one(text, &[]).await?;
        let count = |index| row.try_get::<_, i32>(index).map(|count| u32::try_from(count).unwrap_or(0));
        Ok(Self {
            version: row.try_get(0)?,
            max_connections: count(1)?,
            reserved_connections: count(2)?,
            fsync: row.try_get(3)?,
            synchronous_commit: row.try_get(4)?,
            full_page_writes: row.try_get(5)?,
            in_recovery: row.try_get(6)?,
        })
    }
}
