//! A real `waitroom serve`, which can be stopped and killed, asked over HTTP.

#[path = "../shared/ports.rs"]
mod ports;

use crate::{
    proxy::Proxy,
    stage::{Answer, Answered, Holder, Stage},
};
use ports::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use wire::domain::{
    booking::{Booking, BookingStatus},
    plan::SeatIndex,
    refusal::Refusal,
    token::{Key, Keyring, Token},
};

const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A process; ends with its owner.
pub struct Process {
    child: Child,
    public: String,
    admin: String,
    pub postgres: Proxy,
    _redis: Proxy,
}

impl Process {
    pub async fn start(stage: &Stage) -> Self {
        let (postgres, redis) = stage.proxies();
        let (public, admin) = (free_address(), free_address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
        command.args(["serve", "--log=error", "--drain-s=1", "--postgres-pool=4", "--address-places=0"]);
        command.arg("--signing-keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        command.arg(format!("--listen={public}")).arg(format!("--admin-listen={admin}"));
        command.arg(format!("--redis-url=redis+unix://{}", redis.socket().display()));
        command.arg(format!("--postgres-url={}", stage.behind(&postgres)));
        let child = command.env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN).stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(&admin).is_err() {
            assert!(started.elapsed() < Duration::from_secs(120), "the server does not start");
            sleep(Duration::from_millis(20)).await;
        }
        Self { child, public, admin, postgres, _redis: redis }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tries to spend a grant; what is answered is kept for the proof.
    pub async fn redeem(&self, stage: &Stage, holder: &Holder, seats: &[SeatIndex]) -> Answer {
        let keys = Keyring::new(vec![Key { kid: "k1".into(), secret: SECRET.into() }]).unwrap();
        let Holder { visitor, grant } = holder.clone();
        let place = Token::Place {
            sale: stage.sale.clone(),
            visitor: visitor.clone(),
            seq: grant.seq,
            epoch: 1,
            until: None,
        };
        let token = keys.sign(&Token::Booking { sale: stage.sale.clone(), visitor, grant });
        let body = json!({ "request": "r", "token": token, "seats": stage.plan.ids_of(seats) });
        let url = format!("http://{}/v1/sales/{}/places/me/redeem", self.public, stage.sale);
        let (status, said) = call("POST", url, keys.sign(&place), Some(body)).await;
        let answer = answer_of(stage, status, &said, seats);
        let answered = Answered { holder: holder.clone(), wish: seats.to_vec(), answer: answer.clone() };
        stage.answers.lock().unwrap().push(answered);
        answer
    }

    /// The shop says that a booking is paid: the status, and the booking's or the error's name.
    pub async fn confirm(&self, booking: &Booking) -> (u16, String) {
        let url = format!("http://{}/v1/admin/bookings/{}/confirm", self.admin, booking.id);
        let (status, said) = call("POST", url, ADMIN_TOKEN.into(), None).await;
        (status, said["status"].as_str().or(said["code"].as_str()).unwrap_or_default().to_owned())
    }

    /// A request of the shop's, which hangs up instead of waiting for the answer.
    pub fn confirm_and_hang_up(&self, booking: &Booking) -> TcpStream {
        use std::io::Write;
        let mut shop = TcpStream::connect(&self.admin).unwrap();
        let head = format!(
            "POST /v1/admin/bookings/{}/confirm HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
             Content-Length: 0\r\n\r\n",
            booking.id
        );
        shop.write_all(head.as_bytes()).unwrap();
        shop
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn call(method: &'static str, url: String, bearer: String, body: Option<Value>) -> (u16, Value) {
    let call = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let auth = format!("Bearer {bearer}");
        let mut response = match (method, body) {
            ("POST", Some(body)) => agent.post(&url).header("Authorization", auth).send_json(body),
            ("POST", None) => agent.post(&url).header("Authorization", auth).send_empty(),
            _ => agent.get(&url).header("Authorization", auth).call(),
        }
        .unwrap();
        (response.status().as_u16(), response.body_mut().read_json().unwrap())
    };
    tokio::task::spawn_blocking(call).await.unwrap()
}

fn answer_of(stage: &Stage, status: u16, said: &Value, wish: &[SeatIndex]) -> Answer {
    if status == 200 {
        let seats = said["seats"].as_array().unwrap().iter().map(|seat| seat.as_str().unwrap());
        return Ok(Booking {
            id: said["booking"].as_str().unwrap().parse().unwrap(),
            seats: seats.map(|seat| stage.plan.index_of(seat).unwrap()).collect(),
            status: BookingStatus::parse(said["status"].as_str().unwrap()).unwrap(),
            hold_expires_at: None,
            together: said["together"] == true,
        });
    }
    Err(match said["reason"].as_str() {
        Some("busy") => Refusal::Busy,
        Some("token_expired") => Refusal::TokenExpired,
        Some("seat_taken") => Refusal::SeatTaken(wish.to_vec()),
        _ => panic!("{status} {said}"),
    })
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
