//! Whole simulated sales: an honest one never yields a finding, and one whose server breaks a promise does.

use super::{
    Invariant,
    simulator::{Fault, play},
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_honest_sale_yields_no_finding(seed: u64) {
        let recorded = play(seed, Fault::None);
        prop_assert_eq!(recorded.violated(), [], "{:#?}", recorded.verdicts());
    }
}

/// Sales that once were called unfair: a second turn missed unseen, a place that was drawn and missed unseen.
#[test]
fn what_once_was_a_false_finding_is_none() {
    for seed in [1_239_146_845_130_694_791, 1_685_376_952_685_571_216] {
        assert_eq!(play(seed, Fault::None).violated(), []);
    }
}

#[test]
fn a_dishonest_sale_is_caught_under_the_noise() {
    let cases = [
        (Fault::LastFirst, Invariant::Order),
        (Fault::Burst, Invariant::Admission),
        (Fault::Crowd, Invariant::Admission),
        (Fault::Unpaused, Invariant::Admission),
        (Fault::Amnesia, Invariant::Kept),
        (Fault::Forgiving, Invariant::Places),
        (Fault::Spendthrift, Invariant::Seats),
        (Fault::Gullible, Invariant::Tokens),
    ];
    for (fault, invariant) in cases {
        let caught = (0..5).filter(|seed| play(*seed, fault).violated().contains(&invariant)).count();
        assert!(caught >= 4, "{fault:?} was caught in {caught} of 5 sales");
    }
}
