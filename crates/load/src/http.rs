//! The few HTTP calls of a run: the sale, its plan, and at the end the shop's list of bookings.

use super::{LoadError, SaleWanted, target::Target};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    time::Duration,
};
use ureq::{
    Body, RequestBuilder,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
    typestate::{WithBody, WithoutBody},
};
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::SaleId,
    phase::Phase,
    plan::{PLAN_BYTES_MAX, Plan},
    sale::SaleSettings,
    sample_plan::sample_plan,
};

/// How long to wait for the beginning of an answer, and for the whole of a small one.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the export of all bookings may take.
const EXPORT_PATIENCE: Duration = Duration::from_secs(300);
/// A sale that is due within this is opened as it is made.
const OPENS_AHEAD: Duration = Duration::from_secs(5);

/// The admin API, for the comparison at the end.
#[derive(Clone)]
pub struct Admin {
    /// Such as `http://127.0.0.1:9090`.
    pub url: String,
    /// The bearer token.
    pub token: String,
}

/// One line of the export.
#[derive(Clone, Debug, Deserialize)]
pub struct ExportRow {
    /// The booking.
    pub booking: Uuid,
    /// Whose.
    pub visitor: String,
    /// Its seats.
    pub seats: Vec<String>,
    /// How it stands.
    pub status: BookingStatus,
}

/// The sale's plan, from a server that shows by the sale's state that it is a waiting room. Blocks.
pub fn plan(target: &Target) -> Result<Plan, LoadError> {
    #[derive(Deserialize)]
    struct Sale {
        #[allow(dead_code, reason = "that it is there and a phase is what is asked")]
        phase: Phase,
    }
    let garbage = |path: &str, e: String| LoadError::Unreachable(format!("{}: {e}", target.http(path)));
    let sale = read(target, "")?;
    serde_json::from_slice::<Sale>(&sale).map_err(|e| garbage("", e.to_string()))?;
    let plan = read(target, "/plan")?;
    Plan::parse(&plan).map_err(|e| garbage("/plan", e.to_string()))
}

/// The sale's settings; so it is known before a run that the admin API is there and takes the token. Blocks.
pub fn settings(admin: &Admin, sale: &SaleId) -> Result<SaleSettings, LoadError> {
    let url = admin_url(admin, sale, "");
    let garbage = |error: String| LoadError::Unreachable(format!("{url}: {error}"));
    let mut response = get(&url, PATIENCE, Some(admin))?;
    let text = response.body_mut().read_to_string().map_err(|error| garbage(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| garbage(error.to_string()))
}

/// Makes the sale that a scenario is meant for, open from `opens_at` on; one that exists is left as it is. Blocks.
pub fn create_sale(
    admin: &Admin,
    sale: &SaleId,
    wanted: &SaleWanted,
    anonymous: bool,
    opens_at: Timestamp,
) -> Result<(), LoadError> {
    // A time that may have passed when the server reads it is refused: such a sale is opened by hand.
    let is_due = opens_at <= Timestamp::now() + OPENS_AHEAD;
    let body = json!({
        "id": sale, "name": format!("Load test {sale}"), "plan": sample_plan(wanted.seats),
        "opens_at": (!is_due).then_some(opens_at),
        "rate": wanted.rate, "max_active": wanted.max_active, "grant_ttl_s": wanted.grant_ttl_s,
        "claim_s": wanted.claim_s, "max_seats": wanted.max_seats, "anonymous": anonymous,
    });
    let url = format!("{}/v1/admin/sales", admin.url.trim_end_matches('/'));
    let made = send(agent(PATIENCE).post(&url), admin, &url, &body, &[201, 409])?;
    if made == 201 && is_due {
        let url = admin_url(admin, sale, "");
        send(agent(PATIENCE).patch(&url), admin, &url, &json!({ "phase": "open" }), &[200])?;
    }
    Ok(())
}

/// Sends a body to the operator's API, and answers the status if it is one of those `expected`.
fn send(
    request: RequestBuilder<WithBody>,
    admin: &Admin,
    url: &str,
    body: &Value,
    expected: &[u16],
) -> Result<u16, LoadError> {
    let fail = |why: String| LoadError::Unreachable(format!("{url}: {why}"));
    let request = request.header("Authorization", format!("Bearer {}", admin.token));
    let mut response = request.send_json(body).map_err(|error| fail(error.to_string()))?;
    let status = response.status().as_u16();
    if expected.contains(&status) {
        return Ok(status);
    }
    Err(fail(format!("HTTP {status} {}", response.body_mut().read_to_string().unwrap_or_default())))
}

/// Every booking of the sale, as the shop sees it. Blocks.
pub fn export(admin: &Admin, sale: &SaleId) -> Result<Vec<ExportRow>, LoadError> {
    let url = admin_url(admin, sale, "/bookings");
    let fail = |why: String| LoadError::Unreachable(format!("{url}: {why}"));
    let response = get(&url, EXPORT_PATIENCE, Some(admin))?;
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    let mut rows = Vec::new();
    for (n, line) in lines.enumerate() {
        let line = line.map_err(|e| fail(e.to_string()))?;
        if !line.trim().is_empty() {
            let row = serde_json::from_str(&line).map_err(|e| fail(format!("line {}: {e}", n + 1)))?;
            rows.push(row);
        }
    }
    Ok(rows)
}

fn admin_url(admin: &Admin, sale: &SaleId, path: &str) -> String {
    format!("{}/v1/admin/sales/{sale}{path}", admin.url.trim_end_matches('/'))
}

fn read(target: &Target, path: &str) -> Result<Vec<u8>, LoadError> {
    let (url, ours) = (target.http(path), target.tls.as_ref().map_or(&[][..], |tls| &tls.authorities));
    let authorities: Vec<_> = ours.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    let roots = if ours.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&authorities) };
    let tls = TlsConfig::builder().root_certs(roots).build();
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).tls_config(tls);
    let agent = config.http_status_as_error(false).build().new_agent();
    let mut response = answered(&url, agent.get(&url))?;
    let body = response.body_mut().with_config().limit(PLAN_BYTES_MAX as u64 + 1);
    body.read_to_vec().map_err(|e| LoadError::Unreachable(format!("{url}: {e}")))
}

fn agent(patience: Duration) -> ureq::Agent {
    // No proxy from the environment: the sockets do not go through one either.
    let config = ureq::Agent::config_builder().timeout_global(Some(patience)).proxy(None);
    config.http_status_as_error(false).build().new_agent()
}

fn get(url: &str, patience: Duration, admin: Option<&Admin>) -> Result<Response<Body>, LoadError> {
    let mut request = agent(patience).get(url);
    if let Some(admin) = admin {
        let bearer = format!("Bearer {}", admin.token);
        request = request.header("Authorization", bearer).header("Accept", "application/x-ndjson");
    }
    answered(url, request)
}

fn answered(url: &str, request: RequestBuilder<WithoutBody>) -> Result<Response<Body>, LoadError> {
    let fail = |why: String| LoadError::Unreachable(format!("{url}: {why}"));
    let response = request.call().map_err(|e| fail(e.to_string()))?;
    match response.status().as_u16() {
        200 => Ok(response),
        status => Err(fail(format!("HTTP {status}"))),
    }
}
