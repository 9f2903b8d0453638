//! A crowd that is sent from one instance to another.

use crate::{
    crowd::{join, text, until},
    stage::Stage,
};
use futures_util::future::join_all;
use rustix::process::{Signal, kill_process};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore, time::sleep_until};

/// Visitors that are on their way in at once.
const AT_ONCE: usize = 300;

/// What became of one.
struct Moved {
    /// When his old socket was closed, and when he had his place again, since the signal.
    closed: Duration,
    back: Duration,
    tries: u32,
    keeps_his_rank: bool,
    /// He stays: who leaves would make the others' ranks fall.
    _stream: TcpStream,
}

pub async fn leave(stage: &mut Stage, count: usize, reads: bool) {
    let (old, new) = (stage.instances[0].pid(), &stage.instances[1]);
    let door = Arc::new(Semaphore::new(AT_ONCE));
    let coming = (0..count).map(|n| {
        let (door, address) = (door.clone(), stage.instances[0].address(n));
        tokio::spawn(async move {
            let _permit = door.acquire_owned().await;
            join(address, "").await
        })
    });
    let crowd: Vec<_> = join_all(coming.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
    let began = Instant::now();
    kill_process(old, Signal::TERM).unwrap();
    let mut moved = Vec::new();
    if reads {
        let moving = crowd.into_iter().enumerate();
        let moving =
            moving.map(|(n, (stream, joined))| tokio::spawn(goes_on(stream, joined, new.address(n), began)));
        let all = join_all(moving.collect::<Vec<_>>()).await;
        moved = all.into_iter().filter_map(Result::unwrap).collect();
    }
    let status = tokio::task::block_in_place(|| stage.instances[0].wait());
    let took = began.elapsed().as_secs_f64();
    print!(
        "{count} sockets, {}: it ended with {status:?} after {took:.1} s",
        if reads { "all read" } else { "none reads" }
    );
    if moved.is_empty() {
        return println!();
    }
    let mut away: Vec<_> = moved.iter().map(|one| one.back.saturating_sub(one.closed)).collect();
    away.sort_unstable();
    let mut back: Vec<_> = moved.iter().map(|one| one.back.as_secs()).collect();
    back.sort_unstable();
    let busiest = back.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0);
    let (first, kept) = (
        moved.iter().filter(|one| one.tries == 1).count(),
        moved.iter().filter(|one| one.keeps_his_rank).count(),
    );
    let at = |share: f64| away[((away.len() - 1) as f64 * share) as usize].as_millis();
    println!(
        "; {first} found the other in the first try, {kept} kept their rank, away {} / {} / {} ms (p50, p99, max), at most {busiest} came in a second",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Does as he is told.
async fn goes_on(mut stream: TcpStream, joined: String, to: SocketAddr, began: Instant) -> Option<Moved> {
    let told = until(&mut stream, b"\"after_ms\":").await?;
    let after = told.split("\"after_ms\":").nth(1).unwrap().split('}').next().unwrap().parse().unwrap_or(0);
    let due = Instant::now() + Duration::from_millis(after);
    let restart = [0x03, 0xf4];
    // It may have come with what was read before.
    let _ = until(&mut stream, &restart).await;
    let closed = began.elapsed();
    let _ = stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4]).await;
    drop(stream);
    sleep_until(due.into()).await;
    let place = text(&joined, "\"place\":\"", '"');
    let mut tries = 0;
    loop {
        tries += 1;
        if TcpStream::connect(to).await.is_ok() {
            break;
        }
    }
    let (stream, again) = join(to, place).await;
    let back = began.elapsed();
    let rank = |joined| text(joined, "\"rank\":", ',').to_owned();
    let keeps_his_rank = rank(&joined) == rank(&again);
    Some(Moved { closed, back, tries, keeps_his_rank, _stream: stream })
}
