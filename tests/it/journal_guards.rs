//! What keeps two writers of a journal apart, switched off: each of the two guards suffices alone, and without both the
//! chain parts in two, and the proof says so.

use crate::world::{Server, World};
use serde_json::json;
use std::{process::Command, time::Duration};
use tokio::{task::spawn_blocking, time::sleep};
use waitroom::store::{
    journal::{Journal, JournalError, Lease, Record, Tail, Writer},
    line::stream::Entry,
    postgres::connect::{postgres_pool, postgres_single},
};
use wire::domain::{ids::SaleId, line::Position};

/// The head is what it was, and locking it locks nothing: a row that a function made has no lock.
const NO_LOCK: &str = "ALTER TABLE journal_heads RENAME TO unlocked; \
    CREATE FUNCTION heads() RETURNS SETOF unlocked LANGUAGE sql AS 'SELECT * FROM unlocked'; \
    CREATE VIEW journal_heads AS SELECT * FROM heads(); \
    CREATE FUNCTION update_head() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        UPDATE unlocked SET batch = new.batch, epoch = new.epoch, n = new.n, hash = new.hash, source = new.source \
        WHERE sale_id = new.sale_id; RETURN new; END $$; \
    CREATE TRIGGER head INSTEAD OF UPDATE ON journal_heads FOR EACH ROW EXECUTE FUNCTION update_head()";
const LOCK_AGAIN: &str = "DROP VIEW journal_heads; DROP FUNCTION heads, update_head; \
    ALTER TABLE unlocked RENAME TO journal_heads";
const NO_KEYS: &str = "ALTER TABLE journal DROP CONSTRAINT journal_pkey; \
    ALTER TABLE journal_places DROP CONSTRAINT journal_places_pkey; \
    ALTER TABLE journal_batches DROP CONSTRAINT journal_batches_pkey";

/// Who waits for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";

fn journal(url: &str, sale: &str) -> Journal {
    Journal::new(postgres_pool(url, 1).unwrap(), SaleId::parse(sale).unwrap())
}

/// The chain's end, when the server that has stopped has let go of it.
async fn end(journal: &Journal) -> Tail {
    loop {
        if let Lease::Ours(tail) = journal.lease("the test").await.unwrap() {
            return tail;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What comes behind `tail`, as somebody heard it.
fn drawn(tail: &Tail, visitor: &str) -> Record {
    let text = json!({ "at": 1, "drawn": [[visitor, 2, 0, 0]] }).to_string();
    let position = Position { n: tail.position.n + 1, ..tail.position };
    Record::of(Entry::read(position, text.into())).unwrap()
}

/// Two write behind the same end of a sale's chain at the same moment; how many could, what the other was told, and what
/// the proof says of it.
async fn two_write(url: &str, sale: &str, tail: &Tail) -> (Vec<JournalError>, Option<i32>, String) {
    let journal = || journal(url, sale);
    let outside = postgres_single(url).await.unwrap();
    outside.batch_execute("BEGIN; LOCK TABLE journal IN SHARE MODE").await.unwrap();
    let write = async |visitor| journal().append(Writer::Witness, tail, &[drawn(tail, visitor)]).await;
    let both_are_there = async {
        while outside.query_one(WAITING, &[]).await.unwrap().get::<_, i64>(0) < 2 {
            sleep(Duration::from_millis(20)).await;
        }
        outside.batch_execute("COMMIT").await.unwrap();
    };
    let (kim, lee, ()) = tokio::join!(write("kim"), write("lee"), both_are_there);
    let refused = [kim, lee].into_iter().filter_map(Result::err).collect();
    let args = ["check", "--sale", sale, "--postgres-url", url].map(str::to_owned);
    let mut check = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    let output = spawn_blocking(move || check.args(args).env_clear().output().unwrap()).await.unwrap();
    (refused, output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_write_at_once_are_held_apart_by_the_heads_lock_and_by_the_keys() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let mut sales = Vec::new();
    for _ in 0..4 {
        let sale = server.sale(json!({})).await;
        server.join(&sale).await;
        sales.push(sale);
    }
    server.stop().await;
    let url = world.postgres.url();
    let mut ends = Vec::new();
    for sale in &sales {
        ends.push(end(&journal(&url, sale)).await);
    }
    let outside = postgres_single(&url).await.unwrap();
    let mut switched = Vec::new();
    for (i, switch) in ["", NO_LOCK, &format!("{LOCK_AGAIN}; {NO_KEYS}"), NO_LOCK].into_iter().enumerate() {
        outside.batch_execute(switch).await.unwrap();
        switched.push(two_write(&url, &sales[i], &ends[i]).await);
    }
    let refusals =
        ["another instance keeps the journal", "journal_pkey", "another instance keeps the journal"];
    for ((refused, status, said), refusal) in switched.iter().zip(refusals) {
        // Nobody was admitted: of that the proof saw too little.
        assert_eq!((refused.len(), *status), (1, Some(75)), "{said}");
        assert!(format!("{:?} {}", refused[0], refused[0]).contains(refusal), "{refused:?}");
    }
    let (refused, status, said) = &switched[3];
    assert_eq!((refused.len(), *status), (0, Some(99)), "{said}");
}
