//! The Lua scripts of `lua/`, each behind the common prelude; which connection each goes over; and the keys that they
//! name.

use redis::Script;
use std::sync::LazyLock;
use wire::domain::ids::SaleId;

/// Which connection a script goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// The joins' own: their order is the order of the line.
    Joins,
    /// The one that all else shares.
    Shared,
}

/// A script with its name, as in metrics.
pub(super) struct LineScript {
    pub name: &'static str,
    pub via: Via,
    pub script: Script,
}

/// The scripts.
pub(super) struct Scripts {
    pub join: LineScript,
    pub poll: LineScript,
    pub tick: LineScript,
    pub fence: LineScript,
    pub renew: LineScript,
    pub bookings: LineScript,
    pub claim: LineScript,
    pub leave: LineScript,
    pub remove: LineScript,
    pub gone: LineScript,
    pub settings: LineScript,
    pub takeover: LineScript,
    pub install: LineScript,
    pub restore: LineScript,
    pub restored: LineScript,
    pub journaled: LineScript,
}

macro_rules! script {
    ($via:expr, $($file:literal),+) => {
        LineScript {
            name: [$($file),+][[$($file),+].len() - 1],
            via: $via,
            script: Script::new(concat!(
                include_str!("lua/prelude.lua"),
                $("\n", include_str!(concat!("lua/", $file, ".lua"))),+
            )),
        }
    };
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    join: script!(Via::Joins, "guard", "standing", "join"),
    poll: script!(Via::Shared, "guard", "standing", "poll"),
    tick: script!(Via::Shared, "guard", "tick"),
    fence: script!(Via::Shared, "guard", "fence"),
    renew: script!(Via::Shared, "renew"),
    bookings: script!(Via::Shared, "guard", "bookings"),
    claim: script!(Via::Shared, "guard", "claim"),
    leave: script!(Via::Shared, "guard", "leave"),
    remove: script!(Via::Shared, "guard", "remove"),
    gone: script!(Via::Shared, "gone"),
    settings: script!(Via::Shared, "settings"),
    takeover: script!(Via::Shared, "takeover"),
    install: script!(Via::Shared, "install"),
    restore: script!(Via::Shared, "restore"),
    restored: script!(Via::Shared, "restored"),
    journaled: script!(Via::Shared, "journaled"),
});

/// A key of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Line,
    Returned,
    Away,
    Places,
    Grants,
    Claims,
    Fences,
    Presence,
    Instances,
    /// Seats booked or held.
    Booked,
    Blocked,
    /// Booked or blocked.
    Taken,
    /// Bookings that are only held.
    Held,
    Events,
    /// How many places were drawn without proof, by the network that they came from; gone after ten minutes.
    Strangers,
    Sale,
    /// Who may not come any more.
    Banned,
}

/// In the order in which the prelude names them.
const KEYS: [(Key, &str); 17] = [
    (Key::Line, "line"),
    (Key::Returned, "returned"),
    (Key::Away, "away"),
    (Key::Places, "places"),
    (Key::Grants, "grants"),
    (Key::Claims, "claims"),
    (Key::Fences, "fences"),
    (Key::Presence, "presence"),
    (Key::Instances, "instances"),
    (Key::Booked, "booked"),
    (Key::Blocked, "blocked"),
    (Key::Taken, "taken"),
    (Key::Held, "held"),
    (Key::Events, "events"),
    (Key::Strangers, "strangers"),
    (Key::Sale, "sale"),
    (Key::Banned, "banned"),
];

/// The names of a sale's keys. The hash tag keeps them all in one Cluster slot.
#[derive(Clone, Debug)]
pub(super) struct Keys([String; KEYS.len()]);

impl Keys {
    pub fn of(sale: &SaleId) -> Self {
        Self(KEYS.map(|(_, name)| format!("waitroom:{{{sale}}}:{name}")))
    }

    /// In the order in which scripts want them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn name(&self, key: Key) -> &str {
        &self.0[key as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::line::{TICK_MS, TICK_MS_MAX, TICK_MS_MIN};

    #[test]
    fn the_prelude_names_the_keys_in_this_order() {
        let prelude = include_str!("lua/prelude.lua");
        let start = prelude.find("local line").unwrap() + "local ".len();
        let end = prelude.find("= unpack(KEYS)").unwrap();
        let names: Vec<_> = prelude[start..end].split(',').map(str::trim).collect();
        assert_eq!(names, KEYS.map(|(_, name)| name));
        let keys = Keys::of(&SaleId::parse("spring").unwrap());
        for (key, name) in KEYS {
            assert_eq!(keys.name(key), format!("waitroom:{{spring}}:{name}"));
        }
    }

    /// What `check` holds the ticks against is what they do.
    #[test]
    fn a_tick_keeps_to_what_is_said_of_it() {
        let tick = include_str!("lua/tick.lua");
        for (name, ms) in [("MIN", TICK_MS_MIN), ("MAX", TICK_MS_MAX)] {
            assert!(
                tick.contains(&format!("local TICK_MS_{name} = {ms}\n"))
                    || tick.contains(&format!("local TICK_MS_{name} = {ms} "))
            );
        }
        assert!(tick.contains(&format!("local TICK_MS = {TICK_MS} ")));
    }

    #[test]
    fn a_script_has_the_name_of_its_file() {
        assert_eq!((SCRIPTS.join.name, SCRIPTS.poll.name, SCRIPTS.tick.name), ("join", "poll", "tick"));
    }
}
