//! Resident bytes of a socket that waits: the slope between few and many, so that what is there without any does not count.

use crate::{
    Words,
    crowd::Crowd,
    machine,
    rivals::{Kind, Work},
    stage::Stores,
    subject::Subject,
    table::Figures,
};
use std::{thread::sleep, time::Duration};

const FEW: usize = 2_000;
/// Until what their coming needed has been given back.
const SETTLES: Duration = Duration::from_secs(8);

pub fn run(words: &Words) {
    let (rounds, many) = (words.get("--rounds", 3), words.get("--sockets", 19_000_usize));
    let (stores, kinds, mut figures) = (Stores::start(), Kind::all(), Figures::default());
    for round in 0..rounds {
        let subject = Subject::ours(&stores, &format!("memory-{round}"), 1, 1.0);
        measure(&mut figures, "waitroom", &subject, many);
        drop(subject);
        for kind in &kinds {
            measure(&mut figures, kind.name(), &Subject::rival(*kind, Work::nothing()), many);
        }
    }
    println!("{}", figures.markdown());
    words.write("--json", &figures.json().to_string());
}

fn measure(figures: &mut Figures, whose: &str, subject: &Subject, many: usize) {
    sleep(Duration::from_secs(2));
    let empty = machine::resident(subject.pid()) as f64;
    let mut crowd = Crowd::start(&subject.manners());
    let mut at = |count| {
        crowd.come(count);
        sleep(SETTLES);
        let last = crowd.ask(crate::crowd::Order::Tell);
        assert_eq!(last.dropped, 0, "sockets were dropped: {:?}", last.troubles);
        (machine::resident(subject.pid()) as f64, machine::resident(crowd.pid()) as f64)
    };
    let ((few, crowd_few), (all, crowd_all)) = (at(FEW), at(many - FEW));
    let more = (many - FEW) as f64;
    let a_socket = (all - few) / more;
    figures.add(
        whose,
        &[
            ("bytes a socket", a_socket),
            ("base, MB", (few - a_socket * FEW as f64) / 1e6),
            ("without any, MB", empty / 1e6),
            ("all, MB", all / 1e6),
            ("the crowd's bytes a visitor", (crowd_all - crowd_few) / more),
        ],
    );
}
