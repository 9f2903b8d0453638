//! One visitor's life on the network: connect, talk, come back, until his story ends.

use super::{
    connect::{DialError, Dialer, Socket},
    facts::{Breach, VisitorFacts},
    history::Event,
    meters::{Measure, lock},
    outcome::{Next, Outcome, pause},
    record,
    scene::{Moment, Scene},
    visitor::{Step, Visitor},
};
use futures_util::{SinkExt, StreamExt, future::OptionFuture};
use serde::Deserialize;
use std::{
    sync::{Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::Message;
use wire::{
    domain::work::Work,
    protocol::{
        client::ClientMessage,
        server::{Joined, ServerMessage},
    },
};

/// Silence after which a connection counts as dead: a server pings after 20 s, so nobody is this quiet.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How soon an older tab must be closed: the contract's second, and as much for a busy machine.
const REPLACED_WITHIN: Duration = Duration::from_secs(3);
/// How long a goodbye may take.
const CLOSING: Duration = Duration::from_secs(2);

/// A place to have visitors at.
pub struct World {
    /// What they share.
    pub scene: Scene,
    /// The way in.
    pub dialer: Dialer,
}

/// How a connection, or an attempt at one, ended.
enum End {
    Done(Outcome),
    Vanished(Duration),
    /// A second tab takes over from this one.
    SecondTab,
    Closed(Option<u16>),
    NotReached(DialError),
}

/// Counts an open socket for as long as it lives, also when its task is aborted.
struct Open<'a>(&'a World);

impl<'a> Open<'a> {
    fn new(world: &'a World) -> Self {
        world.scene.meters.open.fetch_add(1, Relaxed);
        Self(world)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.scene.meters.open.fetch_sub(1, Relaxed);
    }
}

/// Lives the visitor's life, writing down what he sees; `intended` is when he was meant to arrive.
pub async fn live(
    world: &World,
    facts: &Mutex<VisitorFacts>,
    mut visitor: Box<Visitor>,
    intended: Instant,
) -> Outcome {
    let meters = &world.scene.meters;
    meters.arrived.fetch_add(1, Relaxed);
    meters.record(Measure::StartLag, intended.elapsed());
    record::record(&world.scene, &visitor, Instant::now(), || {
        Some(Event::Arrive { intended: world.scene.recorder.as_ref()?.clock().us(intended) })
    });
    let (mut failures, mut cookie, mut connected) = (0, None, false);
    let mut older: Option<Box<Socket>> = None;
    let outcome = loop {
        let mut come_back = None;
        let end = match Box::pin(world.dialer.dial(cookie.as_deref())).await {
            Ok((mut socket, new_cookie)) => {
                if std::mem::replace(&mut connected, true) {
                    meters.reconnects.fetch_add(1, Relaxed);
                } else {
                    meters.record(Measure::Connect, intended.elapsed());
                }
                cookie = new_cookie.or(cookie);
                let _open = Open::new(world);
                visitor.connected();
                // Boxed: rare.
                let watch = older.take().map(|older| Box::pin(replaced(older)));
                let (end, told) = tokio::join!(
                    talk(world, facts, &mut visitor, &mut socket, &mut come_back),
                    OptionFuture::from(watch)
                );
                if told == Some(false) {
                    record::breach(&world.scene, &visitor, &mut lock(facts), Breach::NotReplaced);
                }
                let code = if let End::Closed(code) = end { code } else { None };
                record::record(&world.scene, &visitor, Instant::now(), || Some(Event::Cut(code)));
                if matches!(end, End::SecondTab) {
                    older = Some(socket);
                }
                end
            }
            Err(error) => End::NotReached(error),
        };
        failures = if visitor.has_joined() { 0 } else { failures + 1 };
        if visitor.has_place() {
            // From here on the place token is proof enough.
            cookie = None;
        }
        match after(world, &mut visitor, end, failures, come_back) {
            Ok(delay) => match visitor.work() {
                // As a page does: it comes back as soon as it has done it.
                Some(work) => Box::pin(do_work(&mut visitor, work)).await,
                None => sleep(delay).await,
            },
            Err(outcome) => break outcome,
        }
    };
    lock(facts).outcome = Some(outcome);
    meters.ended(outcome);
    outcome
}

async fn do_work(visitor: &mut Visitor, work: Work) {
    // It fails only when the process ends.
    if let Ok(proof) = spawn_blocking(move || work.solve()).await {
        visitor.has_worked(proof);
    }
}

/// How long the visitor stays away now; or how his story ended.
fn after(
    world: &World,
    visitor: &mut Visitor,
    end: End,
    failures: u32,
    come_back: Option<Instant>,
) -> Result<Duration, Outcome> {
    let (next, at_least) = match end {
        End::Done(outcome) => return Err(outcome),
        End::Vanished(delay) => {
            visitor.cut(Instant::now());
            return Ok(delay);
        }
        End::SecondTab => {
            visitor.cut(Instant::now());
            return Ok(Duration::ZERO);
        }
        End::Closed(code) => {
            let name = code.map_or_else(|| "none".into(), |code| code.to_string());
            world.scene.meters.closes.add(&name);
            let asked = come_back.map(|at| at.saturating_duration_since(Instant::now()));
            (Next::after_close(code), asked)
        }
        End::NotReached(error) => {
            world.scene.meters.dial_failures.add(&error.to_string());
            (error.next(), error.retry_after())
        }
    };
    if let Next::Stop(outcome) = next {
        return Err(outcome);
    }
    if let Some(outcome) = visitor.cut(Instant::now()) {
        return Err(outcome);
    }
    let jitter = pause(failures, next == Next::AgainSlower, visitor.random());
    // The server spreads `after_ms` itself; a `Retry-After` is the same for all, so it needs our jitter.
    Ok(match (at_least, come_back) {
        (Some(delay), Some(_)) => delay,
        (Some(delay), None) => delay + jitter,
        (None, _) => jitter,
    })
}

/// One connection, from the join to its end.
async fn talk(
    world: &World,
    facts: &Mutex<VisitorFacts>,
    visitor: &mut Visitor,
    socket: &mut Socket,
    come_back: &mut Option<Instant>,
) -> End {
    let scene = &world.scene;
    {
        // A block, so that the message is not kept for as long as the conversation.
        let join = visitor.join(&mut Moment { scene, facts: &mut lock(facts), now: Instant::now() });
        record::said(scene, visitor, &join);
        Box::pin(say(socket, &join)).await;
    }
    let mut heard = Instant::now();
    loop {
        let dead = heard + SILENCE_MAX;
        let wake = visitor.deadline(scene).map_or(dead, |at| at.min(dead));
        let frame = timeout_at(wake, socket.next()).await;
        let now = Instant::now();
        let step = match frame {
            Err(_) if now >= dead => return End::Closed(None),
            Err(_) => visitor.tick(&mut Moment { scene, facts: &mut lock(facts), now }),
            Ok(Some(Ok(Message::Close(frame)))) => {
                let code = frame.map(|frame| frame.code.into());
                Box::pin(drain(socket)).await;
                return End::Closed(code);
            }
            Ok(Some(Ok(frame))) => {
                heard = now;
                receive(&frame, visitor, &mut Moment { scene, facts: &mut lock(facts), now }, come_back)
            }
            Ok(Some(Err(_)) | None) => return End::Closed(None),
        };
        match step {
            Step::Wait => {}
            // Rare, so boxed: what it needs would else be kept ready in every visitor.
            Step::Say(message) => {
                record::said(scene, visitor, &message);
                Box::pin(say(socket, &message)).await;
            }
            Step::SecondTab => return End::SecondTab,
            // No goodbye: that is how a phone leaves the network.
            Step::Vanish(delay) => return End::Vanished(delay),
            Step::Done(outcome) => {
                Box::pin(goodbye(socket)).await;
                return End::Done(outcome);
            }
        }
    }
}

fn receive(
    frame: &Message,
    visitor: &mut Visitor,
    moment: &mut Moment,
    come_back: &mut Option<Instant>,
) -> Step {
    visitor.hears(moment);
    let text = match frame {
        Message::Text(text) => text.as_str(),
        Message::Binary(_) => {
            record::breach(moment.scene, visitor, moment.facts, Breach::Garbled("a binary frame".into()));
            return Step::Wait;
        }
        _ => return Step::Wait,
    };
    moment.scene.meters.messages.fetch_add(1, Relaxed);
    match understand(text) {
        Ok(Some(ServerMessage::Reconnect { after_ms })) => {
            *come_back = Some(moment.now + Duration::from_millis(after_ms));
            Step::Wait
        }
        Ok(Some(message)) => {
            if let ServerMessage::Joined(Joined { phase, .. }) | ServerMessage::Phase { phase, .. } = &message
            {
                *lock(&moment.scene.meters.phase) = Some(*phase);
            }
            record::heard(moment.scene, visitor, moment.facts, moment.now, &message);
            let known = moment.facts.breaches.len();
            let step = visitor.hear(message, moment);
            for breach in &moment.facts.breaches[known..] {
                record::record(moment.scene, visitor, moment.now, || Some(Event::Breach(breach.to_string())));
            }
            step
        }
        Ok(None) => {
            moment.scene.meters.unknown_messages.fetch_add(1, Relaxed);
            Step::Wait
        }
        Err(why) => {
            record::breach(moment.scene, visitor, moment.facts, Breach::Garbled(why));
            Step::Wait
        }
    }
}

/// The message; nothing if its type is not one that we know, as the contract wants it of clients.
fn understand(text: &str) -> Result<Option<ServerMessage>, String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let error = match serde_json::from_str(text) {
        Ok(message) => return Ok(Some(message)),
        Err(error) => error.to_string(),
    };
    match serde_json::from_str::<Typed>(text) {
        // What serde says of a type that is not in the list; the fault of a known one is reported.
        Ok(typed) if error.starts_with(&format!("unknown variant `{}`", typed.r#type)) => Ok(None),
        Ok(typed) => Err(format!("{}: {error}", typed.r#type)),
        Err(_) => Err(error),
    }
}

/// The older tab: it must be told within a second that a newer has taken over. (From the newer one's join, which
/// begins with this.)
async fn replaced(mut older: Box<Socket>) -> bool {
    let closed = async {
        // The server may close it for a reason of its own, draining for one; only silence is none.
        while !matches!(older.next().await, Some(Ok(Message::Close(_)) | Err(_)) | None) {}
    };
    let told = timeout(REPLACED_WITHIN, closed).await.is_ok();
    drain(&mut older).await;
    told
}

/// A failure to send is no news: the reading side is about to tell why.
async fn say(socket: &mut Socket, message: &ClientMessage) {
    // Plain strings and numbers: this cannot fail.
    let text = serde_json::to_string(message).unwrap_or_default();
    let _ = timeout(SILENCE_MAX, socket.send(Message::text(text))).await;
}

async fn goodbye(socket: &mut Socket) {
    let _ = timeout(CLOSING, socket.close(None)).await;
    drain(socket).await;
}

/// Reads until the other side has closed too, so that neither end is left with unread bytes, which would
/// turn a goodbye into a reset.
async fn drain(socket: &mut Socket) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = timeout(CLOSING, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Behaviour, Target, random::Random};
    use wire::domain::{ids::SaleId, plan::Plan};

    /// A hundred thousand visitors must fit into a machine that also runs the server.
    #[test]
    fn a_visitor_is_small() {
        let plan = Plan::parse(include_bytes!("../../../data/seating-plan-riethsporthalle.json")).unwrap();
        let target = Target::parse("http://127.0.0.1:1", SaleId::parse("demo").unwrap()).unwrap();
        let dialer = Dialer::new(&target, ([127, 0, 0, 1], 1).into(), None).unwrap();
        let start = Instant::now();
        let world = World { scene: Scene::new(plan, Behaviour::default()), dialer };
        let facts = Mutex::default();
        let life = live(&world, &facts, Box::new(Visitor::new(0, Random::new(1), None, start)), start);
        let bytes = size_of_val(&life) + size_of::<Visitor>() + size_of_val(&facts);
        assert!(bytes < 1536, "{bytes} bytes a visitor, before his socket, its buffers and his token");
    }

    #[test]
    fn unknown_types_are_ignored_and_garbled_messages_are_not() {
        assert!(matches!(understand(r#"{"type":"pong","new":1}"#), Ok(Some(ServerMessage::Pong {}))));
        assert_eq!(understand(r#"{"type":"fireworks","x":1}"#), Ok(None));
        for bad in [r#"{"type":"rank"}"#, "{}", "[]", "", "{", r#"{"type":7}"#] {
            assert!(understand(bad).is_err(), "{bad}");
        }
    }
}
