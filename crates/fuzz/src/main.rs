//! One parser under LLVM's libFuzzer: `TARGET=token fuzz CORPUS SEEDS -max_total_time=60`. `make fuzz` builds it so that the fuzzer
//! sees where the program goes.
#![no_main]

use fuzz::{TARGETS, Target};
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("TARGET={name}: give one of {:?}", TARGETS.map(|target| target.name)))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.holds)(bytes));
