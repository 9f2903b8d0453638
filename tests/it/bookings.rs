//! Bookings in a real PostgreSQL: batches that collide, grants that are spent, holds.

use crate::world::{World, plan};
use jiff::Timestamp;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};
use uuid::Uuid;
use waitroom::store::{
    bookings::{Bookings, NewBooking, Outcome, Terms},
    postgres::{connect, migrations},
    sales::Sales,
};
use wire::domain::{
    audit::Actor,
    booking::{BookingStatus, Confirmation},
    ids::{GrantKey, SaleId, VisitorId},
    plan::{Plan, SeatIndex},
    sale::{NewSale, SaleSettings},
    seats::SeatSet,
};

/// Where no instance is: it would end these holds itself.
pub fn alone() -> String {
    static ALONE: OnceLock<World> = OnceLock::new();
    ALONE.get_or_init(World::new).postgres.url()
}

async fn bookings() -> Bookings {
    bookings_in(&alone()).await
}

async fn bookings_in(url: &str) -> Bookings {
    new_sale(url).await.0
}

/// The bookings of a new sale, and its id.
pub async fn new_sale(url: &str) -> (Bookings, SaleId) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    migrations::run(url).await.unwrap();
    let pool = connect::postgres_pool(url, 4).unwrap();
    let id = SaleId::parse(&format!("bookings-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap();
    let json = plan(4, 10).to_string();
    let plan = Plan::parse(json.as_bytes()).unwrap();
    let settings = SaleSettings {
        opens_at: None,
        rate: 1.0,
        max_active: 1,
        grant_ttl_s: 60,
        claim_s: 60,
        away_s: 60,
        max_seats: 4,
        hold_ttl_s: 0,
    };
    let blocked = SeatSet::new(plan.seats.len());
    let new = NewSale {
        id: &id,
        name: "Test",
        plan_json: json.as_bytes(),
        plan: &plan,
        settings: &settings,
        anonymous: true,
        blocked: &blocked,
    };
    assert!(Sales::new(pool.clone()).create(&new, &Actor::admin()).await.unwrap());
    (Bookings::new(pool, id.clone(), Arc::new(plan)), id)
}

pub const TERMS: Terms = Terms { hold_ttl_s: 0, max_seats: 4 };

pub fn new(seq: u64, seats: &[SeatIndex]) -> NewBooking {
    NewBooking {
        id: Uuid::now_v7(),
        grant: GrantKey { seq, turn: 0 },
        visitor: VisitorId::parse(&format!("v{seq}")).unwrap(),
        owned: 0,
        seats: seats.to_vec(),
        together: false,
    }
}

pub fn booked(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Booked(_))
}

/// A small batch is one statement, a bigger one goes by COPY: both must be all that they should be.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_books_and_a_colliding_one_books_what_it_can() {
    for others in [0, 20] {
        let bookings = bookings().await;
        let more = |seats: std::ops::Range<u32>| seats.map(|seat| new(100 + u64::from(seat), &[seat]));
        let batch: Vec<_> =
            [new(1, &[0, 1]), new(2, &[5])].into_iter().chain(more(10..10 + others)).collect();
        let first = bookings.commit(&batch, TERMS).await;
        assert!(first.iter().all(booked), "{first:?}");
        let colliding = [new(3, &[1, 2]), new(4, &[3, 4]), new(2, &[9]), again(5, &[6, 7, 8])];
        let batch: Vec<_> = colliding.into_iter().chain(more(30..30 + others / 2)).collect();
        let second = bookings.commit(&batch, TERMS).await;
        assert!(matches!(&second[0], Outcome::SeatsTaken(seats) if *seats == [1]), "{second:?}");
        assert!(booked(&second[1]));
        assert!(matches!(second[2], Outcome::GrantSpent), "one booking a grant");
        assert!(matches!(second[3], Outcome::TooManySeats), "five seats of four");
        assert!(second[4..].iter().all(booked), "{second:?}");
        let (taken, _) = bookings.booked().await.unwrap();
        let mut sold: Vec<_> = vec![0, 1, 3, 4, 5];
        sold.extend((10..10 + others).chain(30..30 + others / 2));
        assert_eq!(taken.iter().collect::<Vec<_>>(), sold, "of the losers nothing was kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_want_the_same_seats_neither_sell_twice_nor_deadlock() {
    let bookings = bookings().await;
    // Each of eight writers wants every seat, in batches that overlap all others.
    let writers = (0..8u64).map(|writer| {
        let bookings = bookings.clone();
        tokio::spawn(async move {
            let batch: Vec<_> = (0..20u32)
                .map(|i| {
                    let first = (i * 2 + writer as u32) % 40;
                    new(1000 * writer + u64::from(i), &sorted([first, (first + 1) % 40]))
                })
                .collect();
            bookings.commit(&batch, TERMS).await
        })
    });
    let mut sold = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        for outcome in writer.await.unwrap() {
            match outcome {
                Outcome::Booked(booking) => sold.extend(booking.seats),
                Outcome::SeatsTaken(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let count = sold.len();
    sold.sort_unstable();
    sold.dedup();
    assert_eq!(sold.len(), count, "a seat was sold twice");
    assert_eq!(bookings.booked().await.unwrap().0.iter().collect::<Vec<_>>(), sold);
}

fn sorted(mut pair: [SeatIndex; 2]) -> [SeatIndex; 2] {
    pair.sort_unstable();
    pair
}

/// Another grant of the visitor of `seq` 1, of whose bookings the line has lost sight.
pub fn again(seq: u64, seats: &[SeatIndex]) -> NewBooking {
    NewBooking { visitor: VisitorId::parse("v1").unwrap(), ..new(seq, seats) }
}

#[tokio::test(flavor = "multi_thread")]
async fn max_seats_holds_over_all_bookings_whatever_the_line_believes() {
    let bookings = bookings().await;
    assert!(booked(&bookings.commit(&[new(1, &[0, 1, 2])], TERMS).await[0]));
    let batch = [again(2, &[3, 4]), new(3, &[5])];
    let outcomes = bookings.commit(&batch, TERMS).await;
    assert!(matches!(outcomes[0], Outcome::TooManySeats), "{outcomes:?}");
    assert!(booked(&outcomes[1]), "{outcomes:?}");
    assert!(booked(&bookings.commit(&[again(4, &[3])], TERMS).await[0]), "four are allowed");
    let known = NewBooking { owned: 4, ..again(5, &[9]) };
    assert!(matches!(bookings.commit(&[known], TERMS).await[0], Outcome::TooManySeats));
    // What was released is his to book anew.
    let id = bookings.by_visitor(&new(1, &[]).visitor).await.unwrap()[0].id;
    bookings.release(id, &Actor::admin()).await.unwrap();
    let known = NewBooking { owned: 1, ..again(6, &[0, 1, 2]) };
    assert!(booked(&bookings.commit(&[known], TERMS).await[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_book_for_one_visitor_at_once_give_him_no_more_than_he_may_have() {
    let bookings = bookings().await;
    let commits = (0..8u32).map(|i| {
        let (bookings, mine) = (bookings.clone(), again(u64::from(i), &[3 * i, 3 * i + 1, 3 * i + 2]));
        tokio::spawn(async move { bookings.commit(&[mine], TERMS).await.remove(0) })
    });
    let outcomes: Vec<Outcome> =
        futures_util::future::join_all(commits).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| booked(outcome)).count(), 1, "{outcomes:?}");
    assert_eq!(bookings.booked().await.unwrap().0.len(), 3);
}

/// The bug planted: without the key on a visitor's bookings the line's mistake is PostgreSQL's too.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_max_seats_would_not_hold() {
    let world = World::new();
    migrations::run(&world.postgres.url()).await.unwrap();
    let client = connect::postgres_single(&world.postgres.url()).await.unwrap();
    client.batch_execute("DROP INDEX bookings_nth_of_visitor").await.unwrap();
    let bookings = bookings_in(&world.postgres.url()).await;
    assert!(booked(&bookings.commit(&[new(1, &[0, 1, 2])], TERMS).await[0]));
    assert!(
        booked(&bookings.commit(&[again(2, &[3, 4])], TERMS).await[0]),
        "five seats, although four are allowed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_row_fences_a_late_commit_and_is_never_shown() {
    let bookings = bookings().await;
    let late = new(1, &[0]);
    assert!(bookings.void(&[(late.visitor.clone(), late.grant)]).await.unwrap().is_empty());
    let outcomes = bookings.commit(std::slice::from_ref(&late), TERMS).await;
    assert!(matches!(outcomes[0], Outcome::GrantSpent), "{outcomes:?}");
    assert!(bookings.booked().await.unwrap().0.is_empty());
    assert!(bookings.by_visitor(&late.visitor).await.unwrap().is_empty());
    assert!(bookings.by_grants(&[late.grant]).await.unwrap().is_empty());
    // And the other way round: what has booked is found.
    let early = new(2, &[1]);
    assert!(booked(&bookings.commit(std::slice::from_ref(&early), TERMS).await[0]));
    let found = bookings.void(&[(early.visitor.clone(), early.grant)]).await.unwrap();
    assert_eq!(found.into_values().map(|record| record.booking.id).collect::<Vec<_>>(), [early.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_end_once_and_come_back_only_while_their_seats_are_free() {
    let bookings = bookings().await;
    let (kim, lee) = (new(1, &[0, 1]), new(2, &[2]));
    bookings.commit(&[kim.clone(), lee.clone()], Terms { hold_ttl_s: 2, ..TERMS }).await;
    assert!(bookings.expire_holds(Timestamp::now()).await.unwrap().is_empty(), "not before their time");
    // An outage is added once, however many instances add it.
    assert!(bookings.shift_holds(3000).await.unwrap());
    assert!(!bookings.shift_holds(3000).await.unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    assert!(bookings.expire_holds(Timestamp::now()).await.unwrap().is_empty(), "the outage counts");
    tokio::time::sleep(std::time::Duration::from_millis(3000)).await;
    let (one, other) =
        tokio::join!(bookings.expire_holds(Timestamp::now()), bookings.expire_holds(Timestamp::now()));
    assert_eq!(one.unwrap().len() + other.unwrap().len(), 2, "each hold ends once");
    assert!(booked(&bookings.commit(&[new(3, &[1])], TERMS).await[0]), "the seats are free again");
    assert!(matches!(
        bookings.confirm(kim.id, &Actor::admin()).await.unwrap(),
        Some(Confirmation::SeatsGone)
    ));
    let confirmed = bookings.confirm(lee.id, &Actor::admin()).await.unwrap();
    assert!(matches!(confirmed, Some(Confirmation::Confirmed { changed: true, .. })));
    let (released, changed) = bookings.release(lee.id, &Actor::admin()).await.unwrap().unwrap();
    assert!(changed && released.booking.status == BookingStatus::Released);
    assert!(
        !bookings.release(lee.id, &Actor::admin()).await.unwrap().unwrap().1,
        "repeated, it changes nothing"
    );
    assert_eq!(bookings.booked().await.unwrap().0.iter().collect::<Vec<_>>(), [1]);
}
