//! How good the seats of a plan are, as far as the plan says it: categories in the order of its list, the first is the
//! best; then the rows nearest the stage; then what is nearest the middle.
//!
//! **Where the stage is** no plan of this format says outright. Rows count from it, so a zone's front is where its row
//! numbers (or letters) are low, and what is before the front it faces. How far back a row is, is measured along the way
//! that its zone faces, from the foremost row of all zones that face alike: a balcony is further back than the stalls
//! before it, and the four sides of an arena are equals. A zone whose rows do not tell faces upwards, as plans are mostly
//! drawn. An operator may say it instead: `"stage": {"x", "y"}` in the plan, in the coordinates of its zones; then it is
//! the distance that counts. A plan that does not place its rows is taken at its word in another way: their order in the
//! file is the order from the stage.

use super::{plan::Stretch, plan_file::Position};
use std::{cmp::Ordering, ops::Range};

/// A row as it stands in the file.
pub(super) struct RowFacts {
    /// Which of the plan's zones.
    pub zone: usize,
    /// Its number or letter.
    pub label: Option<String>,
    /// Where its middle is; nothing if the row is not placed.
    pub at: Option<Position>,
}

/// The seats of one category in a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Index into the plan's stretches.
    pub stretch: u32,
    /// The category; a stretch of several has an entry for each.
    pub category: u16,
}

/// Lists of numbers, one behind the other.
#[derive(Clone, Debug, Default)]
struct Lists {
    ends: Vec<u32>,
    numbers: Vec<u32>,
}

impl Lists {
    /// `(list, number)` in any order of lists; each list keeps its order.
    fn new(lists: usize, of: impl Iterator<Item = (usize, u32)> + Clone) -> Self {
        let mut ends = vec![0; lists];
        of.clone().for_each(|(list, _)| ends[list] += 1);
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        let mut numbers = vec![0; sum as usize];
        for (list, number) in of {
            numbers[ends[list] as usize] = number;
            ends[list] += 1;
        }
        Self { ends, numbers }
    }

    fn get(&self, list: usize) -> &[u32] {
        let first = list.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[first as usize..self.ends[list] as usize]
    }
}

/// The stretches of a plan from the best to the worst, category by category, row by row.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    entries: Vec<Ranked>,
    of_category: Vec<Range<usize>>,
    of_stretch: Lists,
    of_zone: Lists,
    zones: Vec<usize>,
}

impl Ranking {
    pub(super) fn new(
        stretches: &[Stretch],
        rows: &[RowFacts],
        stage: Option<Position>,
        categories_of: impl Fn(&Stretch) -> Vec<u16>,
    ) -> Self {
        let order = Order::new(rows, stage);
        let mut entries: Vec<Ranked> = Vec::with_capacity(stretches.len());
        for (stretch, index) in stretches.iter().zip(0..) {
            entries.extend(
                categories_of(stretch).into_iter().map(|category| Ranked { stretch: index, category }),
            );
        }
        let row = |entry: &Ranked| order.of_row[stretches[entry.stretch as usize].row as usize];
        entries.sort_by_key(|entry| (entry.category, row(entry), entry.stretch));
        let categories = entries.last().map_or(0, |last| usize::from(last.category) + 1);
        let begins = |category| entries.partition_point(|entry| usize::from(entry.category) < category);
        let ranked = || entries.iter().zip(0..);
        let zone_of = |entry: &Ranked| stretches[entry.stretch as usize].zone;
        let zone_count = stretches.last().map_or(0, |last| last.zone + 1);
        let of_zone = Lists::new(zone_count, ranked().map(|(entry, rank)| (zone_of(entry), rank)));
        let mut zones: Vec<_> = (0..zone_count).collect();
        zones.sort_by_key(|zone| of_zone.get(*zone).first().copied());
        Self {
            of_category: (0..categories).map(|category| begins(category)..begins(category + 1)).collect(),
            of_stretch: Lists::new(
                stretches.len(),
                ranked().map(|(entry, rank)| (entry.stretch as usize, rank)),
            ),
            of_zone,
            zones,
            entries,
        }
    }

    /// What is at that rank.
    pub fn entry(&self, rank: usize) -> Ranked {
        self.entries[rank]
    }

    /// How many ranks there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The ranks of a category.
    pub fn of_category(&self, category: u16) -> Range<usize> {
        self.of_category.get(usize::from(category)).cloned().unwrap_or_default()
    }

    /// The ranks of a stretch, the best first: one for each of its categories.
    pub fn of_stretch(&self, stretch: usize) -> &[u32] {
        self.of_stretch.get(stretch)
    }

    /// The ranks of a zone, the best first.
    pub fn of_zone(&self, zone: usize) -> &[u32] {
        self.of_zone.get(zone)
    }

    /// The zones, the one with the best seats first.
    pub fn zones(&self) -> &[usize] {
        &self.zones
    }
}

/// Which way a zone's rows go back from the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    Down,
    Up,
    Right,
    Left,
}

impl Back {
    fn depth(self, at: Position) -> f64 {
        match self {
            Self::Down => at.y,
            Self::Up => -at.y,
            Self::Right => at.x,
            Self::Left => -at.x,
        }
    }

    /// How far to the side of the hall's middle.
    fn aside(self, at: Position, middle: Position) -> f64 {
        match self {
            Self::Down | Self::Up => (at.x - middle.x).abs(),
            Self::Right | Self::Left => (at.y - middle.y).abs(),
        }
    }
}

/// The rows from the stage: for each row of the file its place in that order.
struct Order {
    of_row: Vec<u32>,
}

impl Order {
    fn new(rows: &[RowFacts], stage: Option<Position>) -> Self {
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        let places: Option<Vec<Position>> = rows.iter().map(|row| row.at).collect();
        if let Some(places) = places {
            let key = match stage {
                Some(stage) => places.iter().map(|at| (distance(*at, stage), 0.0)).collect(),
                None => depths(rows, &places),
            };
            // Stable: rows that are equal stay in the file's order.
            sorted.sort_by(|a, b| by_floats(key[*a], key[*b]));
        }
        let mut of_row = vec![0; rows.len()];
        sorted.into_iter().zip(0..).for_each(|(row, place)| of_row[row] = place);
        Self { of_row }
    }
}

fn by_floats(a: (f64, f64), b: (f64, f64)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
}

pub(super) fn distance(a: Position, b: Position) -> f64 {
    (a.x - b.x).hypot(a.y - b.y)
}

/// For each row how far back it is, and how far to the side.
fn depths(rows: &[RowFacts], places: &[Position]) -> Vec<(f64, f64)> {
    let middle_of = |of: fn(&Position) -> f64| {
        let all = || places.iter().map(of);
        all().fold(f64::INFINITY, f64::min) / 2.0 + all().fold(f64::NEG_INFINITY, f64::max) / 2.0
    };
    let middle = Position { x: middle_of(|at| at.x), y: middle_of(|at| at.y) };
    let mut backs = Vec::with_capacity(rows.len());
    let mut zone = 0..0;
    while zone.start < rows.len() {
        let same = rows[zone.start..].iter().take_while(|row| row.zone == rows[zone.start].zone).count();
        zone.end = zone.start + same;
        backs.resize(zone.end, back_of(&rows[zone.clone()], &places[zone.clone()]));
        zone.start = zone.end;
    }
    let foremost = |back: Back| {
        let alike = backs.iter().zip(places).filter(|(b, _)| **b == back);
        alike.map(|(back, at)| back.depth(*at)).fold(f64::INFINITY, f64::min)
    };
    let foremost = [Back::Down, Back::Up, Back::Right, Back::Left].map(|back| (back, foremost(back)));
    let begin = |back: Back| foremost.iter().find(|(b, _)| *b == back).map_or(0.0, |(_, depth)| *depth);
    backs
        .iter()
        .zip(places)
        .map(|(back, at)| (back.depth(*at) - begin(*back), back.aside(*at, middle)))
        .collect()
}

/// From a zone's row of the lowest number towards that of the highest.
fn back_of(rows: &[RowFacts], places: &[Position]) -> Back {
    let labels: Option<Vec<&str>> = rows.iter().map(|row| row.label.as_deref()).collect();
    let Some(numbers) = labels.and_then(|labels| numbers_of(&labels)) else { return Back::Down };
    let ends = (0..rows.len()).min_by_key(|i| numbers[*i]).zip((0..rows.len()).max_by_key(|i| numbers[*i]));
    let Some((front, back)) = ends.filter(|(front, back)| numbers[*front] < numbers[*back]) else {
        return Back::Down;
    };
    let (dx, dy) = (places[back].x - places[front].x, places[back].y - places[front].y);
    match (dy.abs() >= dx.abs(), dx, dy) {
        (true, _, dy) if dy < 0.0 => Back::Up,
        (true, ..) => Back::Down,
        (false, dx, _) if dx < 0.0 => Back::Left,
        (false, ..) => Back::Right,
    }
}

/// Rows that are all called by numbers, or all by letters (A to Z, then AA), as what they count.
fn numbers_of(labels: &[&str]) -> Option<Vec<u64>> {
    let as_number = |label: &&str| label.trim().parse().ok();
    let as_letters = |label: &&str| {
        let letter =
            |letter: char| letter.is_ascii_alphabetic().then(|| u64::from(letter.to_ascii_uppercase()) - 64);
        let letters = label.trim().chars().map(letter).collect::<Option<Vec<_>>>()?;
        // Longer words are names.
        (1..=2).contains(&letters.len()).then(|| letters.iter().fold(0, |sum, letter| sum * 26 + letter))
    };
    let all = |read: &dyn Fn(&&str) -> Option<u64>| labels.iter().map(read).collect::<Option<Vec<_>>>();
    all(&as_number).or_else(|| all(&as_letters))
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use serde_json::{Value, json};

    /// The rows' numbers from the best to the worst of a plan of one category.
    fn order(mut plan: Value) -> Vec<String> {
        plan["categories"] = json!([{"name": "A"}]);
        let plan = Plan::parse(plan.to_string().as_bytes()).unwrap();
        let ranking = &plan.ranking;
        let first = |rank| plan.stretches[ranking.entry(rank).stretch as usize].first;
        (0..ranking.len()).map(|rank| plan.id_of(first(rank)).to_owned()).collect()
    }

    /// A row of one zone, with its number, at that place.
    fn row(zone: &str, number: &str, x: i32, y: i32) -> Value {
        let seat = |n: i32| {
            json!({"seat_guid": format!("{zone}{number}{}", ["", "'"][n as usize]), "category": "A",
            "position": {"x": n * 10, "y": 0}})
        };
        json!({"row_number": number, "position": {"x": x, "y": y}, "seats": [seat(0), seat(1)]})
    }

    #[test]
    fn rows_count_from_the_stage_wherever_it_is_drawn() {
        let hall = |rows: &[(&str, i32, i32)]| {
            let rows: Vec<_> = rows.iter().map(|(number, x, y)| row("", number, *x, *y)).collect();
            order(json!({"zones": [{"rows": rows}]}))
        };
        assert_eq!(hall(&[("1", 0, 0), ("2", 0, 20)]), ["1", "2"]);
        assert_eq!(hall(&[("2", 0, 20), ("1", 0, 0)]), ["1", "2"], "the file's order says nothing");
        assert_eq!(hall(&[("14", 0, 0), ("9", 0, 20), ("6", 0, 40)]), ["6", "9", "14"], "the stage is below");
        assert_eq!(hall(&[("A", 40, 0), ("B", 20, 0), ("AA", 0, 0)]), ["A", "B", "AA"], "… or on the right");
        assert_eq!(hall(&[("Loge", 0, 20), ("Parkett", 0, 0)]), ["Parkett", "Loge"], "nobody says: above");
    }

    #[test]
    fn zones_that_face_alike_stand_behind_each_other_and_the_sides_of_an_arena_are_equals() {
        let zone = |name: &str, x: i32, y: i32, rows: &[(&str, i32)]| {
            let rows: Vec<_> = rows.iter().map(|(number, y)| row(name, number, 0, *y)).collect();
            json!({"position": {"x": x, "y": y}, "rows": rows})
        };
        let theatre =
            [zone("balcony", 0, 100, &[("1", 0), ("2", 20)]), zone("stalls", 0, 0, &[("1", 0), ("2", 20)])];
        let from_front = ["stalls1", "stalls2", "balcony1", "balcony2"];
        assert_eq!(order(json!({ "zones": theatre })), from_front);
        let arena =
            [zone("north", 0, 0, &[("2", 0), ("1", 20)]), zone("south", 0, 200, &[("1", 0), ("2", 20)])];
        assert_eq!(order(json!({ "zones": arena })), ["north1", "south1", "north2", "south2"]);
        let blocks = [0, 100, 200].map(|x| zone(&x.to_string(), x, 0, &[("1", 0)]));
        assert_eq!(order(json!({ "zones": blocks })), ["1001", "01", "2001"], "the middle one is the best");
    }

    #[test]
    fn the_operator_may_say_where_the_stage_is() {
        let zones = json!([{"rows": [row("", "1", 0, 0), row("", "2", 0, 20), row("", "3", 0, 40)]}]);
        assert_eq!(order(json!({"stage": {"x": 0, "y": 50}, "zones": zones})), ["3", "2", "1"]);
        assert_eq!(order(json!({"stage": {"x": 5, "y": 21}, "zones": zones})), ["2", "3", "1"]);
        assert_eq!(
            order(json!({"stage": "ahead", "zones": zones})),
            ["1", "2", "3"],
            "what is odd is passed over"
        );
    }

    #[test]
    fn without_places_the_file_s_order_counts() {
        let seat = |name: &str| json!({"seat_guid": name, "category": "A"});
        let rows =
            json!([{"row_number": "2", "seats": [seat("b")]}, {"row_number": 1, "seats": [seat("a")]}]);
        assert_eq!(order(json!({"zones": [{ "rows": rows }]})), ["b", "a"]);
    }
}
