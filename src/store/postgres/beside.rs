//! Which programs can live on which schema. A program's version here is that of the newest migration that it knows. A
//! migration that takes away what older programs need says so in its name, which the database keeps:
//! `V12__contract_10_drops_nth` needs every program to be of version 10 at least. All others are for everyone
//! (migrations/README.md).

use super::migrations::wanted_version;
use refinery_core::Migration;
use tokio_postgres::{Client, error::SqlState};

/// What programs called themselves before they said their version, and the schema of the last of them.
const UNNUMBERED: (&str, i32) = ("waitroom", 8);
const PREFIX: &str = "waitroom/";

/// Why this program must not change this schema, or live on it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The schema has lost what this program needs.
    #[error(
        "the schema has lost what this program needs: {migration} wants programs that know version {needs}, this one \
         knows {wanted}; install a newer release"
    )]
    Old {
        /// The migration that took it away.
        migration: String,
        /// The version that it wants.
        needs: i32,
        /// This program's.
        wanted: i32,
    },
    /// A program that runs would lose what it needs.
    #[error(
        "{migration} wants programs that know version {needs} of the schema, and one that knows {knows} is connected: \
         first deploy a release that knows {needs}, end the older one, then come back; nothing was changed"
    )]
    Beside {
        /// The migration that was to be run.
        migration: String,
        /// The version that it wants.
        needs: i32,
        /// The running program's.
        knows: i32,
    },
}

/// What a program calls itself to PostgreSQL; an operator's own name follows.
pub fn application_name(own: Option<&str>) -> String {
    let name = format!("{PREFIX}{}", wanted_version());
    own.map_or_else(|| name.clone(), |own| format!("{name} {own}"))
}

/// Whether this program may live here, and run `pending`. Looks only.
pub async fn check(client: &Client, pending: &[&Migration]) -> Result<Option<Misfit>, tokio_postgres::Error> {
    let (mine, done) = (wanted_version(), history(client).await?);
    let beside = beside(client).await?;
    let wants = |(version, name): (i32, &str)| Some((format!("V{version}__{name}"), needs(name)?));
    let lost = done.iter().map(|(version, name)| (*version, name.as_str())).filter_map(wants);
    if let Some((migration, needs)) = lost.into_iter().find(|(_, needs)| *needs > mine) {
        return Ok(Some(Misfit::Old { migration, needs, wanted: mine }));
    }
    let contracts: Vec<_> = pending.iter().map(|m| (m.version(), m.name())).filter_map(wants).collect();
    let refused = contracts.into_iter().find_map(|(migration, needs)| {
        let knows = beside.iter().copied().find(|knows| *knows < needs)?;
        Some(Misfit::Beside { migration, needs, knows })
    });
    Ok(refused)
}

/// The migrations that were run: version and name.
async fn history(client: &Client) -> Result<Vec<(i32, String)>, tokio_postgres::Error> {
    match client.query("SELECT version, name FROM refinery_schema_history ORDER BY version", &[]).await {
        Ok(rows) => rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect(),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What the programs know that are connected to this database.
async fn beside(client: &Client) -> Result<Vec<i32>, tokio_postgres::Error> {
    let query = "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()";
    let rows = client.query(query, &[]).await?;
    let names = rows.iter().filter_map(|row| row.try_get::<_, Option<String>>(0).ok().flatten());
    Ok(names.filter_map(|name| version_of(&name)).collect())
}

/// The version that a program of that name knows; none if it is no waitroom.
fn version_of(name: &str) -> Option<i32> {
    if name == UNNUMBERED.0 {
        return Some(UNNUMBERED.1);
    }
    name.strip_prefix(PREFIX)?.split(' ').next()?.parse().ok()
}

/// The version that every program must know once a migration of that name has run.
fn needs(name: &str) -> Option<i32> {
    name.strip_prefix("contract_")?.split('_').next()?.parse().ok()
}

/// Statements that an older program may not survive.
#[cfg(test)]
const TAKES_AWAY: [&str; 6] = ["DROP ", "RENAME ", "SET NOT NULL", " TYPE ", "TRUNCATE", "REVOKE"];

/// What is wrong with the name of a migration, given what it does.
#[cfg(test)]
fn fault(version: i32, name: &str, sql: &str) -> Option<String> {
    let code: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
    // What everyone survives is left out.
    let code = code.join(" ").to_uppercase().replace("CREATE TYPE ", "").replace("DROP NOT NULL", "");
    match (name.starts_with("contract"), needs(name)) {
        (true, None) => Some(format!("V{version}__{name}: contract_<version>_<what>")),
        (_, Some(needs)) if needs > version => {
            Some(format!("V{version}__{name}: no program knows {needs} yet"))
        }
        (false, _) => TAKES_AWAY.iter().find(|word| code.contains(*word)).map(|word| {
            format!("V{version}__{name}: {}, and no contract_<version>_ in its name", word.trim())
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::migrations::all;

    #[test]
    fn programs_say_what_they_know() {
        assert_eq!(version_of(&application_name(None)), Some(wanted_version()));
        assert_eq!(version_of(&application_name(Some("till 3"))), Some(wanted_version()));
        assert_eq!(version_of("waitroom"), Some(8));
        for other in ["", "psql", "waitrooms", "waitroom/", "waitroom/x", "my waitroom/9"] {
            assert_eq!(version_of(other), None, "{other:?}");
        }
    }

    /// What was released before migrations had such names was looked at by hand.
    #[test]
    fn no_migration_takes_away_without_saying_so() {
        let faults = all().into_iter().filter(|m| m.version() > 8);
        let faults = faults.filter_map(|m| fault(m.version(), m.name(), m.sql().unwrap_or_default()));
        assert_eq!(faults.collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_hides_what_it_does_is_found() {
        let drops = "ALTER TABLE bookings\n    drop column nth;";
        assert!(fault(12, "bookings_are_smaller", drops).unwrap().contains("DROP"));
        assert!(fault(12, "contract_drops_nth", drops).unwrap().contains("contract_<version>_"));
        assert!(fault(12, "contract_13_drops_nth", drops).unwrap().contains("13"));
        assert_eq!(fault(12, "contract_11_drops_nth", drops), None);
        assert_eq!(
            fault(12, "bookings_have_a_till", "-- DROP nothing\nALTER TABLE b ADD COLUMN till text"),
            None
        );
    }
}
