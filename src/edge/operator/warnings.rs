//! What of a sale may not be what its operator meant. Nothing of it is refused: he may know better.

use jiff::Timestamp;
use wire::{
    domain::{
        phase::Phase,
        sale::{Sale, SaleState},
    },
    protocol::{CLIENT_FRAME_BYTES_MAX, client::REQUEST_CHARS_MAX},
};

/// Seconds of absence that hardly anyone needs who comes back.
const AWAY_S_LONG: u32 = 60;
/// Seconds in which hardly anyone finds his seats and books them.
const GRANT_TTL_S_SHORT: u32 = 30;
/// Seconds in which hardly anyone sees that it is his turn.
const CLAIM_S_SHORT: u32 = 10;
/// Seconds in which hardly anyone pays.
const HOLD_TTL_S_SHORT: u32 = 30;
/// A day: a rate that admits nobody within it admits nobody.
const DAY_S: f64 = 86_400.0;
/// What a redeem needs beside its seats: its token, the names of its fields, its request.
const REDEEM_BYTES: usize = 512 + REQUEST_CHARS_MAX;

/// Each begins with the field's name, or with that of a store that is away, and says what to do.
pub fn of(sale: &Sale, state: &SaleState, has_identity_key: bool, away: &[&str]) -> Vec<String> {
    let stores = away.iter().filter(|_| state.command != Phase::Closed).map(|store| {
        format!("{store}: cannot be used just now, so nobody is admitted and nothing is booked; see /readyz and the log")
    });
    stores.chain(of_settings(sale, state, has_identity_key)).collect()
}

fn of_settings(sale: &Sale, state: &SaleState, has_identity_key: bool) -> Vec<String> {
    let s = &state.settings;
    let mut warnings = Vec::new();
    let mut warn = |is: bool, text: String| warnings.extend(is.then_some(text));
    warn(
        s.grant_ttl_s < GRANT_TTL_S_SHORT,
        format!("grant_ttl_s: {} s are too few for most to choose seats and book them", s.grant_ttl_s),
    );
    warn(
        s.claim_s < CLAIM_S_SHORT,
        format!("claim_s: {} s are too few for most to see that it is their turn", s.claim_s),
    );
    warn(
        (1..HOLD_TTL_S_SHORT).contains(&s.hold_ttl_s),
        format!("hold_ttl_s: {} s are too few for most to pay", s.hold_ttl_s),
    );
    warn(
        s.away_s == 0,
        "away_s: at 0 s whoever is not connected at the moment of his turn is passed over, and after a cut those who come back \
         first are served first"
            .into(),
    );
    warn(
        s.away_s > AWAY_S_LONG,
        format!(
            "away_s: for {} s those who joined and never return get turns, which others wait for",
            s.away_s
        ),
    );
    warn(s.rate * DAY_S < 1.0, format!("rate: at {} a second nobody is admitted within a day", s.rate));
    let (seats, blocked) = (sale.plan.seats.len(), state.blocked.len());
    warn(blocked >= seats, "blocked: all seats are; nothing can be booked, and nobody is admitted".into());
    warn(
        s.max_seats as usize > seats,
        format!("max_seats: {} are more than the plan's {seats} seats", s.max_seats),
    );
    warn(
        !state.anonymous && !has_identity_key,
        "anonymous: this sale asks for identities, and this server has no identity_key: nobody can join"
            .into(),
    );
    warn(
        state.command == Phase::Paused && s.opens_at.is_some(),
        "opens_at: the sale is paused, so it will not open by itself; open it by its phase".into(),
    );
    warn(
        matches!(state.command, Phase::Open | Phase::Closed)
            && s.opens_at.is_some_and(|at| at > Timestamp::now()),
        format!("opens_at: the sale is {} already", state.command),
    );
    warn(
        sale.plan.seats.iter().any(|seat| seat.id.contains(';')),
        "plan: seat ids hold `;`, so that seats cannot be told apart in the CSV of the bookings; take the NDJSON".into(),
    );
    let fit = seats_that_fit(sale);
    warn(
        s.max_seats as usize > fit,
        format!(
            "max_seats: a message holds the ids of {fit} of this plan's seats; more can be had by `best` only"
        ),
    );
    warnings
}

/// How many seats can surely be named in one message.
fn seats_that_fit(sale: &Sale) -> usize {
    let quoted = |id: &str| serde_json::to_string(id).map_or(0, |text| text.len()) + 1;
    let longest = sale.plan.seats.iter().map(|seat| quoted(&seat.id)).max().unwrap_or(1);
    (CLIENT_FRAME_BYTES_MAX - REDEEM_BYTES) / longest
}
