//! The live seat map's way to those who watch it: as soon as something changed, and not again before a while.

use super::{Seats, map::SeatNews};
use crate::{
    drain::Drain,
    limits::{SEAT_FRAMES_PER_S, SEAT_NEWS_MAX, SEAT_NEWS_MIN, SEAT_NEWS_PATIENCE},
    room::sockets::{Hub, News},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use wire::domain::line::Position;

/// Sockets told before others may run.
const SLICE: usize = 500;
/// How often the server's leaving is looked for while no seat changes.
const CHECK: Duration = Duration::from_secs(1);

/// Publishes until the server has stopped. Nobody else tells of versions, so they arrive in order.
pub(in crate::room) async fn run(seats: Arc<Seats>, hub: Arc<Hub>, drain: watch::Receiver<Drain>) {
    let changed = seats.map().changed();
    while *drain.borrow() < Drain::Done {
        if timeout(CHECK, changed.notified()).await.is_err() {
            continue;
        }
        let news = seats.map().publish();
        if let Some(news) = news {
            pace(tell(&hub, news).await).await;
        }
    }
}

/// A frame, and how many sockets were given it.
type Published = (Arc<str>, usize);

/// Tells everyone who watches; the frame is written once.
async fn tell(hub: &Hub, SeatNews { version, message, since }: SeatNews) -> Published {
    let frame: Arc<str> = message.to_json().into();
    let watchers = hub.seat_watchers();
    for slice in watchers.chunks(SLICE) {
        for socket in slice {
            socket.tell(Position::default(), News::SeatsChanged(version, frame.clone(), since));
        }
        tokio::task::yield_now().await;
    }
    (frame, watchers.len())
}

/// How long news are gathered after so many sockets were told.
fn gap(sockets: usize) -> Duration {
    let by_budget = Duration::from_secs_f64(sockets as f64 / f64::from(SEAT_FRAMES_PER_S));
    by_budget.clamp(SEAT_NEWS_MIN, SEAT_NEWS_MAX)
}

/// Waits until the next news are due. While most sockets have not even taken the last, because the machine is busy,
/// news gather in the map and not in their lanes, which would overflow. A few that are slow hold up nobody.
async fn pace((frame, sockets): Published) {
    let patience = Instant::now() + SEAT_NEWS_PATIENCE;
    sleep(gap(sockets)).await;
    // One is ours.
    while Arc::strong_count(&frame) - 1 > sockets / 2 && Instant::now() < patience {
        sleep(SEAT_NEWS_MIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::LANE_MAX,
        room::sockets::{Next, Socket},
    };
    use wire::protocol::server::ServerMessage;

    fn news(version: u64) -> SeatNews {
        let message = ServerMessage::SeatsChanged { version, taken: vec![1], freed: vec![] };
        SeatNews { version, message, since: Instant::now() }
    }

    fn watched_by(count: u64) -> (Hub, Vec<Arc<Socket>>) {
        let (hub, sockets) = (Hub::default(), (0..count).map(Socket::new).collect::<Vec<_>>());
        sockets.iter().for_each(|socket| hub.watch_seats(socket));
        (hub, sockets)
    }

    async fn heard(socket: &Socket) -> Option<u64> {
        match socket.next().await? {
            Next::News(_, News::SeatsChanged(version, ..)) => Some(version),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_dropped_and_the_others_miss_nothing() {
        let (hub, sockets) = watched_by(3);
        for version in 1..=LANE_MAX as u64 + 1 {
            tell(&hub, news(version)).await;
            assert_eq!(heard(&sockets[0]).await, Some(version));
            assert_eq!(heard(&sockets[2]).await, Some(version));
        }
        assert_eq!(heard(&sockets[1]).await, None, "its lane was full");
        hub.unwatch_seats(2);
        tell(&hub, news(99)).await;
        assert_eq!(hub.seat_watchers().len(), 2);
        assert!(timeout(Duration::ZERO, heard(&sockets[2])).await.is_err(), "watches no more");
    }

    #[test]
    fn the_more_watch_the_longer_news_are_gathered() {
        assert_eq!([0, 400, 1_000, 2_000, 50_000].map(|told| gap(told).as_millis()), [20, 20, 50, 100, 100]);
    }

    #[tokio::test]
    async fn news_wait_for_a_busy_machine_but_not_for_a_slow_peer() {
        let (hub, sockets) = watched_by(4);
        let told = tell(&hub, news(1)).await;
        for socket in &sockets[1..] {
            heard(socket).await;
        }
        let began = Instant::now();
        pace(told).await;
        assert!(
            (SEAT_NEWS_MIN..SEAT_NEWS_PATIENCE / 2).contains(&began.elapsed()),
            "one of four has not taken it"
        );
        let told = tell(&hub, news(2)).await;
        let reader = tokio::spawn(async move {
            sleep(SEAT_NEWS_MAX * 3).await;
            for socket in &sockets {
                heard(socket).await;
            }
        });
        let began = Instant::now();
        pace(told).await;
        assert!(began.elapsed() >= SEAT_NEWS_MAX * 3, "nobody had taken it before");
        reader.await.unwrap();
    }
}
