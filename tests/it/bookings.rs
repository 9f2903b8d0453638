//! Bookings in a real PostgreSQL: batches that collide, grants that are spent, holds.

use crate::world::{World, plan};
use jiff::Timestamp;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};
use uuid::Uuid;
use waitroom::{
    domain::{
        booking::BookingStatus,
        ids::{GrantKey, SaleId, VisitorId},
        plan::{Plan, SeatIndex},
        sale::SaleSettings,
        seats::SeatSet,
    },
    store::{
        bookings::{Bookings, Confirmation, NewBooking, Verdict},
        connect, migrations,
        sales::{NewSale, Sales},
    },
};

async fn bookings() -> Bookings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The other tests' instances open every sale that they find, and would end these holds themselves.
    static ALONE: OnceLock<World> = OnceLock::new();
    let url = ALONE.get_or_init(World::new).postgres.url();
    migrations::run(&url).await.unwrap();
    let pool = connect::postgres_pool(&url, 4).unwrap();
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
    assert!(Sales::new(pool.clone()).create(&new).await.unwrap());
    Bookings::new(pool, id, Arc::new(plan))
}

fn new(seq: u64, seats: &[SeatIndex]) -> NewBooking {
    NewBooking {
        id: Uuid::now_v7(),
        grant: GrantKey { seq, turn: 0 },
        visitor: VisitorId::parse(&format!("v{seq}")).unwrap(),
        seats: seats.to_vec(),
        together: false,
    }
}

fn booked(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Booked(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_books_and_a_colliding_one_books_what_it_can() {
    let bookings = bookings().await;
    let first = bookings.commit(&[new(1, &[0, 1]), new(2, &[5])], 0).await;
    assert!(first.iter().all(booked), "{first:?}");
    let second = bookings.commit(&[new(3, &[1, 2]), new(4, &[3, 4]), new(2, &[9])], 0).await;
    assert!(matches!(&second[0], Verdict::SeatsTaken(seats) if *seats == [1]), "{second:?}");
    assert!(booked(&second[1]));
    assert!(matches!(second[2], Verdict::GrantSpent), "one booking a grant");
    let (taken, _) = bookings.taken().await.unwrap();
    assert_eq!(taken.iter().collect::<Vec<_>>(), [0, 1, 3, 4, 5], "of the loser nothing was kept");
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
            bookings.commit(&batch, 0).await
        })
    });
    let mut sold = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        for verdict in writer.await.unwrap() {
            match verdict {
                Verdict::Booked(booking) => sold.extend(booking.seats),
                Verdict::SeatsTaken(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let count = sold.len();
    sold.sort_unstable();
    sold.dedup();
    assert_eq!(sold.len(), count, "a seat was sold twice");
    assert_eq!(bookings.taken().await.unwrap().0.iter().collect::<Vec<_>>(), sold);
}

fn sorted(mut pair: [SeatIndex; 2]) -> [SeatIndex; 2] {
    pair.sort_unstable();
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_row_fences_a_late_commit_and_is_never_shown() {
    let bookings = bookings().await;
    let late = new(1, &[0]);
    assert!(bookings.void(&late.visitor, late.grant).await.unwrap().is_none());
    let verdicts = bookings.commit(std::slice::from_ref(&late), 0).await;
    assert!(matches!(verdicts[0], Verdict::GrantSpent), "{verdicts:?}");
    assert!(bookings.taken().await.unwrap().0.is_empty());
    assert!(bookings.by_visitor(&late.visitor).await.unwrap().is_empty());
    assert!(bookings.by_grants(&[late.grant]).await.unwrap().is_empty());
    // And the other way round: what has booked is found.
    let early = new(2, &[1]);
    assert!(booked(&bookings.commit(std::slice::from_ref(&early), 0).await[0]));
    let found = bookings.void(&early.visitor, early.grant).await.unwrap().unwrap();
    assert_eq!(found.booking.id, early.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_end_once_and_come_back_only_while_their_seats_are_free() {
    let bookings = bookings().await;
    let (kim, lee) = (new(1, &[0, 1]), new(2, &[2]));
    bookings.commit(&[kim.clone(), lee.clone()], 1).await;
    assert!(bookings.expire_holds(Timestamp::now()).await.unwrap().is_empty(), "not before their time");
    // An outage is added once, however many instances add it.
    assert!(bookings.shift_holds(700).await.unwrap());
    assert!(!bookings.shift_holds(700).await.unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert!(bookings.expire_holds(Timestamp::now()).await.unwrap().is_empty(), "the outage counts");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let (one, other) =
        tokio::join!(bookings.expire_holds(Timestamp::now()), bookings.expire_holds(Timestamp::now()));
    assert_eq!(one.unwrap().len() + other.unwrap().len(), 2, "each hold ends once");
    assert!(booked(&bookings.commit(&[new(3, &[1])], 0).await[0]), "the seats are free again");
    assert!(matches!(bookings.confirm(kim.id).await.unwrap(), Some(Confirmation::SeatsGone)));
    let confirmed = bookings.confirm(lee.id).await.unwrap();
    assert!(matches!(confirmed, Some(Confirmation::Confirmed { changed: true, .. })));
    let (released, changed) = bookings.release(lee.id).await.unwrap().unwrap();
    assert!(changed && released.booking.status == BookingStatus::Released);
    assert!(!bookings.release(lee.id).await.unwrap().unwrap().1, "repeated, it changes nothing");
    assert_eq!(bookings.taken().await.unwrap().0.iter().collect::<Vec<_>>(), [1]);
}
