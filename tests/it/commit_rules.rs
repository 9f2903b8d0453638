//! Small rules of the commit, and of what becomes of bookings, each by itself.

use crate::{
    bookings::{TERMS, again, alone, booked, new, new_sale},
    world::World,
};
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_postgres::Client;
use uuid::Uuid;
use waitroom::store::{
    bookings::{Bookings, NewBooking, Outcome, Terms},
    postgres::connect::{postgres_pool, postgres_single},
};
use wire::domain::{
    audit::Actor,
    booking::{BookingFilter, BookingRecord, BookingStatus, Confirmation},
    ids::{SaleId, VisitorId},
    plan::Plan,
};

/// For holds whose end a test waits for.
const HELD: Terms = Terms { hold_ttl_s: 1, ..TERMS };

/// Somebody else's transaction that has done something, and has not ended.
struct Other(Client);

impl Other {
    async fn begin(doing: &[String]) -> Self {
        let client = postgres_single(&alone()).await.unwrap();
        // It has to wait for nobody: PostgreSQL would end one of two that wait for each other, and who waits tries again.
        client.batch_execute("BEGIN; SET LOCAL lock_timeout = '100ms'").await.unwrap();
        let this = Self(client);
        this.goes_on(doing).await;
        this
    }

    async fn goes_on(&self, doing: &[String]) {
        for statement in doing {
            self.0.batch_execute(statement).await.unwrap();
        }
    }

    /// Until someone waits for its end.
    async fn is_awaited(&self) {
        let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))";
        let awaited = async {
            while !self.0.query_one(query, &[]).await.unwrap().get::<_, bool>(0) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(120), awaited).await.expect("nobody waits");
    }

    async fn commits(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}

/// A booking of somebody else, that was released: of that grant, with that number among the visitor's.
fn row(sale: &SaleId, grant: Uuid, visitor: &str, nth: i32) -> String {
    format!(
        "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats, nth) \
         VALUES (gen_random_uuid(), '{sale}', '{grant}', '{visitor}', 'released', '{{A-1}}', {nth})"
    )
}

fn taken(sale: &SaleId, seat: &str) -> String {
    format!(
        "INSERT INTO booked_seats (sale_id, seat_id, booking_id) VALUES ('{sale}', '{seat}', gen_random_uuid())"
    )
}

/// Waits until the time of holds is up; answers a time after that.
async fn due(bookings: &Bookings) -> Timestamp {
    loop {
        match bookings.hold_due().await.unwrap() {
            Some(_) => return Timestamp::now() + SignedDuration::from_secs(60),
            None => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn status(bookings: &Bookings, id: Uuid) -> BookingStatus {
    bookings.one(id).await.unwrap().unwrap().booking.status
}

async fn seats(bookings: &Bookings) -> Vec<u32> {
    bookings.booked().await.unwrap().0.iter().collect()
}

/// Nothing at all is known of it.
async fn assert_empty(bookings: &Bookings, visitor: &VisitorId, ids: &[Uuid]) {
    assert_eq!(bookings.spent_grants().await.unwrap(), []);
    assert_eq!(bookings.visitors().await.unwrap(), []);
    assert_eq!(bookings.by_visitor(visitor).await.unwrap(), []);
    let (seats, held) = bookings.booked().await.unwrap();
    assert!(seats.is_empty() && held.is_empty(), "{held:?}");
    assert!(!bookings.any_held().await.unwrap() && bookings.hold_due().await.unwrap().is_none());
    assert_eq!(bookings.confirmed().await.unwrap(), 0);
    let survey = bookings.survey().await.unwrap();
    assert!(survey.bookings.is_empty() && survey.seats.is_empty(), "{survey:?}");
    let export = bookings.export(&BookingFilter::default()).await.unwrap();
    assert!(export.try_collect::<Vec<_>>().await.unwrap().is_empty());
    for id in ids {
        assert!(bookings.one(*id).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_has_nothing_of_its_neighbours() {
    let ((ours, _), (theirs, _)) = (new_sale(&alone()).await, new_sale(&alone()).await);
    let (kim, lee) = (new(1, &[0, 1, 2]), new(2, &[3]));
    ours.commit(std::slice::from_ref(&kim), TERMS).await;
    ours.commit(std::slice::from_ref(&lee), HELD).await;
    let end = due(&ours).await;
    assert_empty(&theirs, &kim.visitor, &[kim.id, lee.id]).await;
    assert!(theirs.expire_holds(end).await.unwrap().is_empty());
    assert!(theirs.shift_holds(3_600_000).await.unwrap());
    for id in [kim.id, lee.id] {
        assert!(theirs.confirm(id, &Actor::admin()).await.unwrap().is_none());
        assert!(theirs.release(id, &Actor::admin()).await.unwrap().is_none());
    }
    let four = NewBooking { owned: 1, ..new(1, &[0, 1, 2, 3]) };
    assert!(booked(&theirs.commit(&[four], TERMS).await[0]), "what he has elsewhere is no matter here");
    assert_eq!(seats(&ours).await, [0, 1, 2, 3]);
    assert_eq!(ours.expire_holds(end).await.unwrap().len(), 1, "nobody put it off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_row_is_no_booking_and_counts_for_none() {
    let (bookings, sale) = new_sale(&alone()).await;
    let kim = new(1, &[]);
    bookings.void(&[(kim.visitor.clone(), kim.grant)]).await.unwrap();
    let query = "SELECT id FROM bookings WHERE sale_id = $1";
    let row = postgres_single(&alone()).await.unwrap().query_one(query, &[&sale.as_str()]).await.unwrap();
    assert_empty(&bookings, &kim.visitor, &[row.get(0)]).await;
    // The first booking has the number of the first, whether or not the line knows of any.
    let known = NewBooking { owned: 1, ..again(2, &[0, 1, 2]) };
    assert!(booked(&bookings.commit(&[known], TERMS).await[0]));
    let outcomes = bookings.commit(&[again(3, &[3, 4])], TERMS).await;
    assert!(matches!(outcomes[0], Outcome::TooManySeats), "{outcomes:?}");
}

/// Nobody who waits for the outcome of a batch hears another's.
#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_batch_is_told_one_by_one() {
    let (bookings, _) = new_sale(&alone()).await;
    let [mine, voided, other, never] = [new(1, &[0, 1]), new(2, &[2]), new(3, &[3]), new(4, &[4])];
    bookings.commit(std::slice::from_ref(&mine), TERMS).await;
    bookings.void(&[(voided.visitor.clone(), voided.grant)]).await.unwrap();
    bookings.commit(&[NewBooking { id: Uuid::now_v7(), ..other.clone() }], TERMS).await;
    let batch = [mine.clone(), voided, other, never.clone()];
    // Whoever asks changes nothing.
    for _ in 0..2 {
        let outcomes = bookings.settle(&batch).await.unwrap();
        assert!(
            matches!(&outcomes[..], [
                Outcome::Booked(booking), Outcome::GrantSpent, Outcome::GrantSpent, Outcome::NotBooked
            ] if booking.id == mine.id && booking.seats == [0, 1]),
            "{outcomes:?}"
        );
    }
    assert!(booked(&bookings.commit(&[never], TERMS).await[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_of_one_visitor_in_one_batch_are_counted_together() {
    for others in [0, 20] {
        let (bookings, _) = new_sale(&alone()).await;
        let others = (10..10 + others).map(|seat| new(100 + u64::from(seat), &[seat]));
        let batch: Vec<_> =
            [new(1, &[0, 1]), again(2, &[2, 3]), again(3, &[4])].into_iter().chain(others).collect();
        let outcomes = bookings.commit(&batch, TERMS).await;
        assert!(matches!(outcomes[2], Outcome::TooManySeats), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| booked(outcome)).count(), batch.len() - 1);
    }
}

/// The numbers of his bookings may have a gap then.
#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_first_of_two_bookings_may_book_on() {
    let (bookings, _) = new_sale(&alone()).await;
    bookings.commit(&[new(9, &[0])], TERMS).await;
    let outcomes = bookings.commit(&[new(1, &[0]), again(2, &[1])], TERMS).await;
    assert!(matches!(&outcomes[0], Outcome::SeatsTaken(seats) if *seats == [0]), "{outcomes:?}");
    assert!(booked(&outcomes[1]), "{outcomes:?}");
    let next = NewBooking { owned: 1, ..again(3, &[2]) };
    assert!(booked(&bookings.commit(&[next], TERMS).await[0]));
}

/// That his grant has booked comes before all that could be said of the seats that he wants now.
#[tokio::test(flavor = "multi_thread")]
async fn a_spent_grant_is_told_before_too_many_seats() {
    let (bookings, _) = new_sale(&alone()).await;
    bookings.commit(&[new(1, &[0, 1, 2]), new(9, &[9])], TERMS).await;
    let outcomes = bookings.commit(&[new(1, &[4, 5]), new(8, &[9])], TERMS).await;
    assert!(matches!(outcomes[..], [Outcome::GrantSpent, Outcome::SeatsTaken(_)]), "{outcomes:?}");
}

/// Twice while this batch is under way the visitor books elsewhere: nobody says that he has too many seats, as he has not.
#[tokio::test(flavor = "multi_thread")]
async fn who_books_elsewhere_in_this_very_moment_is_asked_to_try_again() {
    let (bookings, sale) = new_sale(&alone()).await;
    let first = Other::begin(&[row(&sale, Uuid::now_v7(), "v1", 0)]).await;
    let second = Other::begin(&[row(&sale, Uuid::now_v7(), "v1", 1)]).await;
    let committing = tokio::spawn({
        let bookings = bookings.clone();
        async move { bookings.commit(&[new(1, &[0])], TERMS).await }
    });
    for other in [first, second] {
        other.is_awaited().await;
        other.commits().await;
    }
    let outcomes = committing.await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::NotBooked]), "{outcomes:?}");
    assert!(seats(&bookings).await.is_empty());
    assert!(booked(&bookings.commit(&[new(1, &[0])], TERMS).await[0]));
}

/// Everyone takes grants in one order, and then seats in one order: who waits for the first has nothing that its owner could want
/// next.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_has_nothing_that_comes_later() {
    let mut grants = [1, 2].map(|seq| new(seq, &[(seq * 3) as u32]));
    for way in ["commit", "settle", "void"] {
        let (bookings, sale) = new_sale(&alone()).await;
        grants.sort_by_key(|new| std::cmp::Reverse(new.grant.grant_id(&sale)));
        let [last, first] = [0, 1].map(|i| row(&sale, grants[i].grant.grant_id(&sale), "other", i as i32));
        let other = Other::begin(&[first]).await;
        let waiting = tokio::spawn({
            let (bookings, grants) = (bookings.clone(), grants.clone());
            async move {
                match way {
                    "commit" => bookings.commit(&grants, TERMS).await,
                    "settle" => bookings.settle(&grants).await.unwrap(),
                    _ => {
                        let turns = grants.map(|new| (new.visitor, new.grant));
                        bookings.void(&turns).await.unwrap();
                        Vec::new()
                    }
                }
            }
        });
        other.is_awaited().await;
        other.goes_on(&[last]).await;
        other.commits().await;
        let outcomes = waiting.await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::GrantSpent)), "{way}: {outcomes:?}");
    }
    let (bookings, sale) = new_sale(&alone()).await;
    let other = Other::begin(&[taken(&sale, "A-1")]).await;
    grants.sort_by_key(|new| new.grant.grant_id(&sale));
    let batch = [5, 0].into_iter().zip(grants).map(|(seat, new)| NewBooking { seats: vec![seat], ..new });
    let waiting = tokio::spawn({
        let (bookings, batch) = (bookings.clone(), batch.collect::<Vec<_>>());
        async move { bookings.commit(&batch, TERMS).await }
    });
    other.is_awaited().await;
    other.goes_on(&[taken(&sale, "A-6")]).await;
    other.commits().await;
    let outcomes = waiting.await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::SeatsTaken(_), Outcome::SeatsTaken(_)]), "{outcomes:?}");
}

/// A connection whose work was given up may have it under way still: whoever got it next would commit it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_hung_leaves_nothing_to_whoever_comes_next() {
    let world = World::new();
    let (bookings, _) = new_sale(&world.postgres.url()).await;
    // Two connections are open, so that what asks for the outcome does not undo by chance what hung on its own.
    let (one, two) = ([new(1, &[0])], [new(4, &[3])]);
    tokio::join!(bookings.commit(&one, TERMS), bookings.commit(&two, TERMS));
    world.postgres.freeze();
    let late = new(2, &[1]);
    let outcomes = bookings.commit(std::slice::from_ref(&late), TERMS).await;
    world.postgres.thaw();
    assert!(matches!(outcomes[..], [Outcome::Unknown]), "{outcomes:?}");
    let outcomes = bookings.settle(&[late]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::NotBooked]), "{outcomes:?}");
    assert!(booked(&bookings.commit(&[new(3, &[2])], TERMS).await[0]));
    assert_eq!(seats(&bookings).await, [0, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_being_changed_keeps_no_other_waiting() {
    let (bookings, _) = new_sale(&alone()).await;
    let (kim, lee) = (new(1, &[0]), new(2, &[1]));
    bookings.commit(&[kim.clone(), lee.clone()], HELD).await;
    let end = due(&bookings).await;
    let other = Other::begin(&[format!("SELECT FROM bookings WHERE id = '{}' FOR UPDATE", kim.id)]).await;
    let ended = async || -> Vec<Uuid> {
        bookings.expire_holds(end).await.unwrap().into_iter().map(|record| record.booking.id).collect()
    };
    assert_eq!(ended().await, [lee.id]);
    other.commits().await;
    assert_eq!(ended().await, [kim.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_outage_only_what_is_new_is_added_to_a_hold() {
    let (bookings, _) = new_sale(&alone()).await;
    let kim = new(1, &[0]);
    bookings.commit(std::slice::from_ref(&kim), Terms { hold_ttl_s: 600, ..TERMS }).await;
    let end = async || bookings.one(kim.id).await.unwrap().unwrap().booking.hold_expires_at.unwrap();
    let before = end().await;
    for shift_ms in [3000, 5000, 5000, 4000] {
        bookings.shift_holds(shift_ms).await.unwrap();
    }
    assert_eq!(end().await.duration_since(before), SignedDuration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_books_what_is_free_and_was_not_given_back() {
    let (bookings, sale) = new_sale(&alone()).await;
    let (kim, lee) = (new(1, &[0]), new(2, &[1]));
    bookings.commit(&[kim.clone(), lee.clone()], HELD).await;
    let end = due(&bookings).await;
    assert_eq!(bookings.expire_holds(end).await.unwrap().len(), 2);
    let by = Actor::admin();
    let client = postgres_single(&alone()).await.unwrap();
    let block = async |blocked: bool| {
        let query = "UPDATE seats SET blocked = $2 WHERE sale_id = $1 AND position = 0";
        client.execute(query, &[&sale.as_str(), &blocked]).await.unwrap();
    };
    block(true).await;
    assert!(matches!(bookings.confirm(kim.id, &by).await.unwrap(), Some(Confirmation::SeatsGone)));
    block(false).await;
    let confirmed = bookings.confirm(kim.id, &by).await.unwrap();
    assert!(matches!(confirmed, Some(Confirmation::Confirmed { changed: true, .. })));
    assert_eq!(
        (status(&bookings, kim.id).await, seats(&bookings).await),
        (BookingStatus::Confirmed, vec![0])
    );
    // Its hold ran out before, so its seats are free already; it is given back, and said to be, all the same.
    for _ in 0..2 {
        assert!(!bookings.release(lee.id, &by).await.unwrap().unwrap().1);
    }
    assert!(matches!(bookings.confirm(lee.id, &by).await.unwrap(), Some(Confirmation::GivenBack)));
    let query = "SELECT action FROM audit WHERE booking_id = $1";
    let told = client.query(query, &[&lee.id]).await.unwrap();
    assert_eq!(told.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["booking released"]);
}

/// What is told last is how it stands.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_a_booking_that_is_being_told() {
    let (bookings, sale) = new_sale(&alone()).await;
    let kim = new(1, &[0]);
    bookings.commit(std::slice::from_ref(&kim), TERMS).await;
    let pool = postgres_pool(&alone(), 1).unwrap();
    let pid: i32 = pool.get().await.unwrap().query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let plan = Plan::parse(crate::world::plan(4, 10).to_string().as_bytes()).unwrap();
    let operators = Bookings::new(pool, sale, Arc::new(plan));
    let watching = postgres_single(&alone()).await.unwrap();
    let (begin, begun) = oneshot::channel();
    let releasing = tokio::spawn(async move {
        begun.await.unwrap();
        operators.release(kim.id, &Actor::admin()).await.unwrap().unwrap().1
    });
    let tell = |record: BookingRecord| {
        assert_eq!(record.booking.status, BookingStatus::Confirmed);
        begin.send(()).unwrap();
        async {
            let query = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            while !watching.query_one(query, &[&pid]).await.unwrap().get::<_, bool>(0) {
                assert!(!releasing.is_finished(), "it was changed meanwhile");
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
    };
    bookings.present(kim.id, tell).await.unwrap();
    assert!(releasing.await.unwrap());
}
