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
    let (mut names, mut taken) = (0.., Vec::new());
    let mut row = |word: &str| -> Value {
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
        json!({ "seats": seats })
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

/// What the oracle compares choices by: the least is the best. Apart or not; then, for neighbours, orphans and where;
/// for pieces, how many, in which zone (one before several), orphans, distance, where.
type Rank = (bool, usize, (bool, usize), usize, SeatIndex, SeatIndex);

/// The oracle: every choice there is, judged by what the chooser promises.
struct Oracle<'a> {
    hall: &'a Hall,
    count: usize,
    category: Option<u16>,
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

    fn rank(&self, chosen: &[SeatIndex]) -> Rank {
        let (first, last) = (chosen[0], chosen[chosen.len() - 1]);
        let beside = |pair: &[SeatIndex]| {
            pair[1] == pair[0] + 1 && self.hall.plan().seats[pair[1] as usize].beside_previous
        };
        let pieces = 1 + chosen.windows(2).filter(|pair| !beside(pair)).count();
        let zones = (self.zone(first), self.zone(last));
        let where_ = if zones.0 == zones.1 { (false, zones.0) } else { (true, 0) };
        (pieces > 1, pieces, where_, self.orphans(chosen), last - first, first)
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

    /// The least rank of those who are as good as the first place together; else of all choices.
    fn best(&self) -> Option<Rank> {
        let choices = self.choices();
        let is_together = |choice: &&Vec<SeatIndex>| self.hall.plan().together(choice);
        let Some(first) = choices.iter().filter(is_together).min_by_key(|choice| choice[0]) else {
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
        let best = self.best().filter(|rank| !(together && rank.0));
        match answer {
            Ok(seats) => {
                let rank = self.choices().contains(seats).then(|| self.rank(seats));
                let mixed = self.hall.plan().stretches.iter().any(|stretch| stretch.category.is_none());
                // As documented: orphans of another category in the same row do not count when apart.
                let skip = mixed && best.is_some_and(|best| best.0);
                let judged = |rank: Rank| if skip { (rank.0, rank.1, rank.2, 0, 0, 0) } else { rank };
                (rank.map(judged) != best.map(judged))
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
    let wishes = (1usize..6, prop_oneof![Just(None), Just(Some(0)), Just(Some(1))], any::<bool>());
    let result = runner.run(&(halls(), wishes), |(zones, (count, category, together))| {
        let zones: Vec<Vec<&str>> =
            zones.iter().map(|zone| zone.iter().map(String::as_str).collect()).collect();
        let zones: Vec<&[&str]> = zones.iter().map(Vec::as_slice).collect();
        prop_assume!(zones.iter().any(|zone| !zone.is_empty()));
        let hall = hall(&zones);
        let answer = chooser(&hall, &Wish::Best { count, category, together });
        let fault = Oracle { hall: &hall, count, category }.fault(together, &answer);
        prop_assert!(fault.is_none(), "{zones:?}: {count} of {category:?}, together {together}: {fault:?}");
        Ok(())
    });
    result.err().map(|error| error.to_string())
}

#[test]
fn no_choice_is_better() {
    assert_eq!(fault_of(1_500, |hall, wish| hall.choose(false, wish)), None);
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
    let no_orphan_rule: fn(&Search) -> Option<Vec<SeatIndex>> = |search| {
        let (_, first) = search.windows(0..search.hall.plan().stretches.len()).next()?;
        Some((first.first..first.end).collect())
    };
    assert!(without(no_orphan_rule).unwrap().contains("best is Some((false"));
    assert!(without(|_| None).is_some(), "apart before together");
    let first_free = fault_of(3_000, |hall, wish| {
        let Wish::Best { count, category, together } = wish else { unreachable!() };
        let search = Search { hall, count: *count, category: *category };
        let beside = search.together().map(|run| (run.first..run.end).collect());
        let all = hall.plan().stretches.iter().flat_map(|stretch| search.runs(stretch));
        let any: Vec<_> = all.flat_map(|run| run.first..run.end).take(*count).collect();
        beside.or_else(|| (!*together && any.len() == *count).then_some(any)).ok_or(Refusal::NoSeatsTogether)
    });
    assert!(first_free.unwrap().contains("best is Some((true"), "the first free seats, wherever they are");
}
