//! A tiny waiting room for tests, honest or with one planted fault: so that tests see the checks find it.

use super::{
    Admin, Behaviour, Options, Report, Target, WishKind, arrivals::ramp, http::ExportRow, meters::lock,
};
use axum::{
    Router,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, get},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep},
};
use uuid::Uuid;
use wire::{
    domain::{
        booking::BookingStatus,
        ids::{GrantKey, SaleId, VisitorId},
        phase::Phase,
        plan::Plan,
        seats::SeatSet,
        token::{Key, Keyring, Token},
    },
    protocol::{
        SUBPROTOCOL,
        client::{ClientMessage, RedeemMessage},
        server::{BookingMessage, Granted, Joined, LapseReason, PlaceState, Refused, SeatMap, ServerMessage},
    },
};

/// What the fake does wrong, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A late visitor gets an early place.
    PlaceOrder,
    /// The head of the line is passed over.
    GrantOrder,
    /// A seat that is sold is sold again.
    SeatTwice,
    /// The shop's list lacks a booking.
    Missing,
    /// The shop's list has a booking that nobody was told of.
    Untold,
    /// A rank rises.
    RankRose,
    /// A visitor who comes back finds his place gone.
    PlaceLost,
    /// A booking has one seat of two.
    Partial,
    /// Everyone is thrown out once and may come back: no fault at all.
    Drain,
    /// No answer to joins.
    Mute,
    /// Closed.
    Closed,
    /// One of the visitors is never served: no outcome.
    Stuck,
}

const SETTINGS: &str = r#"{"opens_at":null,"rate":1000.0,"max_active":1000,"grant_ttl_s":60,"claim_s":60,"away_s":60,"max_seats":4,"hold_ttl_s":0}"#;
const HALL: &[u8] = include_bytes!("../../../data/seating-plan-riethsporthalle.json");
/// Seqs are drawn this far apart, so that there is room for a forged one.
const SEQ_STEP: u64 = 10;
/// Which visitor meets the fault.
const VICTIM: u64 = 12;

struct Line {
    drawn: u64,
    /// Those who wait, by seq.
    waiting: BTreeMap<u64, (VisitorId, UnboundedSender<Push>)>,
    shown: HashMap<u64, u64>,
    taken: SeatSet,
    rows: Vec<ExportRow>,
    fault: Fault,
    done: bool,
    skipped_until: Option<Instant>,
    paused_until: Option<Instant>,
}

enum Push {
    Say(ServerMessage),
    Close(u16),
}

#[derive(Clone)]
struct Fake {
    line: Arc<Mutex<Line>>,
    plan: Arc<Plan>,
    ring: Arc<Keyring>,
    sale: SaleId,
}

impl Fake {
    fn join(&self, place: Option<String>, push: &UnboundedSender<Push>) -> (VisitorId, u64, Joined) {
        let mut line = lock(&self.line);
        let known = place.and_then(|token| self.ring.verify(&token));
        let lose =
            line.fault == Fault::PlaceLost && known.is_some() && !std::mem::replace(&mut line.done, true);
        let (visitor, seq) = match known {
            Some(Token::Place { visitor, seq, .. }) if !lose => (visitor, seq),
            _ => {
                line.drawn += 1;
                let out_of_order = line.fault == Fault::PlaceOrder && line.drawn == VICTIM;
                let seq = if out_of_order { SEQ_STEP + 1 } else { line.drawn * SEQ_STEP };
                (VisitorId::anonymous(), seq)
            }
        };
        line.waiting.insert(seq, (visitor.clone(), push.clone()));
        let rank = line.waiting.range(..seq).count() as u64;
        line.shown.insert(seq, rank);
        let token =
            Token::Place { sale: self.sale.clone(), visitor: visitor.clone(), seq, epoch: 1, until: None };
        let joined = Joined {
            place: Some(self.ring.sign(&token)),
            state: PlaceState::Waiting,
            rank,
            total: line.waiting.len() as u64,
            eta_s: None,
            phase: Phase::Open,
            opens_at: None,
            now: jiff::Timestamp::now(),
            epoch: 1,
        };
        (visitor, seq, joined)
    }

    /// One look at the line: the head is granted, the others are told their rank.
    fn tick(&self) {
        let mut line = lock(&self.line);
        let mut order: Vec<u64> = line.waiting.keys().copied().collect();
        let full = line.drawn >= 2 * VICTIM;
        if line.fault == Fault::Drain && full && !std::mem::replace(&mut line.done, true) {
            for (_, push) in line.waiting.values() {
                let _ = push.send(Push::Say(ServerMessage::Reconnect { after_ms: 30 }));
                let _ = push.send(Push::Close(1012));
            }
            line.paused_until = Some(Instant::now() + Duration::from_millis(500));
        }
        if line.paused_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        if matches!(line.fault, Fault::GrantOrder)
            && order.len() > 3
            && !std::mem::replace(&mut line.done, true)
        {
            line.skipped_until = Some(Instant::now() + Duration::from_millis(3500));
        }
        if line.skipped_until.is_some_and(|until| until > Instant::now()) || line.fault == Fault::Stuck {
            order.retain(|seq| *seq != VICTIM * SEQ_STEP);
        }
        let Some(head) = order.first().copied() else { return };
        if let Some((visitor, push)) = line.waiting.remove(&head) {
            let grant = GrantKey { seq: head, turn: 0 };
            let token = self.ring.sign(&Token::Booking { sale: self.sale.clone(), visitor, grant });
            let granted = Granted { token, expires_in_ms: 60_000, claim_in_ms: Some(10_000), max_seats: 4 };
            let _ = push.send(Push::Say(ServerMessage::Granted(granted)));
        }
        self.push_ranks(&mut line);
    }

    fn push_ranks(&self, line: &mut Line) {
        let total = line.waiting.len() as u64;
        let ranks: Vec<_> =
            line.waiting.iter().enumerate().map(|(i, (seq, w))| (i as u64, *seq, w.1.clone())).collect();
        for (mut rank, seq, push) in ranks {
            if line.fault == Fault::RankRose
                && rank == 3
                && line.drawn > VICTIM
                && !std::mem::replace(&mut line.done, true)
            {
                rank += 500;
            }
            if line.shown.insert(seq, rank) != Some(rank) {
                let _ = push.send(Push::Say(ServerMessage::Rank { rank, total, eta_s: None }));
            }
            if line.fault == Fault::PlaceLost && seq == VICTIM * SEQ_STEP && !line.done {
                let _ = push.send(Push::Close(4503));
            }
        }
    }

    fn redeem(&self, visitor: &VisitorId, redeem: RedeemMessage) -> ServerMessage {
        let mut line = lock(&self.line);
        let free = |line: &Line, seat: &u32| !line.taken.contains(*seat);
        let all = 0..self.plan.seats.len() as u32;
        let mut seats: Vec<u32> = match (&redeem.seats, &redeem.best) {
            (Some(ids), _) => ids.iter().filter_map(|id| self.plan.index_of(id)).collect(),
            (_, Some(best)) => all.filter(|seat| free(&line, seat)).take(best.count as usize).collect(),
            _ => vec![],
        };
        if let Some(seat) = seats.iter().find(|seat| line.taken.contains(**seat)) {
            let (seats, retry) = (Some(vec![self.plan.id_of(*seat).to_owned()]), true);
            return ServerMessage::Refused(Refused {
                request: redeem.request,
                reason: "seat_taken".into(),
                seats,
                retry,
            });
        }
        let late = line.rows.len() as u64 == VICTIM;
        if late && line.fault == Fault::SeatTwice {
            seats[0] = self.plan.index_of(&line.rows[0].seats[0]).unwrap();
        }
        if late && line.fault == Fault::Partial {
            seats.pop();
        }
        seats.iter().for_each(|seat| {
            line.taken.insert(*seat);
        });
        let (booking, status) = (Uuid::new_v4(), BookingStatus::Confirmed);
        let seats = self.plan.ids_of(&seats);
        let mut row = ExportRow { booking, visitor: visitor.as_str().into(), seats: seats.clone(), status };
        line.rows.push(row.clone());
        if late && line.fault == Fault::Untold {
            row.booking = Uuid::new_v4();
            row.seats = vec!["elsewhere".into()];
            line.rows.push(row);
        }
        let request = Some(redeem.request);
        let hold_expires_in_ms = None;
        ServerMessage::Booking(BookingMessage {
            request,
            booking,
            seats,
            status,
            hold_expires_in_ms,
            together: true,
        })
    }
}

async fn socket(fake: Fake, mut socket: WebSocket) {
    let (push, mut pushed): (_, UnboundedReceiver<Push>) = unbounded_channel();
    let (mut visitor, mut place) = (VisitorId::anonymous(), 0);
    let fault = lock(&fake.line).fault;
    loop {
        let answer = tokio::select! {
            Some(push) = pushed.recv() => push,
            frame = socket.recv() => {
                let Some(Ok(Message::Text(text))) = frame else { break };
                match ClientMessage::parse(&text) {
                    _ if fault == Fault::Closed => Push::Close(4410),
                    Ok(ClientMessage::Join { .. }) if fault == Fault::Mute => continue,
                    Ok(ClientMessage::Join { place: token, .. }) => {
                        let joined;
                        (visitor, place, joined) = fake.join(token, &push);
                        Push::Say(ServerMessage::Joined(joined))
                    }
                    Ok(ClientMessage::Leave {}) => {
                        lock(&fake.line).waiting.remove(&place);
                        Push::Say(ServerMessage::Lapsed { reason: LapseReason::Left })
                    }
                    Ok(ClientMessage::Seats {}) => {
                        let taken = lock(&fake.line).taken.to_base64();
                        Push::Say(ServerMessage::SeatMap(SeatMap { version: 1, taken }))
                    }
                    Ok(ClientMessage::Redeem(redeem)) => Push::Say(fake.redeem(&visitor, redeem)),
                    Ok(ClientMessage::Ping {}) => Push::Say(ServerMessage::Pong {}),
                    Err(_) => Push::Close(4400),
                }
            }
        };
        let frame = match answer {
            Push::Say(message) => Message::Text(message.to_json().into()),
            Push::Close(code) => Message::Close(Some(CloseFrame { code, reason: "".into() })),
        };
        if socket.send(frame).await.is_err() {
            break;
        }
    }
}

fn export(fake: &Fake) -> String {
    let line = lock(&fake.line);
    let skip = usize::from(line.fault == Fault::Missing);
    let row = |row: &ExportRow| {
        let ExportRow { booking, visitor, seats, status } = row;
        let json = serde_json::json!({"booking": booking, "sale": "demo", "visitor": visitor, "seats": seats,
            "status": status, "created_at": "2026-11-22T10:00:00Z", "hold_expires_at": null});
        format!("{json}\n")
    };
    line.rows.iter().skip(skip).map(row).collect()
}

/// Starts a fake; where it listens.
pub async fn start(fault: Fault) -> String {
    let plan = Arc::new(Plan::parse(HALL).unwrap());
    let line = Line {
        drawn: 0,
        waiting: BTreeMap::new(),
        shown: HashMap::new(),
        taken: SeatSet::new(plan.seats.len()),
        rows: vec![],
        fault,
        done: false,
        skipped_until: None,
        paused_until: None,
    };
    let ring = Arc::new(Keyring::new(vec![Key { kid: "k1".into(), secret: vec![7; 32] }]).unwrap());
    let fake = Fake { line: Arc::new(Mutex::new(line)), plan, ring, sale: SaleId::parse("demo").unwrap() };
    let upgrade = async |State(fake): State<Fake>, ws: WebSocketUpgrade| -> Response {
        ws.protocols([SUBPROTOCOL]).on_upgrade(move |ws| socket(fake, ws))
    };
    let router = Router::new()
        .route("/v1/sales/demo", get(async || r#"{"id":"demo","phase":"open"}"#))
        .route("/v1/sales/demo/plan", get(async || HALL))
        .route("/v1/sales/demo/ws", any(upgrade))
        .route("/v1/admin/sales/demo", get(async || SETTINGS))
        .route("/v1/admin/sales/demo/bookings", get(async |State(fake): State<Fake>| export(&fake)))
        .with_state(fake.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn(async move {
        loop {
            // A line that lasts long enough for the order of grants to be told.
            let pace_ms = if fault == Fault::GrantOrder { 40 } else { 10 };
            sleep(Duration::from_millis(pace_ms)).await;
            fake.tick();
        }
    });
    url
}

/// A short run of 60 visitors against a fake with that fault.
pub async fn run_against(fault: Fault) -> Report {
    let url = start(fault).await;
    super::run(options(&url)).await.unwrap()
}

/// What such a run is made with.
pub fn options(url: &str) -> Options {
    Options {
        target: Target::parse(url, SaleId::parse("demo").unwrap()).unwrap(),
        scenario: "test".into(),
        visitors: 60,
        arrivals: ramp(Duration::from_millis(500)),
        part: (1, 1),
        run: None,
        start_at: None,
        history: None,
        behaviour: Behaviour {
            seats: (2, 2),
            wish: WishKind::Mixed,
            think: (Duration::ZERO, Duration::from_millis(50)),
            ..Behaviour::default()
        },
        attackers: Default::default(),
        timeout: Duration::from_secs(8),
        seed: 1,
        identity_key: None,
        sources: None,
        admin: Some(Admin { url: url.into(), token: "t".into() }),
        thresholds: vec![],
        require_drain: false,
        quiet: true,
    }
}
