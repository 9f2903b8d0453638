//! What an operator does with sales.

use super::{
    access::Caller,
    asked::{given, object, query, some},
    letters::is_seen,
    warnings,
};
use crate::{
    edge::{Edge, error::HttpError},
    room::rooms::Found,
};
use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{pin::pin, sync::Arc};
use wire::domain::{
    coordinates,
    ids::SaleId,
    phase::Phase,
    plan::Plan,
    sale::{AWAY_S_DEFAULT, NewSale, SaleSettings, SaleState, SettingError},
    seats::SeatSet,
};

/// Longest name of a sale, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Longest notice, in characters: it must fit a frame.
const NOTICE_CHARS_MAX: usize = 2_000;
/// A turn that is not used for the first time within this counts as missed, unless the sale says otherwise.
const CLAIM_S: u32 = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    id: String,
    name: String,
    plan: Box<RawValue>,
    #[serde(default)]
    opens_at: Option<Timestamp>,
    rate: f64,
    max_active: u32,
    grant_ttl_s: u32,
    #[serde(default)]
    claim_s: Option<u32>,
    #[serde(default)]
    away_s: Option<u32>,
    max_seats: u32,
    #[serde(default)]
    hold_ttl_s: Option<u32>,
    anonymous: bool,
    #[serde(default)]
    blocked: Vec<String>,
}

/// `POST /v1/admin/sales`.
pub async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    body: Bytes,
) -> Result<Response, HttpError> {
    let body: CreateBody = object(&body)?;
    let id =
        SaleId::parse(&body.id).ok_or_else(|| HttpError::invalid("id: must be 1 to 64 of a-z, 0-9 and -"))?;
    caller.must_know(id.as_str())?;
    check_name(&body.name)?;
    check_opens_at(body.opens_at)?;
    let plan_json = body.plan.get().as_bytes();
    let plan = Plan::parse(plan_json).map_err(|error| HttpError::invalid(error.to_string()))?;
    coordinates::check(plan_json).map_err(|error| HttpError::invalid(error.to_string()))?;
    let settings = SaleSettings {
        opens_at: body.opens_at,
        rate: body.rate,
        max_active: body.max_active,
        grant_ttl_s: body.grant_ttl_s,
        claim_s: body.claim_s.unwrap_or(CLAIM_S.min(body.grant_ttl_s)),
        away_s: body.away_s.unwrap_or(AWAY_S_DEFAULT),
        max_seats: body.max_seats,
        hold_ttl_s: body.hold_ttl_s.unwrap_or(0),
    };
    settings.check().map_err(invalid)?;
    let blocked = seats_named(&plan, &body.blocked)?;
    let new = NewSale {
        id: &id,
        name: &body.name,
        plan_json,
        plan: &plan,
        settings: &settings,
        anonymous: body.anonymous,
        blocked: &blocked,
    };
    if !edge.rooms.create(&new, &caller.name).await? {
        let message = format!("there is a sale {id} already; choose another id, or PATCH it");
        return Err(HttpError::new(StatusCode::CONFLICT, "exists", message));
    }
    let created = async {
        let room = edge.rooms.get(&id).await?.ok_or_else(HttpError::unknown_sale)?;
        shown(&edge, &Found::Room(room)).await
    };
    let created = created.await.map_err(|error: HttpError| {
        let kept = format!("the sale {id} is created, need not be created again, and can be used");
        error.although(kept).not_again()
    })?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// Sales that cannot be read, before the list is given up.
const FAILED_MAX: usize = 2;
/// Sales that are asked for at once: a few of the connections on which visitors book.
const SHOWN_AT_ONCE: usize = 4;

/// `GET /v1/admin/sales`.
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<Value>, HttpError> {
    let (mut sales, mut failed) = (Vec::new(), 0);
    let ids = edge.rooms.ids().await?.into_iter().filter(|id| caller.knows(id.as_str()));
    let edge = &edge;
    let look = async move |id: SaleId| {
        let found = async { shown(edge, &edge.find(id.as_str()).await?).await };
        (found.await, id)
    };
    let mut found = pin!(stream::iter(ids).map(look).buffered(SHOWN_AT_ONCE));
    while let Some((sale, id)) = found.next().await {
        match sale {
            Ok(sale) => sales.push(sale),
            // Deleted meanwhile.
            Err(error) if error.status == StatusCode::NOT_FOUND => {}
            // One that cannot be read hides no other; where several cannot be, a store is away.
            Err(error) => {
                failed += 1;
                if failed > FAILED_MAX {
                    return Err(error);
                }
                sales.push(json!({ "id": id, "error": error.message }));
            }
        }
    }
    Ok(Json(json!({ "sales": sales })))
}

/// `GET /v1/admin/sales/{id}`.
pub async fn show(State(edge): State<Arc<Edge>>, Path(sale): Path<String>) -> Result<Json<Value>, HttpError> {
    Ok(Json(shown(&edge, &edge.find(&sale).await?).await?))
}

async fn shown(edge: &Edge, found: &Found) -> Result<Value, HttpError> {
    let sale = found.sale();
    let (state, phase) = (found.state(), found.phase());
    let mut shown = serde_json::to_value(&state.settings).unwrap_or_default();
    let fixed = json!({
        "id": sale.id, "name": state.name, "anonymous": state.anonymous, "phase": phase, "notice": state.notice,
        "seats": sale.plan.seats.len(), "blocked": sale.plan.ids_of(&state.blocked.iter().collect::<Vec<_>>()),
        "warnings": warnings::of(sale, &state, edge.keys.takes_identities(), &edge.rooms.away()),
    });
    let live = match found {
        Found::Room(room) => {
            let counts = room.line.counts_surely().await?;
            let mut live = json!({
                "waiting": counts.waiting, "away": counts.away, "granted": counts.granted,
                "booked": room.seats.confirmed().await?, "held": counts.held, "seats_left": counts.seats_left,
                "admitted_total": counts.admitted_total, "lapsed_total": counts.lapsed_total,
                "connections": room.sockets.len(),
            });
            if counts.restoring {
                live["restoring"] = true.into();
            }
            live
        }
        Found::Closed(closed) => json!({
            "waiting": 0, "away": 0, "granted": 0, "booked": closed.confirmed().await?, "held": 0,
            "seats_left": closed.seats_left().await?, "admitted_total": null, "lapsed_total": null, "connections": 0,
        }),
    };
    for more in [fixed, live] {
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
    }
    Ok(shown)
}

/// What a deletion must be asked for with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    confirm: Option<String>,
}

/// `DELETE /v1/admin/sales/{id}?confirm={id}`: a closed sale is forgotten.
pub async fn delete(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(sale): Path<String>,
    confirmed: Result<Query<Confirmed>, QueryRejection>,
) -> Result<Json<Value>, HttpError> {
    let id = SaleId::parse(&sale).ok_or_else(HttpError::unknown_sale)?;
    let confirmed = query(confirmed)?;
    if confirmed.confirm.as_deref() != Some(id.as_str()) {
        let message =
            format!("confirm: say ?confirm={id} if all that is known of this sale is to be deleted");
        return Err(HttpError::invalid(message));
    }
    match edge.rooms.delete(&id, &caller.name).await? {
        Some(true) => Ok(Json(json!({ "deleted": id }))),
        Some(false) => {
            let message = "only a closed sale can be deleted; close it first";
            Err(HttpError::new(StatusCode::CONFLICT, "not_closed", message))
        }
        None => Err(HttpError::unknown_sale()),
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ChangeBody {
    #[serde(deserialize_with = "some")]
    name: Option<String>,
    #[serde(deserialize_with = "some")]
    anonymous: Option<bool>,
    #[serde(deserialize_with = "some")]
    phase: Option<String>,
    #[serde(deserialize_with = "some")]
    notice: Option<String>,
    #[serde(deserialize_with = "given")]
    opens_at: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "some")]
    rate: Option<f64>,
    #[serde(deserialize_with = "some")]
    max_active: Option<u32>,
    #[serde(deserialize_with = "some")]
    grant_ttl_s: Option<u32>,
    #[serde(deserialize_with = "some")]
    claim_s: Option<u32>,
    #[serde(deserialize_with = "some")]
    away_s: Option<u32>,
    #[serde(deserialize_with = "some")]
    max_seats: Option<u32>,
    #[serde(deserialize_with = "given")]
    hold_ttl_s: Option<Option<u32>>,
    #[serde(deserialize_with = "some")]
    blocked: Option<Vec<String>>,
}

/// `PATCH /v1/admin/sales/{id}`.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn change(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(sale): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    let found = edge.find(&sale).await?;
    let (sale, current) = (found.sale(), found.phase());
    let body: ChangeBody = object(&body)?;
    let blocked = body.blocked.as_ref().map(|names| seats_named(&sale.plan, names)).transpose()?;
    let change = |state: &mut SaleState| apply(state, body, blocked, current);
    let changed = edge.rooms.change(sale, &caller.name, change).await?;
    changed.ok_or_else(HttpError::unknown_sale)??;
    let kept = || "the change is recorded and comes into force".to_owned();
    let answer = in_force(&edge, &found).await.map_err(|error| error.although(kept()))?;
    Ok(Json(answer))
}

/// The sale, as it is once what is recorded of it is in force.
async fn in_force(edge: &Edge, found: &Found) -> Result<Value, HttpError> {
    let id = &found.sale().id;
    edge.rooms.put_in_force(id).await?;
    let mut answer = shown(edge, &edge.find(id.as_str()).await?).await?;
    if let Found::Room(room) = found {
        // Its entry in the stream is on its way.
        answer["phase"] = json!(room.line.decided_phase().await?);
    }
    Ok(answer)
}

fn apply(
    state: &mut SaleState,
    body: ChangeBody,
    blocked: Option<SeatSet>,
    current: Phase,
) -> Result<(), HttpError> {
    if let Some(name) = body.phase {
        let to = Phase::parse(&name).ok_or_else(|| {
            HttpError::invalid(format!("phase: {name:?} is none; an operator sets open, paused or closed"))
        })?;
        if !state.command.may_step(to) {
            let message = format!("phase: a sale that is {current} cannot become {to}");
            return Err(HttpError::new(StatusCode::CONFLICT, "impossible_step", message));
        }
        state.command = to;
    }
    if let Some(name) = body.name {
        check_name(&name)?;
        state.name = name;
    }
    state.anonymous = body.anonymous.unwrap_or(state.anonymous);
    if let Some(notice) = body.notice {
        if notice.chars().count() > NOTICE_CHARS_MAX || notice.contains('\0') {
            return Err(HttpError::invalid(format!(
                "notice: at most {NOTICE_CHARS_MAX} characters, none of them NUL"
            )));
        }
        state.notice = notice;
    }
    check_opens_at(body.opens_at.flatten())?;
    let s = &mut state.settings;
    s.opens_at = body.opens_at.unwrap_or(s.opens_at);
    s.rate = body.rate.unwrap_or(s.rate);
    s.max_active = body.max_active.unwrap_or(s.max_active);
    s.grant_ttl_s = body.grant_ttl_s.unwrap_or(s.grant_ttl_s);
    s.claim_s = body.claim_s.unwrap_or(s.claim_s);
    s.away_s = body.away_s.unwrap_or(s.away_s);
    s.max_seats = body.max_seats.unwrap_or(s.max_seats);
    s.hold_ttl_s = body.hold_ttl_s.map_or(s.hold_ttl_s, Option::unwrap_or_default);
    state.blocked = blocked.unwrap_or_else(|| state.blocked.clone());
    state.settings.check().map_err(invalid)
}

fn check_name(name: &str) -> Result<(), HttpError> {
    let has_length = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if has_length && name.chars().any(is_seen) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let range = format!(
        "name: must have 1 to {NAME_CHARS_MAX} characters, one of them to be seen, none of them control characters"
    );
    Err(HttpError::invalid(range))
}

fn check_opens_at(opens_at: Option<Timestamp>) -> Result<(), HttpError> {
    if opens_at.is_some_and(|at| at < Timestamp::now()) {
        let message = "opens_at: lies in the past; give a time to come, or open the sale by its phase";
        return Err(HttpError::invalid(message));
    }
    Ok(())
}

fn seats_named(plan: &Plan, names: &[String]) -> Result<SeatSet, HttpError> {
    let mut set = SeatSet::new(plan.seats.len());
    for name in names {
        let seat = plan.index_of(name);
        set.insert(
            seat.ok_or_else(|| HttpError::invalid(format!("blocked: the plan has no seat {name:?}")))?,
        );
    }
    Ok(set)
}

fn invalid(error: SettingError) -> HttpError {
    HttpError::invalid(error.to_string())
}
