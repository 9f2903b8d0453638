//! Which seats a wish gets, given those that are taken.

use super::{
    booking::Wish,
    plan::{Plan, SeatIndex},
    refusal::Refusal,
    seats::SeatSet,
};

/// The seats for `wish`, in plan order, or why it gets none. `held` says that some taken seats are only held:
/// then a hall without a free seat is not sold out yet.
pub fn choose(plan: &Plan, taken: &SeatSet, held: bool, wish: &Wish) -> Result<Vec<SeatIndex>, Refusal> {
    match wish {
        Wish::Seats(seats) => {
            let lost: Vec<_> = seats.iter().copied().filter(|seat| taken.contains(*seat)).collect();
            if lost.is_empty() { Ok(seats.clone()) } else { Err(Refusal::SeatTaken(lost)) }
        }
        Wish::Best { count, category, together } => {
            let fits = |seat: &SeatIndex| {
                !taken.contains(*seat) && category.is_none_or(|c| plan.seats[*seat as usize].category == c)
            };
            if taken.len() == plan.seats.len() && !held {
                return Err(Refusal::SoldOut);
            }
            first_run(plan, *count, fits)
                .or_else(|| if *together { None } else { first_free(plan, *count, fits) })
                .ok_or(Refusal::NoSeatsTogether)
        }
    }
}

/// The first `count` fitting seats that are next to each other.
fn first_run(plan: &Plan, count: usize, fits: impl Fn(&SeatIndex) -> bool) -> Option<Vec<SeatIndex>> {
    let mut run: Vec<SeatIndex> = Vec::with_capacity(count);
    for seat in 0..plan.seats.len() as SeatIndex {
        if !fits(&seat) {
            run.clear();
            continue;
        }
        if !plan.seats[seat as usize].beside_previous {
            run.clear();
        }
        run.push(seat);
        if run.len() == count {
            return Some(run);
        }
    }
    None
}

/// The first `count` fitting seats, wherever they are.
fn first_free(plan: &Plan, count: usize, fits: impl Fn(&SeatIndex) -> bool) -> Option<Vec<SeatIndex>> {
    let seats: Vec<_> = (0..plan.seats.len() as SeatIndex).filter(fits).take(count).collect();
    (seats.len() == count).then_some(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of three seats; the first is category A, the second B.
    fn plan() -> Plan {
        let row = |c: &str| {
            let seat = |n| format!(r#"{{"seat_guid":"{c}{n}","category":"{c}"}}"#);
            format!(r#"{{"seats":[{},{},{}]}}"#, seat(1), seat(2), seat(3))
        };
        let json = format!(
            r#"{{"categories":[{{"name":"A"}},{{"name":"B"}}],"zones":[{{"rows":[{},{}]}}]}}"#,
            row("A"),
            row("B")
        );
        Plan::parse(json.as_bytes()).unwrap()
    }

    fn best(
        taken: &[SeatIndex],
        count: usize,
        category: Option<u16>,
        together: bool,
    ) -> Result<Vec<u32>, Refusal> {
        let taken = SeatSet::from_seats(6, taken.iter().copied());
        choose(&plan(), &taken, false, &Wish::Best { count, category, together })
    }

    #[test]
    fn best_prefers_neighbours_and_takes_what_there_is() {
        assert_eq!(best(&[], 2, None, true), Ok(vec![0, 1]));
        assert_eq!(best(&[0], 2, None, false), Ok(vec![1, 2]));
        assert_eq!(best(&[1], 2, None, false), Ok(vec![3, 4]), "a row never runs on into the next");
        assert_eq!(best(&[1, 4], 2, None, false), Ok(vec![0, 2]));
        assert_eq!(best(&[1, 4], 2, None, true), Err(Refusal::NoSeatsTogether));
        assert_eq!(best(&[], 2, Some(1), true), Ok(vec![3, 4]));
        assert_eq!(best(&[], 4, Some(1), false), Err(Refusal::NoSeatsTogether));
        assert_eq!(best(&[0, 1, 2, 3, 4, 5], 1, None, false), Err(Refusal::SoldOut));
    }

    #[test]
    fn held_seats_may_come_back_so_the_hall_is_not_sold_out() {
        let taken = SeatSet::from_seats(6, 0..6);
        let wish = Wish::Best { count: 1, category: None, together: false };
        assert_eq!(choose(&plan(), &taken, true, &wish), Err(Refusal::NoSeatsTogether));
    }

    #[test]
    fn explicit_seats_are_all_or_none() {
        let taken = SeatSet::from_seats(6, [1, 5]);
        let wish = |seats: &[SeatIndex]| Wish::Seats(seats.to_vec());
        assert_eq!(choose(&plan(), &taken, false, &wish(&[0, 2])), Ok(vec![0, 2]));
        assert_eq!(choose(&plan(), &taken, false, &wish(&[0, 1, 5])), Err(Refusal::SeatTaken(vec![1, 5])));
    }
}
