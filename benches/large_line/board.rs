//! What the rank board costs an instance, whatever else the machine does: each figure is the least of some.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use waitroom::room::line::board::Board;

const ROUNDS: usize = 9;
const SOME: u64 = 100_000;

fn least(mut call: impl FnMut()) -> Duration {
    let round = |_| {
        let began = Instant::now();
        call();
        began.elapsed()
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

/// Spread over the line, in no order.
fn somewhere(places: u64) -> impl Iterator<Item = u64> {
    (0..SOME).map(move |i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % places)
}

/// A line in which every second has left, so that it is spread over twice as many blocks.
pub fn measure(places: u64) {
    let mut board = Board::default();
    (0..2 * places).step_by(2).for_each(|seq| board.insert(seq));
    let recount = least(|| board.recount());
    let rank =
        least(|| somewhere(2 * places).for_each(|seq| _ = black_box(board.rank(seq & !1)))) / SOME as u32;
    let each = least(|| {
        somewhere(2 * places).for_each(|seq| board.remove(seq & !1));
        somewhere(2 * places).for_each(|seq| board.insert(seq & !1));
    }) / (2 * SOME as u32);
    let draw = 512;
    let batch = least(|| {
        let mut drawn = board.clone();
        (0..draw).for_each(|i| drawn.insert(2 * places + i));
    });
    let copy = least(|| drop(black_box(board.clone())));
    println!("| a board of {places} | |\n|---|---|");
    println!(
        "| prefix counts | {recount:.1?} |\n| one rank | {rank:.1?} |\n| one seq in or out | {each:.1?} |"
    );
    println!("| {draw} drawn | {:.1?} |", batch.saturating_sub(copy));
}
