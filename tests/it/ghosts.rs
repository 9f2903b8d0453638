//! Visitors who join and never return: what they cost those behind them.

use crate::line::{Bench, RULES, Rules, visitor};
use std::time::{Duration, Instant};
use wire::domain::{phase::Phase, sale::AWAY_S_DEFAULT};

/// In how many ticks someone is granted who comes behind ten others, and behind 100 who joined and went.
async fn ticks_behind(ghosts: usize, away_s: u32) -> usize {
    let rules = Rules { rate: 10.0, max_active: 20, away_ms: u64::from(away_s) * 1000, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.command(rules, Phase::Paused).await;
    bench.crowd(10).await;
    let names: Vec<String> = (0..ghosts).map(|i| format!("ghost{i}")).collect();
    for name in &names {
        bench.join(name).await;
    }
    bench.join("kim").await;
    bench.line.gone(&names.iter().map(|name| (visitor(name), 1)).collect::<Vec<_>>()).await.unwrap();
    // They are gone for as long as the default wants, and the others' instance lives.
    let until = Instant::now() + Duration::from_millis(u64::from(AWAY_S_DEFAULT) * 1000 + 500);
    while Instant::now() < until {
        bench.tick().await;
    }
    bench.command(rules, Phase::Open).await;
    let is_granted = async || bench.admitted().await.iter().any(|(_, seq)| *seq == 11 + ghosts as u64);
    for ticks in 1..60 {
        bench.tick().await;
        if is_granted().await {
            return ticks;
        }
    }
    usize::MAX
}

/// Whoever joins and never returns holds nobody's turn; with the default of before they did.
#[tokio::test(flavor = "multi_thread")]
async fn ghosts_ahead_cost_an_honest_visitor_nothing() {
    let (without, with, long) = tokio::join!(
        ticks_behind(0, AWAY_S_DEFAULT),
        ticks_behind(100, AWAY_S_DEFAULT),
        ticks_behind(100, 300)
    );
    assert!(with <= 2 * without, "{with} ticks behind 100 ghosts, {without} without");
    assert!(long > 2 * without, "{long} ticks: this test would not see ghosts that hold turns");
}
