//! axum with buffers as small as they can be and one task a socket.

use super::{Pace, SLICE, Work};
use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::{
    net::TcpSocket,
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// What a socket is to be told.
#[derive(Default)]
struct Slot {
    number: AtomicU64,
    news: Notify,
}

static POLLED: AtomicU64 = AtomicU64::new(0);

type Slots = Arc<Mutex<Vec<Arc<Slot>>>>;

pub fn serve(work: Work) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let slots = Slots::default();
        tokio::spawn(push(slots.clone(), work));
        let app = Router::new().fallback(get(upgrade)).with_state((slots, work));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([0, 0, 0, 0], work.port).into()).unwrap();
        axum::serve(socket.listen(4_096).unwrap(), app).await.unwrap();
    });
}

/// Who asks without a socket is told his rank, too.
async fn upgrade(
    State((slots, work)): State<(Slots, Work)>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return ([(CONTENT_TYPE, "application/json")], work.rank(POLLED.fetch_add(1, Relaxed)))
            .into_response();
    };
    let upgrade = upgrade.read_buffer_size(512).write_buffer_size(0).max_write_buffer_size(256 << 10);
    let upgrade = upgrade.max_message_size(4_096).max_frame_size(4_096).protocols(["waitroom.v1"]);
    upgrade.on_upgrade(move |socket| {
        let slot = Arc::new(Slot::default());
        slots.lock().unwrap().push(slot.clone());
        hold(socket, slot, work)
    })
}

async fn hold(mut socket: WebSocket, slot: Arc<Slot>, work: Work) {
    loop {
        tokio::select! {
            heard = socket.recv() => if !matches!(heard, Some(Ok(_))) { return },
            () = slot.news.notified() => {
                let text = work.rank(slot.number.load(Relaxed));
                if socket.send(Message::Text(text.into())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// One sweep over all of them after another, in slices.
async fn push(slots: Slots, work: Work) {
    let mut every = interval(SLICE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while slots.lock().unwrap().len() < work.watchers {
        every.tick().await;
    }
    let mut watched: Vec<_> = slots.lock().unwrap().clone();
    watched.truncate(work.watchers);
    let (mut pace, mut next) = (Pace::new(work.pushes_per_s), 0);
    loop {
        every.tick().await;
        let due = pace.due();
        for i in 0..due {
            let slot = &watched[next];
            slot.number.store(pace.sent - due + i, Relaxed);
            slot.news.notify_one();
            next = (next + 1) % watched.len();
        }
    }
}
