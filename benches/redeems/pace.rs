//! How long an answer takes while redeems come at a steady pace.

use crate::{
    median,
    stage::{Holder, Stage, close},
};
use hdrhistogram::Histogram;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};
use waitroom::room::redeems::write_alone;

/// Who is asked.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    WithTheLine,
    Alone,
}

/// Redeems come when they come, so many a second, whether or not those before were answered: p50 and p99 in ms.
async fn measure(stage: &Stage, way: Way, rate: f64) -> (f64, f64) {
    const SECONDS: f64 = 6.0;
    let count = (rate * SECONDS) as usize;
    let (rooms, holders) = match way {
        Way::WithTheLine => stage.sale(count as u32, count).await,
        Way::Alone => (stage.sale(count as u32, 0).await.0, (0..count).map(Holder::stranger).collect()),
    };
    let (to_writer, redeems) = mpsc::channel(count);
    tokio::spawn(write_alone(rooms[0].redeems.clone(), redeems));
    let times = Arc::new(Mutex::new(Histogram::<u64>::new(3).unwrap()));
    let started = tokio::time::Instant::now() + Duration::from_millis(100);
    let mut answers = Vec::new();
    for (i, holder) in holders.into_iter().enumerate() {
        let due = started + Duration::from_secs_f64(i as f64 / rate);
        if due > tokio::time::Instant::now() {
            sleep_until(due).await;
        }
        let (room, times, to_writer) = (rooms[0].clone(), times.clone(), to_writer.clone());
        answers.push(tokio::spawn(async move {
            let redeem = holder.wants(&[i as u32]);
            let answer = if way == Way::Alone {
                let (reply, answer) = oneshot::channel();
                to_writer.send((redeem, reply)).await.unwrap();
                answer.await.unwrap()
            } else {
                room.redeems.redeem(redeem).await
            };
            answer.unwrap();
            let took = due.elapsed().as_micros() as u64;
            times.lock().unwrap().record(took).unwrap();
        }));
    }
    for answer in answers {
        answer.await.unwrap();
    }
    close(&rooms, stage).await;
    let times = times.lock().unwrap();
    (times.value_at_quantile(0.5) as f64 / 1e3, times.value_at_quantile(0.99) as f64 / 1e3)
}

pub async fn all(stage: &Stage, top: [f64; 2]) {
    let ways = [
        ("with the line, half of its top speed", Way::WithTheLine, top[0] / 2.0),
        ("with the line, a third", Way::WithTheLine, top[0] / 3.0),
        ("alone, half of its top speed", Way::Alone, top[1] / 2.0),
    ];
    let mut seen = ways.map(|_| Vec::new());
    for _ in 0..3 {
        for ((_, way, rate), seen) in ways.into_iter().zip(&mut seen) {
            seen.push(measure(stage, way, rate).await);
        }
    }
    for ((name, _, rate), seen) in ways.into_iter().zip(seen) {
        let of = |part: fn(&(f64, f64)) -> f64| median(seen.iter().map(part).collect());
        println!("pace: {name}, {rate:.0} redeems/s: p50 {:.1} ms, p99 {:.1} ms", of(|s| s.0), of(|s| s.1));
    }
}
