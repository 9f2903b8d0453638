//! Where a new plan says that things are: all of it finite, and no further out than a map can draw. Plans that are in use are
//! not asked: there, what is odd counts as missing.

use super::plan::{COORDINATE_MAX, PlanError};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    size: Option<Size>,
    #[serde(default)]
    stage: Option<Point>,
    zones: Vec<Zone>,
}
#[derive(Deserialize)]
struct Zone {
    #[serde(default)]
    position: Option<Point>,
    #[serde(default)]
    rows: Vec<Row>,
}
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    position: Option<Point>,
}
#[derive(Deserialize)]
struct Point {
    x: f64,
    y: f64,
}
#[derive(Deserialize)]
struct Size {
    width: f64,
    height: f64,
}

/// The first that cannot be.
pub fn check(plan_json: &[u8]) -> Result<(), PlanError> {
    let from = &mut serde_json::Deserializer::from_slice(plan_json);
    let file: File = serde_path_to_error::deserialize(from)
        .map_err(|error| fault(error.path().to_string(), &error.inner().to_string()))?;
    if file
        .size
        .is_some_and(|size| !possible(&[size.width, size.height]) || size.width.min(size.height) < 0.0)
    {
        return Err(fault("size".into(), "is none that a hall can have"));
    }
    let stage = file.stage.iter().map(|stage| ("stage".to_owned(), stage));
    let zones = file.zones.iter().enumerate().flat_map(|(z, zone)| {
        let own = zone.position.iter().map(move |at| (format!("zones[{z}].position"), at));
        let rows = zone.rows.iter().enumerate();
        let rows = rows.filter_map(|(r, row)| Some((r, row.position.as_ref()?)));
        own.chain(rows.map(move |(r, at)| (format!("zones[{z}].rows[{r}].position"), at)))
    });
    match stage.chain(zones).find(|(_, at)| !possible(&[at.x, at.y])) {
        Some((path, _)) => Err(fault(path, "lies further out than any map can draw")),
        None => Ok(()),
    }
}

fn possible(numbers: &[f64]) -> bool {
    numbers.iter().all(|number| number.abs() <= COORDINATE_MAX)
}

fn fault(path: String, fault: &str) -> PlanError {
    PlanError { path, fault: fault.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(json: &str) -> String {
        check(json.as_bytes()).map_or_else(|error| error.path, |()| String::new())
    }

    #[test]
    fn the_real_hall_is_drawn() {
        assert_eq!(check(include_bytes!("../../../../data/seating-plan-riethsporthalle.json")), Ok(()));
        assert_eq!(path(r#"{"size":null,"zones":[{"rows":[{"position":null}]}]}"#), "");
    }

    #[test]
    fn what_no_map_can_draw_is_named() {
        for (json, wanted) in [
            (r#"{"size":{"width":1e8,"height":1},"zones":[]}"#, "size"),
            (r#"{"size":{"width":-1,"height":1},"zones":[]}"#, "size"),
            (r#"{"size":{"width":"1","height":1},"zones":[]}"#, "size.width"),
            (r#"{"size":[7],"zones":[]}"#, "size"),
            (r#"{"stage":{"x":0,"y":1e300},"zones":[]}"#, "stage"),
            (r#"{"stage":"north","zones":[]}"#, "stage"),
            (r#"{"zones":[{},{"position":{"x":-1e8,"y":0}}]}"#, "zones[1].position"),
            (r#"{"zones":[{"position":{"x":0,"y":true}}]}"#, "zones[0].position.y"),
            (r#"{"zones":[{"position":{"x":0}}]}"#, "zones[0].position"),
            (r#"{"zones":[{"rows":[{"position":{"x":0,"y":1e9}}]}]}"#, "zones[0].rows[0].position"),
        ] {
            assert_eq!(path(json), wanted, "{json}");
        }
    }
}
