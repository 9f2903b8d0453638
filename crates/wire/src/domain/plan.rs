//! Seating plans in pretix's open format. Plan order is the order in the file; extra keys are ignored.

use super::{
    plan_file::{File, FileSeat, Label, Object, Position, Row},
    ranking::{Ranking, RowFacts, distance},
};
use std::{collections::HashMap, ops::Range};

/// Largest plan that is accepted, in bytes.
pub const PLAN_BYTES_MAX: usize = 32 << 20;

/// Longest `seat_guid`, in bytes: several of them must fit a frame.
const SEAT_ID_BYTES_MAX: usize = 255;
/// Furthest coordinate, either way: no hall is larger, in whatever unit, and a map must still tell seats apart.
pub(super) const COORDINATE_MAX: f64 = 1e7;

/// Seats further apart than this, in units of their row's usual distance, have an aisle between them.
const AISLE: f64 = 1.6;

/// A seat by its place in plan order.
pub type SeatIndex = u32;

/// A plan that was refused: what is wrong, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan: {path}: {fault}")]
pub struct PlanError {
    /// Path of the fault, such as `zones[0].rows[2].seats[5].seat_guid`.
    pub path: String,
    /// What is wrong there.
    pub fault: String,
}

/// One seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its `seat_guid`.
    pub id: String,
    /// Index into [`Plan::categories`].
    pub category: u16,
    /// Whether it is right beside the seat before it in plan order: same row, no aisle between.
    pub beside_previous: bool,
}

/// Seats right beside each other: a row, or the part of one up to an aisle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them.
    pub first: SeatIndex,
    /// After the last.
    pub end: SeatIndex,
    /// The category of them all, if they are of one.
    pub category: Option<u16>,
    /// Index into [`Plan::zones`].
    pub zone: usize,
    /// Index into [`Plan::rows`].
    pub row: u32,
}

/// A hall: its seats in plan order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of the categories, in the file's order.
    pub categories: Vec<String>,
    /// The seats in plan order.
    pub seats: Vec<Seat>,
    /// The stretches of neighbours that they are in, in plan order; none is empty.
    pub stretches: Vec<Stretch>,
    /// The stretches of each zone; none is empty.
    pub zones: Vec<Range<usize>>,
    /// The seats of each row; none is empty.
    pub rows: Vec<Range<SeatIndex>>,
    /// Which of them are better.
    pub ranking: Ranking,
    by_id: HashMap<String, SeatIndex>,
}

const ORIGIN: Position = Position { x: 0.0, y: 0.0 };

impl Plan {
    /// Reads and checks a plan.
    pub fn parse(json: &[u8]) -> Result<Self, PlanError> {
        let fail = |path: &str, fault: String| PlanError { path: path.into(), fault };
        if json.len() > PLAN_BYTES_MAX {
            return Err(fail("$", format!("is larger than {} MiB", PLAN_BYTES_MAX >> 20)));
        }
        // serde would take a list for an object too.
        if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(fail("$", "is not a JSON object".into()));
        }
        let from = &mut serde_json::Deserializer::from_slice(json);
        let file: File = serde_path_to_error::deserialize(from)
            .map_err(|e| fail(&e.path().to_string(), e.inner().to_string()))?;
        Self::build(file)
    }

    fn build(file: File) -> Result<Self, PlanError> {
        let mut categories = HashMap::new();
        for (i, category) in file.categories.iter().enumerate() {
            let index = u16::try_from(i).map_err(|_| fault("categories", "has more than 65,536 entries"))?;
            if category.name.chars().any(char::is_control) {
                return Err(fault(&format!("categories[{i}].name"), "holds control characters"));
            }
            if categories.insert(category.name.clone(), index).is_some() {
                return Err(fault(&format!("categories[{i}].name"), "is there twice"));
            }
        }
        let mut plan = Self {
            categories: file.categories.into_iter().map(|c| c.0.name).collect(),
            seats: Vec::new(),
            stretches: Vec::new(),
            zones: Vec::new(),
            rows: Vec::new(),
            ranking: Ranking::default(),
            by_id: HashMap::new(),
        };
        let mut rows = Vec::new();
        for (z, zone) in file.zones.iter().enumerate() {
            let first = plan.stretches.len();
            for (r, row) in zone.rows.iter().enumerate() {
                let first = plan.seats.len() as SeatIndex;
                plan.add_row(row, &categories, &format!("zones[{z}].rows[{r}]"))?;
                let seats = first..plan.seats.len() as SeatIndex;
                if !seats.is_empty() {
                    plan.rows.push(seats);
                    rows.push(row_facts(row, zone.position, plan.zones.len()));
                }
            }
            if plan.stretches.len() > first {
                plan.zones.push(first..plan.stretches.len());
            }
        }
        if plan.seats.is_empty() {
            return Err(fault("zones", "has no seats"));
        }
        plan.ranking =
            Ranking::new(&plan.stretches, &rows, file.stage, |stretch| plan.categories_in(stretch));
        Ok(plan)
    }

    /// The categories of a stretch, each once.
    fn categories_in(&self, stretch: &Stretch) -> Vec<u16> {
        if let Some(category) = stretch.category {
            return vec![category];
        }
        let seats = &self.seats[stretch.first as usize..stretch.end as usize];
        let mut categories: Vec<_> = seats.iter().map(|seat| seat.category).collect();
        categories.sort_unstable();
        categories.dedup();
        categories
    }

    fn add_row(&mut self, row: &Row, categories: &HashMap<String, u16>, path: &str) -> Result<(), PlanError> {
        let usual = usual_distance(row);
        let mut previous = None;
        for (s, seat) in row.seats.iter().enumerate() {
            let at = |field: &str| format!("{path}.seats[{s}].{field}");
            let Some(&category) = categories.get(&seat.category) else {
                return Err(fault(&at("category"), &format!("no category is called {:?}", seat.category)));
            };
            if seat.seat_guid.is_empty() || seat.seat_guid.chars().any(char::is_control) {
                return Err(fault(&at("seat_guid"), "is empty or holds control characters"));
            }
            if seat.seat_guid.len() > SEAT_ID_BYTES_MAX {
                return Err(fault(&at("seat_guid"), &format!("has more than {SEAT_ID_BYTES_MAX} bytes")));
            }
            if seat.position.is_some_and(|p| p.x.abs().max(p.y.abs()) > COORDINATE_MAX) {
                return Err(fault(&at("position"), "lies further out than any map can draw"));
            }
            let index = SeatIndex::try_from(self.seats.len()).map_err(|_| fault(path, "too many seats"))?;
            if self.by_id.insert(seat.seat_guid.clone(), index).is_some() {
                return Err(fault(&at("seat_guid"), &format!("{:?} is there twice", seat.seat_guid)));
            }
            let beside_previous = s > 0
                && match (previous, seat.position, usual) {
                    (Some(a), Some(b), Some(usual)) => distance(a, b) <= AISLE * usual,
                    _ => true,
                };
            previous = seat.position;
            self.seats.push(Seat { id: seat.seat_guid.clone(), category, beside_previous });
            match self.stretches.last_mut() {
                Some(stretch) if beside_previous => {
                    stretch.end += 1;
                    stretch.category = stretch.category.filter(|of_all| *of_all == category);
                }
                _ => self.stretches.push(Stretch {
                    first: index,
                    end: index + 1,
                    category: Some(category),
                    zone: self.zones.len(),
                    row: self.rows.len() as u32,
                }),
            }
        }
        Ok(())
    }

    /// Which stretch the seat is in.
    pub fn stretch_of(&self, seat: SeatIndex) -> usize {
        self.stretches.partition_point(|stretch| stretch.end <= seat)
    }

    /// The seat of that `seat_guid`.
    pub fn index_of(&self, seat_id: &str) -> Option<SeatIndex> {
        self.by_id.get(seat_id).copied()
    }

    /// The `seat_guid`; empty beyond the plan.
    pub fn id_of(&self, seat: SeatIndex) -> &str {
        self.seats.get(seat as usize).map_or("", |seat| &seat.id)
    }

    /// The `seat_guid`s of many seats.
    pub fn ids_of(&self, seats: &[SeatIndex]) -> Vec<String> {
        seats.iter().map(|seat| self.id_of(*seat).to_owned()).collect()
    }

    /// The category of that name, as an index into [`Plan::categories`].
    pub fn category_of(&self, name: &str) -> Option<u16> {
        self.categories.iter().position(|c| c == name).and_then(|i| u16::try_from(i).ok())
    }

    /// Whether the seats, in plan order, are all next to each other.
    pub fn together(&self, seats: &[SeatIndex]) -> bool {
        seats.windows(2).all(|pair| {
            pair[1] == pair[0] + 1 && self.seats.get(pair[1] as usize).is_some_and(|s| s.beside_previous)
        })
    }
}

fn fault(path: &str, fault: &str) -> PlanError {
    PlanError { path: path.into(), fault: fault.into() }
}

/// What the order of rows is made of.
fn row_facts(row: &Row, zone_at: Option<Position>, zone: usize) -> RowFacts {
    let label = row.row_number.as_ref().map(|label| match label {
        Label::Text(text) => text.clone(),
        Label::Number(number) => number.to_string(),
    });
    let seat_at = |seat: Option<&Object<FileSeat>>| seat.and_then(|seat| seat.position).unwrap_or(ORIGIN);
    let (first, last) = (seat_at(row.seats.first()), seat_at(row.seats.last()));
    let zone_at = zone_at.unwrap_or(ORIGIN);
    let at = row.position.map(|row_at| Position {
        x: zone_at.x + row_at.x + (first.x + last.x) / 2.0,
        y: zone_at.y + row_at.y + (first.y + last.y) / 2.0,
    });
    RowFacts { zone, label, at }
}

/// The median distance of neighbours in the file; nothing where positions are missing or all the same.
fn usual_distance(row: &Row) -> Option<f64> {
    let pairs = row.seats.windows(2);
    let mut gaps: Vec<f64> =
        pairs.filter_map(|pair| Some(distance(pair[0].position?, pair[1].position?))).collect();
    gaps.sort_by(f64::total_cmp);
    // Of as many wide ones as narrow ones the narrow are the usual.
    gaps.get(gaps.len().saturating_sub(1) / 2).copied().filter(|gap| *gap > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALL: &[u8] = include_bytes!("../../../../data/seating-plan-riethsporthalle.json");

    #[test]
    fn the_real_hall_is_read() {
        let plan = Plan::parse(HALL).unwrap();
        assert_eq!(plan.seats.len(), 1222);
        assert_eq!(plan.categories, ["VIP", "Kategorie I", "Kategorie II"]);
        let seat = plan.index_of("B-3-12").unwrap();
        assert_eq!(plan.id_of(seat), "B-3-12");
    }

    #[test]
    fn an_aisle_parts_neighbours() {
        let plan = Plan::parse(HALL).unwrap();
        let pair = |a: &str, b: &str| [plan.index_of(a).unwrap(), plan.index_of(b).unwrap()];
        assert!(plan.together(&pair("D-14-6", "D-14-7")));
        assert!(!plan.together(&pair("D-14-7", "D-14-8")), "x jumps from 150 to 200 there");
        assert!(!plan.together(&pair("D-14-5", "D-14-7")));
    }

    #[test]
    fn an_aisle_is_seen_in_a_short_row_too() {
        for (xs, aisles) in
            [(&[0, 25, 100][..], &[2][..]), (&[0, 25, 50, 125, 200], &[3, 4]), (&[0, 100], &[])]
        {
            let seat =
                |x: &i32| format!(r#"{{"seat_guid":"{x}","category":"A","position":{{"x":{x},"y":0}}}}"#);
            let seats: Vec<_> = xs.iter().map(seat).collect();
            let plan = format!(
                r#"{{"categories":[{{"name":"A"}}],"zones":[{{"rows":[{{"seats":[{}]}}]}}]}}"#,
                seats.join(",")
            );
            let plan = Plan::parse(plan.as_bytes()).unwrap();
            let begins = |at: &usize| !plan.seats[*at].beside_previous;
            assert_eq!((1..xs.len()).filter(begins).collect::<Vec<_>>(), aisles, "{xs:?}");
        }
    }

    #[test]
    fn a_list_is_no_object() {
        for plan in [
            r#"{"categories":[["A"]],"zones":[{"rows":[{"seats":[{"seat_guid":"1","category":"A"}]}]}]}"#,
            r#"{"categories":[{"name":"A"}],"zones":[{"rows":[{"seats":[["1","A"]]}]}]}"#,
            r#"{"categories":[{"name":"A"}],"zones":[[null,[]]]}"#,
        ] {
            assert!(refused(plan).contains("expected an object"), "{}", refused(plan));
        }
        let places = r#"{"categories":[{"name":"A"}],"zones":[{"rows":[{"seats":[{"seat_guid":"1","category":"A","position":[1,2]}]}]}]}"#;
        assert!(Plan::parse(places.as_bytes()).is_ok(), "a position that is none is passed over");
    }

    fn refused(json: &str) -> String {
        Plan::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_plan_is_refused_with_the_path_of_the_fault() {
        let seat =
            |guid: &str, category: &str| format!(r#"{{"seat_guid":"{guid}","category":"{category}"}}"#);
        let plan = |seats: &str| {
            format!(r#"{{"categories":[{{"name":"A"}}],"zones":[{{"rows":[{{"seats":[{seats}]}}]}}]}}"#)
        };
        let twice = refused(&plan(&[seat("1", "A"), seat("1", "A")].join(",")));
        assert!(twice.contains("zones[0].rows[0].seats[1].seat_guid"), "{twice}");
        let unknown = refused(&plan(&seat("1", "B")));
        assert!(unknown.contains("zones[0].rows[0].seats[0].category"), "{unknown}");
        assert!(refused(&plan("")).contains("zones: has no seats"));
        assert!(
            refused(&plan(r#"{"seat_guid":7,"category":"A"}"#))
                .contains("zones[0].rows[0].seats[0].seat_guid")
        );
        assert!(refused(r#"{"zones":[]}"#).contains("categories"));
        assert!(refused("[").contains("plan:"));
        assert!(Plan::parse(&vec![b' '; PLAN_BYTES_MAX + 1]).unwrap_err().fault.contains("32 MiB"));
    }

    #[test]
    fn stretches_are_the_rows_up_to_their_aisles() {
        let plan = Plan::parse(HALL).unwrap();
        assert_eq!(plan.zones.len(), 6);
        let seats = 0..plan.seats.len() as SeatIndex;
        let begins: Vec<_> = seats.filter(|seat| !plan.seats[*seat as usize].beside_previous).collect();
        assert!(plan.stretches.iter().map(|stretch| stretch.first).eq(begins));
        let aisle = plan.index_of("D-14-8").unwrap();
        assert_eq!(plan.stretches[plan.stretch_of(aisle)].first, aisle);
        assert_eq!(plan.stretches[plan.stretch_of(aisle - 1)].end, aisle);
        assert!(plan.stretches.iter().all(|stretch| stretch.category.is_some()));
    }

    #[test]
    fn extra_keys_and_missing_positions_are_fine() {
        let json = r#"{"x":1,"categories":[{"name":"A","y":2}],"zones":[{"rows":[{"seats":[
            {"seat_guid":"1","category":"A","position":"odd"},{"seat_guid":"2","category":"A","z":[]}]}]}]}"#;
        let plan = Plan::parse(json.as_bytes()).unwrap();
        assert!(plan.together(&[0, 1]));
    }
}
