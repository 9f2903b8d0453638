//! The Lua scripts of `lua/`, each behind the common prelude, and the keys that they name.

use crate::domain::ids::SaleId;
use redis::Script;
use std::sync::LazyLock;

/// The scripts.
pub(super) struct Scripts {
    pub join: Script,
    pub tick: Script,
    pub lock: Script,
    pub renew: Script,
    pub bookings: Script,
    pub claim: Script,
    pub leave: Script,
    pub gone: Script,
    pub settings: Script,
    pub install: Script,
}

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("lua/prelude.lua"),
            "\n",
            include_str!(concat!("lua/", $file, ".lua"))
        ))
    };
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    join: script!("join"),
    tick: script!("tick"),
    lock: script!("lock"),
    renew: script!("renew"),
    bookings: script!("bookings"),
    claim: script!("claim"),
    leave: script!("leave"),
    gone: script!("gone"),
    settings: script!("settings"),
    install: script!("install"),
});

/// In the order in which the prelude names them.
const KEYS: [&str; 15] = [
    "line",
    "returned",
    "away",
    "places",
    "grants",
    "claims",
    "locks",
    "presence",
    "instances",
    "taken",
    "blocked",
    "unavailable",
    "held",
    "events",
    "sale",
];

/// The keys of a sale. The hash tag keeps them all in one Cluster slot.
pub(super) fn key_names(sale: &SaleId) -> Vec<String> {
    KEYS.iter().map(|key| format!("waitroom:{{{sale}}}:{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prelude_names_the_keys_in_this_order() {
        let prelude = include_str!("lua/prelude.lua");
        let start = prelude.find("local line").unwrap() + "local ".len();
        let end = prelude.find("= unpack(KEYS)").unwrap();
        let names: Vec<_> = prelude[start..end].split(',').map(str::trim).collect();
        assert_eq!(names, KEYS);
    }
}
