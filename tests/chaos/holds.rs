//! Holds on several instances: each ends, is confirmed or released exactly once, whoever does it and whoever dies
//! meanwhile.

use crate::{
    proxy::{Then, When},
    stage::{Holder, Instance, Stage, settings},
};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tokio::{join, time::sleep};
use wire::domain::{
    audit::Actor,
    booking::{Booking, BookingStatus, Confirmation},
    plan::SeatIndex,
    refusal::Refusal,
};

/// How long a keeper may take to see that a hold has ended, and room: each time for which a busy machine could not book is
/// added to the hold.
const PATIENCE: Duration = Duration::from_secs(300);

impl Stage {
    /// One seat for each, held; the holders take turns on the instances.
    pub async fn hold(&self, instances: &[&Instance], holders: &[Holder]) -> Vec<Booking> {
        let held = holders.iter().enumerate().map(async |(i, holder)| {
            let booking =
                self.redeem(instances[i % instances.len()], holder, &[i as SeatIndex]).await.unwrap();
            assert_eq!(booking.status, BookingStatus::Held);
            booking
        });
        join_all(held).await
    }

    pub async fn status(&self, booking: &Booking) -> String {
        let row = format!("SELECT status FROM bookings WHERE id = '{}'", booking.id);
        let client = waitroom::store::postgres::connect::postgres_single(&self.postgres_url).await.unwrap();
        client.query_one(&row, &[]).await.unwrap().get(0)
    }

    pub async fn until_released(&self, bookings: &[Booking]) {
        let started = Instant::now();
        for booking in bookings {
            while self.status(booking).await != "released" {
                assert!(
                    started.elapsed() < PATIENCE,
                    "a hold does not end: {}",
                    self.what_it_waits_for(booking).await
                );
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn what_it_waits_for(&self, booking: &Booking) -> String {
        let row = format!("SELECT b::text || ', now ' || now() FROM bookings b WHERE id = '{}'", booking.id);
        let client = waitroom::store::postgres::connect::postgres_single(&self.postgres_url).await.unwrap();
        let held: String = client.query_one(&row, &[]).await.unwrap().get(0);
        let line: Vec<String> = self.redis(&["HGETALL", &self.key("sale")]).await;
        let clock: Vec<String> = self.redis(&["TIME"]).await;
        format!("{held}; the line has {line:?} at {clock:?}")
    }

    /// The visitor is told, soon, and once.
    pub async fn assert_told(&self, booking: &Booking, status: &str) {
        let started = Instant::now();
        while self.told(booking, status).await == 0 {
            assert!(started.elapsed() < PATIENCE, "{status} is not told");
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.told(booking, status).await, 1, "{status}");
    }

    /// How often the visitor was told that the booking has come to this.
    pub async fn told(&self, booking: &Booking, status: &str) -> usize {
        type Entry = (String, Vec<String>);
        let entries: Vec<Entry> = self.redis(&["XRANGE", &self.key("events"), "-", "+"]).await;
        let id = booking.id.to_string();
        let changes =
            entries.iter().map(|(_, fields)| serde_json::from_str::<serde_json::Value>(&fields[1]).unwrap());
        let all = changes.flat_map(|entry| {
            let lists = ["booked", "freed"].map(|list| entry[list].as_array().cloned().unwrap_or_default());
            lists.concat()
        });
        let told = |change: &serde_json::Value| {
            // What spent a grant answers a redeem; what names nobody is told to nobody.
            let is_news = change["seq"].is_null() && change["visitor"] != "";
            is_news && change["booking"] == id && change["status"] == status
        };
        all.filter(told).count()
    }
}

pub async fn confirmed(instance: &Instance, booking: &Booking) -> bool {
    match instance.room.seats.confirm(booking.id, &Actor::admin()).await.unwrap().unwrap() {
        Confirmation::Confirmed { record, .. } => {
            assert_eq!(
                (record.booking.status, &record.booking.seats),
                (BookingStatus::Confirmed, &booking.seats)
            );
            true
        }
        Confirmation::SeatsGone | Confirmation::GivenBack => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_once_on_three_instances_and_its_seat_and_slot_are_free_once() {
    // Long enough for the second ones to be paid in time on a busy machine.
    let few = wire::domain::sale::SaleSettings { max_active: 12, ..settings(8) };
    let stage = Stage::shared(2, few).await;
    let (a, b, c) = (stage.instance(4).await, stage.instance(4).await, stage.instance(4).await);
    let bookings = stage.hold(&[&a, &b, &c], &stage.holders(&a, 12).await).await;
    stage.until_released(&bookings).await;
    // All slots were held: had one not been freed, not all of these would be admitted.
    let holders = stage.holders(&b, 12).await;
    let again = stage.hold(&[&b, &c, &a], &holders).await;
    for (i, booking) in again.iter().enumerate() {
        assert!(confirmed([&c, &a, &b][i % 3], booking).await);
    }
    for booking in &bookings {
        stage.assert_told(booking, "released").await;
    }
    for booking in &again {
        stage.assert_told(booking, "confirmed").await;
        assert_eq!(stage.told(booking, "released").await, 0);
    }
    stage.assert_sold_right(&[&a, &b, &c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_while_another_instance_ends_the_hold_is_paid() {
    let stage = Stage::shared(2, settings(2)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let bookings = stage.hold(&[&a], &stage.holders(&a, 2).await).await;
    // The payment is first: it is under way when the hold's time is up, and longer.
    let mut trap = a.postgres.trap(When::Before, "COMMIT", Then::Hold);
    let slow = async {
        trap.sprung().await;
        stage.until_released(&bookings[1..]).await;
        assert_eq!(stage.status(&bookings[0]).await, "held");
        trap.release();
    };
    let (paid, ()) = join!(confirmed(&a, &bookings[0]), slow);
    assert!(paid);
    stage.assert_told(&bookings[0], "confirmed").await;
    assert_eq!(stage.told(&bookings[0], "released").await, 0);
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_before_the_line_has_heard_of_the_end_is_paid_and_the_line_hears_that_last() {
    let stage = Stage::shared(2, settings(1)).await;
    let a = stage.instance(4).await;
    let bookings = stage.hold(&[&a], &stage.holders(&a, 1).await).await;
    let mut trap = a.postgres.trap(When::After, "WITH due", Then::Hold);
    trap.sprung().await;
    let b = stage.instance(4).await;
    assert_eq!(stage.status(&bookings[0]).await, "released");
    assert!(confirmed(&b, &bookings[0]).await);
    trap.release();
    sleep(Duration::from_millis(300)).await;
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_late_while_another_buys_the_seat_is_decided_by_who_commits() {
    let late = async |then: Then| {
        let stage = Stage::shared(2, settings(1)).await;
        let (a, b) = (stage.instance(4).await, stage.instance(4).await);
        let holders = stage.holders(&a, 2).await;
        let bookings = stage.hold(&[&a], &holders[..1]).await;
        stage.until_released(&bookings).await;
        stage.assert_told(&bookings[0], "released").await;
        let mut trap = a.postgres.trap(When::Before, "COMMIT", then);
        let rival = async {
            trap.sprung().await;
            let release = async {
                sleep(Duration::from_millis(400)).await;
                trap.release();
            };
            join!(stage.redeem(&b, &holders[1], &[0]), release).0
        };
        let by = Actor::admin();
        let (paid, rival) = join!(a.room.seats.confirm(bookings[0].id, &by), rival);
        if then == Then::Hold {
            assert!(matches!(paid.unwrap(), Some(Confirmation::Confirmed { changed: true, .. })));
            assert_eq!(rival, Err(Refusal::SeatTaken(vec![0])));
            assert!(confirmed(&b, &bookings[0]).await);
        } else {
            // The shop hears of no answer, and repeats it.
            assert!(paid.is_err() && rival.is_ok(), "{rival:?}");
            assert!(!confirmed(&b, &bookings[0]).await);
            assert!(!confirmed(&a, &bookings[0]).await);
        }
        stage.assert_sold_right(&[&a, &b]).await;
    };
    join!(late(Then::Hold), late(Then::Cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_at_the_very_end_of_sixty_holds_with_a_rival_for_each() {
    let stage = Stage::shared(13, settings(60)).await;
    let (a, b, c) = (stage.instance(4).await, stage.instance(4).await, stage.instance(4).await);
    let instances = [&a, &b, &c];
    let holders = stage.holders(&a, 120).await;
    let (holders, rivals) = holders.split_at(60);
    let bookings = stage.hold(&instances, holders).await;
    // They end one after the other, so that payments meet the keepers of all three.
    stage
        .sql("UPDATE bookings SET hold_expires_at = clock_timestamp() + random() * interval '2 seconds'")
        .await;
    let pay = bookings.iter().enumerate().map(async |(i, booking)| {
        sleep(Duration::from_millis(i as u64 * 40)).await;
        let paid = confirmed(instances[i % 3], booking).await;
        assert_eq!(confirmed(instances[(i + 1) % 3], booking).await, paid, "repeated, it is the same");
        paid
    });
    let rival = rivals.iter().enumerate().map(async |(i, rival)| {
        for _ in 0..30 {
            let answer = stage.redeem(instances[(i + 2) % 3], rival, &[i as SeatIndex]).await;
            if answer.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(90)).await;
        }
        false
    });
    let (paid, lost) = join!(join_all(pay), join_all(rival));
    for (paid, lost) in paid.iter().zip(&lost) {
        assert_ne!(paid, lost, "each seat is his who paid, or his who came after him");
    }
    let paid = paid.iter().filter(|paid| **paid).count();
    assert!((5..60).contains(&paid), "{paid} of 60 paid in time: this proves too little");
    stage.assert_sold_right(&instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_released_and_ended_at_the_same_moment_comes_to_one_end_for_all() {
    let stage = Stage::shared(3, settings(60)).await;
    let (a, b, c) = (stage.instance(4).await, stage.instance(4).await, stage.instance(4).await);
    let bookings = stage.hold(&[&a, &b, &c], &stage.holders(&a, 24).await).await;
    let all = bookings.iter().enumerate().map(async |(i, booking)| {
        sleep(Duration::from_millis(i as u64 * 30)).await;
        let end = format!(
            "UPDATE bookings SET hold_expires_at = now() WHERE id = '{}' AND status = 'held'",
            booking.id
        );
        let release = async |instance: &Instance| {
            instance.room.seats.release(booking.id, &Actor::admin()).await.unwrap().unwrap()
        };
        let _ =
            join!(stage.sql(&end), confirmed(&a, booking), release(&b), confirmed(&c, booking), release(&a));
    });
    join_all(all).await;
    stage.assert_sold_right(&[&a, &b, &c]).await;
    for booking in &bookings {
        let status = stage.status(booking).await;
        assert!(["confirmed", "released"].contains(&status.as_str()), "{status}");
        a.room.seats.release(booking.id, &Actor::admin()).await.unwrap().unwrap();
        let told = stage.told(booking, "released").await;
        b.room.seats.release(booking.id, &Actor::admin()).await.unwrap().unwrap();
        assert_eq!(stage.told(booking, "released").await, told, "released again, nothing changes");
    }
    stage.assert_sold_right(&[&a, &b, &c]).await;
}
