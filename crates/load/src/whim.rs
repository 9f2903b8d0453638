//! What comes over people who wait.

use super::{random::Random, scene::Moment};
use tokio::time::Instant;

/// What a waiting visitor does of a sudden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whim {
    /// He gives up.
    Leave,
    /// His connection breaks off: a reload, a locked phone, a tunnel.
    Vanish,
    /// He opens a second tab.
    SecondTab,
}

/// Whether something will come over him on this connection, what, and when.
pub fn draw(moment: &Moment, random: &mut Random) -> Option<(Instant, Whim)> {
    let behaviour = &moment.scene.behaviour;
    let chances = [
        (behaviour.leave_chance, Whim::Leave),
        (behaviour.vanish_chance, Whim::Vanish),
        (behaviour.second_tab_chance, Whim::SecondTab),
    ];
    let (_, whim) = chances.into_iter().find(|(chance, _)| random.chance(*chance))?;
    Some((moment.now + random.time(behaviour.whim), whim))
}
