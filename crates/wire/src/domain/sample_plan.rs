//! Makes a seating plan of any size, for tries and load tests: blocks of 20 rows of 50 seats.

use super::plan::PLAN_BYTES_MAX;
use serde_json::{Value, json};

const ROW: u32 = 50;
const BLOCK: u32 = 20 * ROW;
/// Between neighbours, as in real plans.
const DISTANCE: u32 = 25;
/// The largest plan that stays below [`PLAN_BYTES_MAX`].
pub const SEATS_MAX: u32 = 200_000;
const CATEGORIES: [(&str, &str); 3] = [("A", "#8E44AD"), ("B", "#E87722"), ("C", "#1D3557")];

const _: () = assert!(PLAN_BYTES_MAX / SEATS_MAX as usize > 150, "a seat takes about 130 bytes");

/// A plan of `seats` seats in pretix's format. Seats are called block-row-number, such as `3-12-50`; each block's
/// front rows are the dearest category.
pub fn sample_plan(seats: u32) -> Value {
    let blocks: Vec<Value> = (0..seats.div_ceil(BLOCK)).map(|block| zone(block, seats)).collect();
    let categories: Vec<_> =
        CATEGORIES.iter().map(|(name, color)| json!({"name": name, "color": color})).collect();
    json!({
        "name": format!("Sample hall of {seats} seats"),
        "size": {"width": block_x(blocks.len() as u32), "height": block_y(blocks.len() as u32)},
        "categories": categories,
        "zones": blocks,
    })
}

/// Ten blocks side by side, then the next ten behind them.
fn block_x(block: u32) -> u32 {
    block.min(10) * (ROW + 2) * DISTANCE
}

fn block_y(blocks: u32) -> u32 {
    blocks.div_ceil(10) * 22 * DISTANCE
}

fn zone(block: u32, seats: u32) -> Value {
    let first = block * BLOCK;
    let last = seats.min(first + BLOCK);
    let rows: Vec<Value> =
        (0..(last - first).div_ceil(ROW)).map(|row| one_row(block, row, last - first)).collect();
    json!({
        "name": format!("Block {}", block + 1),
        "position": {"x": block_x(block % 10), "y": block / 10 * 22 * DISTANCE},
        "rows": rows,
    })
}

fn one_row(block: u32, row: u32, in_block: u32) -> Value {
    let seats: Vec<Value> = (0..ROW.min(in_block - row * ROW))
        .map(|seat| {
            json!({
                "seat_guid": format!("{}-{}-{}", block + 1, row + 1, seat + 1),
                "seat_number": (seat + 1).to_string(),
                "position": {"x": seat * DISTANCE, "y": 0},
                "category": CATEGORIES[(row as usize / 7).min(2)].0,
            })
        })
        .collect();
    json!({"row_number": (row + 1).to_string(), "position": {"x": 0, "y": row * DISTANCE}, "seats": seats})
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;

    #[test]
    fn has_as_many_seats_as_asked_for() {
        for seats in [1, 49, 50, 51, 1_000, 1_001, 12_345] {
            let plan = Plan::parse(sample_plan(seats).to_string().as_bytes()).unwrap();
            assert_eq!(plan.seats.len(), seats as usize);
        }
        let plan = Plan::parse(sample_plan(100).to_string().as_bytes()).unwrap();
        assert_eq!(plan.seats[50].id, "1-2-1");
        assert!(!plan.seats[50].beside_previous && plan.seats[49].beside_previous);
    }

    #[test]
    fn the_largest_is_accepted() {
        assert!(sample_plan(SEATS_MAX).to_string().len() <= PLAN_BYTES_MAX);
    }
}
