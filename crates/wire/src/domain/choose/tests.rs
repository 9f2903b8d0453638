//! The chooser against an oracle that tries everything, on halls so small that it can.

use super::*;
use crate::domain::{plan::Plan, seats::SeatSet};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use std::sync::Arc;

type Chosen = Result<Vec<SeatIndex>, Refusal>;

/// A hall of zones of rows; a row is a word such as `aab|ab`: a letter is a seat's category, `|` is an aisle, and a
/// capital is a seat that is taken.
fn hall(zones: &[&[&str]]) -> Hall {
    seen_from(zones, false)
}

/// The same; if the stage is `behind`, rows are placed so that the last of the file is the nearest.
fn seen_from(zones: &[&[&str]], behind: bool) -> Hall {
    let (mut names, mut taken, mut y) = (0.., Vec::new(), 0);
    let mut row = |word: &str| -> Value {
        y -= 10;
        let mut x = 0;
        let mut seats = Vec::new();
        for letter in word.chars() {
            x += if letter == '|' { 100 } else { 10 };
            if letter != '|' {
                let name: SeatIndex = names.next().unwrap();
                taken.extend(letter.is_uppercase().then_some(name));
                let category = letter.to_ascii_lowercase().to_string();
                seats.push(json!({"seat_guid": name.to_string(), "category": category, "position": {"x": x, "y": 0}}));
            }
        }
        if behind { json!({"position": {"x": 0, "y": y}, "seats": seats}) } else { json!({ "seats": seats }) }
    };
    let zones: Vec<_> =
        zones.iter().map(|rows| json!({"rows": rows.iter().map(|r| row(r)).collect::<Vec<_>>()})).collect();
    let file = json!({"categories": [{"name": "a"}, {"name": "b"}], "zones": zones});
    let plan = Arc::new(Plan::parse(file.to_string().as_bytes()).unwrap());
    let taken = SeatSet::from_seats(plan.seats.len(), taken);
    Hall::new(plan, taken)
}

fn best(hall: &Hall, count: usize, category: Option<u16>, together: bool) -> Chosen {
    hall.choose(false, &Wish::Best { count, category, together })
}

#[test]
fn neighbours_come_before_the_front() {
    assert_eq!(best(&hall(&[&["aaa", "bbb"]]), 2, None, true), Ok(vec![0, 1]), "beside a free run of one");
    assert_eq!(best(&hall(&[&["Aaa", "bbb"]]), 2, None, false), Ok(vec![1, 2]));
    assert_eq!(best(&hall(&[&["aAa", "bbb"]]), 2, None, false), Ok(vec![3, 4]), "a row is not the next row");
    assert_eq!(best(&hall(&[&["a|aaa"]]), 2, None, true), Ok(vec![1, 2]), "nor does it go on over an aisle");
    assert_eq!(best(&hall(&[&["aAa", "bBb"]]), 2, None, true), Err(Refusal::NoSeatsTogether));
    assert_eq!(best(&hall(&[&["aaa", "bbb"]]), 2, Some(1), true), Ok(vec![3, 4]));
    assert_eq!(best(&hall(&[&["aaa", "bbb"]]), 4, Some(1), false), Err(Refusal::NoSeatsTogether));
    assert_eq!(best(&hall(&[&["AAA", "BBB"]]), 1, None, false), Err(Refusal::SoldOut));
    assert_eq!(best(&hall(&[&["aab", "bba"]]), 3, Some(1), true), Err(Refusal::NoSeatsTogether));
}

#[test]
fn nobody_is_left_alone_among_seats_as_good() {
    assert_eq!(best(&hall(&[&["aaa", "aaaa"]]), 2, None, true), Ok(vec![3, 4]), "the row behind is as good");
    assert_eq!(best(&hall(&[&["aaaA", "Aaa"]]), 2, None, true), Ok(vec![5, 6]), "a whole run");
    assert_eq!(best(&hall(&[&["aaa", "bbbb"]]), 2, None, true), Ok(vec![0, 1]), "another price is not");
    assert_eq!(best(&hall(&[&["aaa"], &["aaaa"]]), 2, None, true), Ok(vec![0, 1]), "nor is another zone");
    assert_eq!(best(&hall(&[&["aaaa", "aaaa"]]), 2, None, true), Ok(vec![0, 1]));
    assert_eq!(best(&hall(&[&["aaa"]]), 1, None, true), Ok(vec![0]), "two are left");
    assert_eq!(best(&hall(&[&["aa", "aaAa"]]), 1, None, true), Ok(vec![5]), "who is alone takes a lone seat");
    let mixed = hall(&[&["baab"]]);
    assert_eq!(best(&mixed, 2, Some(0), true), Ok(vec![1, 2]), "no wish fails for an orphan");
}

#[test]
fn the_best_category_comes_first_then_the_stage_then_the_middle() {
    let all = hall(&[&["bbbbb", "aaaaa"], &["aaaaaaa"]]);
    assert_eq!(
        best(&all, 1, None, true),
        Ok(vec![7]),
        "the order of categories is the operator's, not the file's"
    );
    assert_eq!(best(&all, 3, None, true), Ok(vec![5, 6, 7]), "the middle would leave two alone");
    assert_eq!(best(&all, 1, Some(1), true), Ok(vec![2]));
    assert_eq!(best(&all, 6, None, true), Ok(vec![10, 11, 12, 13, 14, 15]));
    let behind = seen_from(&[&["aaaaa", "aaaaa"]], true);
    assert_eq!(
        best(&behind, 1, None, true),
        Ok(vec![7]),
        "the row nearest the stage, wherever it is in the file"
    );
    assert_eq!(best(&hall(&[&["aaaaaaa|aa"]]), 1, None, true), Ok(vec![4]), "an aisle moves no row's middle");
    assert_eq!(
        best(&hall(&[&["aAAAAaaa|aa"]]), 2, None, true),
        Ok(vec![8, 9]),
        "nobody alone: another part of the row before another row"
    );
    assert_eq!(
        best(&hall(&[&["abb", "bbbbbb"]]), 3, None, true),
        Ok(vec![0, 1, 2]),
        "as good as the worst of them"
    );
    assert_eq!(best(&hall(&[&["bBb", "BbBbB"], &["aBa"]]), 2, None, false), Ok(vec![8, 10]), "apart, too");
    assert_eq!(best(&hall(&[&["bBb", "aAa"]]), 2, None, false), Ok(vec![3, 5]), "… within a zone");
}

/// What stood in the first report: the last row of the lowest category.
#[test]
fn the_best_of_the_real_hall_is_in_the_front() {
    let file = include_bytes!("../../../../../data/seating-plan-riethsporthalle.json");
    let plan = Arc::new(Plan::parse(file).unwrap());
    let mut hall = Hall::new(plan.clone(), SeatSet::new(plan.seats.len()));
    let names = |hall: &Hall, count, category: Option<&str>| {
        let category = category.map(|name| plan.category_of(name).unwrap());
        plan.ids_of(&best(hall, count, category, true).unwrap())
    };
    assert_eq!(
        names(&hall, 2, None),
        ["B-1-10", "B-1-11"],
        "seat 8 would be alone between the aisle and them"
    );
    assert_eq!(names(&hall, 1, None), ["B-1-10"]);
    assert_eq!(names(&hall, 2, Some("Kategorie I")), ["E-6-5", "E-6-6"]);
    assert_eq!(names(&hall, 2, Some("Kategorie II")), ["F-6-5", "F-6-6"], "nearest the hall's middle");
    for seat in 1..=19 {
        hall.take(plan.index_of(&format!("B-1-{seat}")).unwrap());
    }
    assert_eq!(names(&hall, 1, None), ["B-2-10"]);
}

#[test]
fn apart_is_in_few_pieces_near_each_other() {
    assert_eq!(best(&hall(&[&["aAaaA", "aaAAA"]]), 4, None, false), Ok(vec![2, 3, 5, 6]));
    assert_eq!(best(&hall(&[&["aAaA"], &["AAAA", "aaAa"]]), 3, None, false), Ok(vec![8, 9, 11]), "one zone");
    assert_eq!(
        best(&hall(&[&["aAaAaA"], &["aAaa"]]), 3, None, false),
        Ok(vec![6, 8, 9]),
        "two pieces, not three"
    );
    assert_eq!(
        best(&hall(&[&["aaAA", "aAaa"]]), 3, None, false),
        Ok(vec![4, 6, 7]),
        "without leaving one alone"
    );
    assert_eq!(best(&hall(&[&["aA"], &["aB"]]), 2, None, false), Ok(vec![0, 2]), "over two zones if need be");
    assert_eq!(best(&hall(&[&["aAa"]]), 3, None, false), Err(Refusal::NoSeatsTogether));
}

#[test]
fn held_seats_may_come_back_so_the_hall_is_not_sold_out() {
    let wish = Wish::Best { count: 1, category: None, together: false };
    assert_eq!(hall(&[&["AAA"]]).choose(true, &wish), Err(Refusal::NoSeatsTogether));
}

#[test]
fn explicit_seats_are_all_or_none() {
    let hall = hall(&[&["aAaaaA"]]);
    let ask = |seats: &[SeatIndex]| hall.choose(false, &Wish::Seats(seats.to_vec()));
    assert_eq!(ask(&[0, 2]), Ok(vec![0, 2]));
    assert_eq!(ask(&[0, 1, 5]), Err(Refusal::SeatTaken(vec![1, 5])));
}

/// What the oracle compares choices by: the least is the best.
type Rank = Vec<usize>;

/// How much of the rank of seats apart holds also where a stretch mixes categories.
const APART_KNOWN: usize = 4;

/// The oracle: every choice there is, judged by what the chooser promises.
struct Oracle<'a> {
    hall: &'a Hall,
    count: usize,
    category: Option<u16>,
    /// Whether the last row of the file is the nearest to the stage.
    behind: bool,
}

impl Oracle<'_> {
    fn is_free(&self, seat: SeatIndex) -> bool {
        (seat as usize) < self.hall.plan().seats.len() && !self.hall.taken().contains(seat)
    }

    /// Whether the seat is free, once `chosen` are taken, and has no free neighbour.
    fn is_alone(&self, seat: SeatIndex, chosen: &[SeatIndex]) -> bool {
        let is_free = |seat: SeatIndex| self.is_free(seat) && !chosen.contains(&seat);
        let seats = &self.hall.plan().seats;
        let left = seats[seat as usize].beside_previous && is_free(seat - 1);
        let right = seats.get(seat as usize + 1).is_some_and(|s| s.beside_previous) && is_free(seat + 1);
        is_free(seat) && !left && !right
    }

    fn orphans(&self, chosen: &[SeatIndex]) -> usize {
        let all = 0..self.hall.plan().seats.len() as SeatIndex;
        all.filter(|seat| self.is_alone(*seat, chosen) && !self.is_alone(*seat, &[])).count()
    }

    fn zone(&self, seat: SeatIndex) -> usize {
        let stretch = self.hall.plan().stretch_of(seat);
        self.hall.plan().zones.iter().position(|zone| zone.contains(&stretch)).unwrap()
    }

    fn category(&self, seat: SeatIndex) -> usize {
        self.hall.plan().seats[seat as usize].category.into()
    }

    /// Its row, counted from the stage.
    fn row(&self, seat: SeatIndex) -> usize {
        let rows = &self.hall.plan().rows;
        let row = rows.iter().position(|row| row.contains(&seat)).unwrap();
        if self.behind { rows.len() - row } else { row }
    }

    /// How many zones have a better seat than this one's best, taken or not.
    fn zone_rank(&self, zone: usize) -> usize {
        let all = || 0..self.hall.plan().seats.len() as SeatIndex;
        let best = |of: usize| {
            let seats = all().filter(|seat| self.zone(*seat) == of);
            seats.map(|seat| (self.category(seat), self.row(seat))).min()
        };
        (0..self.hall.plan().zones.len()).filter(|other| best(*other) < best(zone)).count()
    }

    /// Of neighbours: how good they are, but for orphans.
    fn quality(&self, chosen: &[SeatIndex]) -> Rank {
        let (first, last) = (chosen[0], chosen[chosen.len() - 1]);
        let row = self.hall.plan().rows.iter().find(|row| row.contains(&first)).unwrap();
        let off = (first + last + 1).abs_diff(row.start + row.end) as usize;
        let worst = chosen.iter().map(|seat| self.category(*seat)).max().unwrap();
        vec![worst, self.row(first), off, first as usize]
    }

    fn rank(&self, chosen: &[SeatIndex]) -> Rank {
        let (first, last) = (chosen[0], chosen[chosen.len() - 1]);
        let beside = |pair: &[SeatIndex]| {
            pair[1] == pair[0] + 1 && self.hall.plan().seats[pair[1] as usize].beside_previous
        };
        let pieces = 1 + chosen.windows(2).filter(|pair| !beside(pair)).count();
        let orphans = self.orphans(chosen);
        if pieces == 1 {
            return [vec![0, orphans], self.quality(chosen)].concat();
        }
        let zones = (self.zone(first), self.zone(last));
        let where_ = if zones.0 == zones.1 { [0, self.zone_rank(zones.0)] } else { [1, 0] };
        let category = self.category(first);
        let is_of_one = chosen.iter().all(|seat| self.category(*seat) == category);
        let class = if is_of_one { category } else { usize::MAX };
        let behind = [class, orphans, (last - first) as usize, category, self.row(first), first as usize];
        [vec![1, pieces], where_.to_vec(), behind.to_vec()].concat()
    }

    /// All choices of seats that fit.
    fn choices(&self) -> Vec<Vec<SeatIndex>> {
        let seats = &self.hall.plan().seats;
        let fits = |seat: &SeatIndex| {
            self.is_free(*seat) && self.category.is_none_or(|c| seats[*seat as usize].category == c)
        };
        let mut choices = vec![Vec::new()];
        for seat in (0..seats.len() as SeatIndex).filter(fits) {
            let longer = choices.iter().filter(|c| c.len() < self.count).map(|c| [&c[..], &[seat]].concat());
            choices.extend(longer.collect::<Vec<_>>());
        }
        choices.retain(|choice| choice.len() == self.count);
        choices
    }

    /// The least rank of those who are as good as the best place together; else of all choices.
    fn best(&self) -> Option<Rank> {
        let choices = self.choices();
        let is_together = |choice: &&Vec<SeatIndex>| self.hall.plan().together(choice);
        let Some(first) = choices.iter().filter(is_together).min_by_key(|choice| self.quality(choice)) else {
            return choices.iter().map(|choice| self.rank(choice)).min();
        };
        let category = |seat: &SeatIndex| self.hall.plan().seats[*seat as usize].category;
        let alike = |choice: &&Vec<SeatIndex>| {
            self.zone(choice[0]) == self.zone(first[0])
                && choice.iter().map(category).eq(first.iter().map(category))
        };
        choices.iter().filter(is_together).filter(alike).map(|choice| self.rank(choice)).min()
    }

    /// What is wrong with an answer.
    fn fault(&self, together: bool, answer: &Chosen) -> Option<String> {
        let best = self.best().filter(|rank| !(together && rank[0] == 1));
        match answer {
            Ok(seats) => {
                let rank = self.choices().contains(seats).then(|| self.rank(seats));
                let mixed = self.hall.plan().stretches.iter().any(|stretch| stretch.category.is_none());
                // As documented: orphans of another category in the same row do not count when apart.
                let skip = mixed && best.as_ref().is_some_and(|best| best[0] == 1);
                let judged = |rank: &Rank| if skip { rank[..APART_KNOWN].to_vec() } else { rank.clone() };
                (rank.as_ref().map(judged) != best.as_ref().map(judged))
                    .then(|| format!("{seats:?} {rank:?}, best is {best:?}"))
            }
            Err(Refusal::SoldOut) => {
                (self.hall.taken().len() < self.hall.plan().seats.len()).then(|| "is not sold out".to_owned())
            }
            Err(_) => best.map(|best| format!("refused, though there is {best:?}")),
        }
    }
}

/// Halls of up to 13 seats.
fn halls() -> impl Strategy<Value = Vec<Vec<String>>> {
    let row = prop_oneof!["[aA]{1,7}", "[aA]{1,7}", "[bB]{1,6}", "[aAbB]{1,6}", "[aA]{1,3}\\|[aA]{1,3}"];
    prop::collection::vec(prop::collection::vec(row, 1..4), 1..4).prop_map(|zones| {
        let mut left = 13;
        let mut fits = |row: &String| {
            left -= row.len() as i32;
            left >= 0
        };
        zones.into_iter().map(|zone| zone.into_iter().filter(&mut fits).collect()).collect()
    })
}

/// The first fault of a chooser that random halls bring up.
fn fault_of(cases: u32, chooser: impl Fn(&Hall, &Wish) -> Chosen) -> Option<String> {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let wishes =
        (1usize..6, prop_oneof![Just(None), Just(Some(0)), Just(Some(1))], any::<bool>(), any::<bool>());
    let result = runner.run(&(halls(), wishes), |(zones, (count, category, together, behind))| {
        let zones: Vec<Vec<&str>> =
            zones.iter().map(|zone| zone.iter().map(String::as_str).collect()).collect();
        let zones: Vec<&[&str]> = zones.iter().map(Vec::as_slice).collect();
        prop_assume!(zones.iter().any(|zone| !zone.is_empty()));
        let hall = seen_from(&zones, behind);
        let answer = chooser(&hall, &Wish::Best { count, category, together });
        let fault = Oracle { hall: &hall, count, category, behind }.fault(together, &answer);
        prop_assert!(
            fault.is_none(),
            "{zones:?}, behind {behind}: {count} of {category:?}, together {together}: {fault:?}"
        );
        Ok(())
    });
    result.err().map(|error| error.to_string())
}

#[test]
fn no_choice_is_better() {
    assert_eq!(fault_of(1_500, |hall, wish| hall.choose(false, wish)), None);
}

fn seats(run: Run) -> Vec<SeatIndex> {
    (run.first..run.end).collect()
}

/// Every place of that rank, not only those by the middle.
fn all_places(search: &Search, rank: usize) -> Vec<Run> {
    let count = search.count as SeatIndex;
    let category = search.hall.plan().ranking.entry(rank).category;
    let runs = search.runs(search.stretch(rank)).filter(|run| run.len() >= search.count);
    let places = runs
        .flat_map(|run| (run.first..=run.end - count).map(move |first| Run { first, end: first + count }));
    places.filter(|place| search.worst(*place) == Some(category)).collect()
}

#[test]
fn each_rule_left_out_is_seen() {
    let without = |change: fn(&Search) -> Option<Vec<SeatIndex>>| {
        fault_of(3_000, move |hall, wish| {
            let Wish::Best { count, category, together } = wish else { unreachable!() };
            let search = Search { hall, count: *count, category: *category };
            let apart = || if *together { None } else { search.apart() };
            change(&search).or_else(apart).ok_or(Refusal::NoSeatsTogether)
        })
    };
    let alone: fn(&Search) -> Option<Vec<SeatIndex>> = |search| Some(seats(search.first()?.1));
    assert!(without(alone).unwrap().contains("best is Some([0"), "someone is left alone");
    // Plan order alone, which was the rule once; then the best category and row, but from the row's edge.
    let plan_order: fn(&Search) -> Option<Vec<SeatIndex>> = |search| {
        let places = (0..search.hall.plan().ranking.len()).flat_map(|rank| all_places(search, rank));
        places.min_by_key(|place| place.first).map(seats)
    };
    assert!(without(plan_order).unwrap().contains("best is Some([0"), "plan order");
    let edge: fn(&Search) -> Option<Vec<SeatIndex>> = |search| {
        let mut ranks = 0..search.hall.plan().ranking.len();
        let orphans = |rank, place: &Run| search.hall.orphans(search.stretch(rank), *place);
        let mut free =
            ranks.find_map(|rank| all_places(search, rank).into_iter().find(|p| orphans(rank, p) == 0));
        free.take().or_else(|| search.together()).map(seats)
    };
    assert!(without(edge).unwrap().contains("best is Some([0"), "edge before middle");
    assert!(without(|_| None).is_some(), "apart before together");
    let first_free = fault_of(3_000, |hall, wish| {
        let Wish::Best { count, category, together } = wish else { unreachable!() };
        let search = Search { hall, count: *count, category: *category };
        let beside = search.together().map(|run| (run.first..run.end).collect());
        let all = hall.plan().stretches.iter().flat_map(|stretch| search.runs(stretch));
        let any: Vec<_> = all.flat_map(|run| run.first..run.end).take(*count).collect();
        beside.or_else(|| (!*together && any.len() == *count).then_some(any)).ok_or(Refusal::NoSeatsTogether)
    });
    assert!(first_free.unwrap().contains("best is Some([1"), "the first free seats, wherever they are");
}
