//! The report as a page and as JSON.

use super::*;
use crate::summary::html::tests::{fault, reaches_out};

#[test]
fn a_page_is_well_formed_stands_alone_and_says_how_it_went() {
    let healthy = Recorded::healthy();
    let mut unfair = healthy.clone();
    unfair.change(r#""left":[8]"#, r#""left":[7]"#);
    let mut empty = healthy.clone();
    empty.entries.clear();
    empty.sold.clear();
    let says = ["✓ Every promise", "✗ A promise was broken", "not everything could be judged"];
    for (recorded, says) in [healthy, unfair, empty].iter().zip(says) {
        let page = recorded.report().html();
        assert_eq!((fault(&page), reaches_out(&page)), (None, Vec::<&str>::new()));
        assert!(page.contains(says) && !page.contains("NaN") && !page.contains("visitor-"), "{says}");
        assert_eq!(page.matches("chart wide").count(), 5);
    }
}

#[test]
fn a_long_sale_has_no_more_points_than_a_page_can_show() {
    let mut recorded = Recorded::healthy();
    recorded.say(400 * 24 * 3_600_000, r#""phase":"closed""#);
    let report = recorded.report();
    assert!(report.series.buckets.len() <= 600, "{}", report.series.buckets.len());
    assert_eq!(report.series.buckets.iter().map(|bucket| bucket.drawn).sum::<u64>(), 11);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["status"], &json["numbers"]["admitted"]), (&"proved".into(), &9.into()));
    assert_eq!(json["verdicts"][0]["invariant"], "chain");
}
