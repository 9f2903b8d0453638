//! Whether a sale went right, whatever happened meanwhile: the answers that were given, PostgreSQL and Redis must
//! tell the same story, and each token has one answer from now on.

use crate::stage::{Answered, Holder, Instance, Stage};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use uuid::Uuid;
use waitroom::store::postgres::connect;
use wire::domain::{plan::SeatIndex, refusal::Refusal, seats::SeatSet};

/// Two comparisons with PostgreSQL, and room.
const AGREEMENT: Duration = Duration::from_secs(120);

/// The sale as PostgreSQL has it.
struct Sold {
    bookings: Vec<Row>,
    seats: Vec<(String, Uuid)>,
}

struct Row {
    id: Uuid,
    grant: Uuid,
    visitor: String,
    status: String,
    seats: BTreeSet<String>,
}

impl Row {
    fn lives(&self) -> bool {
        ["held", "confirmed"].contains(&self.status.as_str())
    }
}

impl Stage {
    async fn sold(&self) -> Sold {
        let client = connect::postgres_single(&self.postgres_url).await.unwrap();
        // One look at both tables: a hold that ends between two has a booking and no seats.
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.unwrap();
        let bookings = client
            .query(
                "SELECT id, grant_id, visitor_id, status, seats FROM bookings ORDER BY created_at, id",
                &[],
            )
            .await
            .unwrap();
        let bookings = bookings.iter().map(|row| Row {
            id: row.get(0),
            grant: row.get(1),
            visitor: row.get(2),
            status: row.get(3),
            seats: row.get::<_, Vec<String>>(4).into_iter().collect(),
        });
        let seats = client.query("SELECT seat_id, booking_id FROM booked_seats", &[]).await.unwrap();
        Sold {
            bookings: bookings.collect(),
            seats: seats.iter().map(|row| (row.get(0), row.get(1))).collect(),
        }
    }

    /// What is wrong with what was sold and answered so far.
    pub async fn faults(&self) -> Vec<String> {
        let sold = self.sold().await;
        let answers = self.answers.lock().unwrap().clone();
        let mut faults = faults_of_seats(&sold);
        let mut by_grant: HashMap<Uuid, Vec<&Answered>> = HashMap::new();
        for answer in &answers {
            by_grant.entry(answer.holder.grant.grant_id(&self.sale)).or_default().push(answer);
        }
        for (grant, answers) in by_grant {
            let rows: Vec<&Row> = sold.bookings.iter().filter(|row| row.grant == grant).collect();
            faults.extend(
                self.faults_of_grant(&rows, &answers).into_iter().map(|fault| format!("{grant}: {fault}")),
            );
        }
        faults
    }

    /// What is wrong with one token's answers, in the order in which they were given.
    fn faults_of_grant(&self, rows: &[&Row], answers: &[&Answered]) -> Vec<String> {
        let mut faults = Vec::new();
        if rows.len() > 1 {
            let rows: Vec<_> = rows.iter().map(|row| (&row.status, &row.seats)).collect();
            faults.push(format!("one token, many rows: {rows:?}"));
        }
        let (mut booked, mut ended) = (None, false);
        for Answered { holder, answer, .. } in answers {
            match answer {
                Ok(booking) => {
                    let seats = BTreeSet::from_iter(self.plan.ids_of(&booking.seats));
                    let kept = rows.iter().any(|row| {
                        row.id == booking.id && row.seats == seats && row.visitor == holder.visitor.as_str()
                    });
                    if !kept {
                        faults.push(format!("answered, and not in the table: {:?}", booking.seats));
                    }
                    if booked.is_some_and(|before| before != booking.id) {
                        faults.push("two bookings were answered".to_owned());
                    }
                    if ended {
                        faults.push("its end was told, and then a booking".to_owned());
                    }
                    booked = Some(booking.id);
                }
                Err(Refusal::Busy) => {}
                Err(refusal) => {
                    ended |= !refusal.retry();
                    if booked.is_some() {
                        faults.push(format!("a booking was told, and then {}", refusal.reason()));
                    }
                }
            }
        }
        if ended && rows.iter().any(|row| row.status != "void") {
            faults.push("its end was told, and it has a booking".to_owned());
        }
        faults
    }

    /// Every token gets its one answer: asked again until it is not `busy`, and then on each instance once more.
    async fn ask_again(&self, instances: &[&Instance]) {
        let mut wishes: BTreeMap<_, (Holder, Vec<SeatIndex>)> = BTreeMap::new();
        for Answered { holder, wish, .. } in self.answers.lock().unwrap().iter() {
            wishes.entry(holder.visitor.clone()).or_insert((holder.clone(), wish.clone()));
        }
        for (holder, wish) in wishes.values() {
            let first = self.redeem_surely(instances[0], holder, wish).await;
            for instance in instances {
                let again = self.redeem_surely(instance, holder, wish).await;
                let same = match (&first, &again) {
                    (Ok(first), Ok(again)) => first.id == again.id,
                    (first, again) => first == again,
                };
                assert!(same, "first {first:?}, then {again:?}");
            }
        }
        let sold = self.sold().await;
        let answers = self.answers.lock().unwrap();
        let told: BTreeSet<Uuid> =
            answers.iter().filter_map(|one| Some(one.answer.as_ref().ok()?.id)).collect();
        let untold: Vec<_> =
            sold.bookings.iter().filter(|row| row.status != "void" && !told.contains(&row.id)).collect();
        assert!(untold.is_empty(), "{} bookings were never answered", untold.len());
    }

    /// Where the line, or an instance's map, differs from PostgreSQL.
    pub async fn differences(&self, instances: &[&Instance]) -> Vec<String> {
        let sold = self.sold().await;
        let seats = self.plan.seats.len();
        let taken =
            SeatSet::from_seats(seats, sold.seats.iter().filter_map(|(seat, _)| self.plan.index_of(seat)));
        let held: BTreeSet<String> =
            sold.bookings.iter().filter(|row| row.status == "held").map(|row| row.id.to_string()).collect();
        let mut differences = Vec::new();
        let bitmap: Vec<u8> = self.redis(&["GET", &self.key("booked")]).await;
        let in_redis = SeatSet::from_redis_bitmap(seats, &bitmap);
        if in_redis.to_base64() != taken.to_base64() {
            differences.push(format!("the line's seats: {} taken, not {}", in_redis.len(), taken.len()));
        }
        let held_in_redis: BTreeSet<String> = self.redis(&["SMEMBERS", &self.key("held")]).await;
        if held_in_redis != held {
            differences.push(format!("the line's holds: {}, not {}", held_in_redis.len(), held.len()));
        }
        let fences: usize = self.redis(&["ZCARD", &self.key("fences")]).await;
        if fences > 0 {
            differences.push(format!("{fences} fences stand"));
        }
        let places: HashMap<String, String> = self.redis(&["HGETALL", &self.key("places")]).await;
        let spent = sold.bookings.iter().filter(|row| row.status != "void");
        let live =
            spent.filter(|row| places.get(&row.visitor).is_some_and(|place| place.starts_with('g'))).count();
        if live > 0 {
            differences.push(format!("{live} grants have booked and live"));
        }
        for (i, instance) in instances.iter().enumerate() {
            if instance.room.seats.whole_map().taken != taken.to_base64() {
                differences.push(format!("instance {i} shows other seats"));
            }
        }
        differences
    }

    /// After everything has healed: no seat twice, no token twice, all answers true and final, and soon all agree.
    pub async fn assert_sold_right(&self, instances: &[&Instance]) {
        self.ask_again(instances).await;
        assert_eq!(self.faults().await, Vec::<String>::new());
        self.assert_map_agrees(instances).await;
    }

    /// Within a bounded time PostgreSQL, the line and every instance agree.
    pub async fn assert_map_agrees(&self, instances: &[&Instance]) {
        let started = Instant::now();
        loop {
            let differences = self.differences(instances).await;
            if differences.is_empty() {
                return;
            }
            assert!(started.elapsed() < AGREEMENT, "{differences:#?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The proof fails, and says this.
    pub async fn assert_sold_wrong(&self, fault: &str) {
        let faults = self.faults().await;
        assert!(faults.iter().any(|found| found.contains(fault)), "{fault}: {faults:#?}");
    }
}

fn faults_of_seats(sold: &Sold) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owners: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for row in sold.bookings.iter().filter(|row| row.lives()) {
        row.seats.iter().for_each(|seat| owners.entry(seat).or_default().push(row.id));
        let kept: BTreeSet<String> = sold
            .seats
            .iter()
            .filter(|(_, booking)| *booking == row.id)
            .map(|(seat, _)| seat.clone())
            .collect();
        if kept != row.seats {
            faults.push(format!("a booking of {:?} keeps {kept:?}", row.seats));
        }
    }
    for (seat, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
        faults.push(format!("seat {seat} was sold {} times", owners.len()));
    }
    for (seat, booking) in &sold.seats {
        if !sold.bookings.iter().any(|row| row.id == *booking && row.lives()) {
            faults.push(format!("seat {seat} is kept by nobody"));
        }
    }
    faults
}
