//! The program: parses the command line, calls one file of `commands`, turns the outcome into an exit status.

use std::panic::catch_unwind;
use std::process::ExitCode;

use waitroom::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The hook has printed what happened; here it only becomes the status of a bug.
    let outcome = catch_unwind(|| commands::run(std::env::args_os(), std::env::vars_os()));
    match outcome {
        Ok(exit) => exit.into(),
        Err(_) => commands::Exit::Bug.into(),
    }
}
