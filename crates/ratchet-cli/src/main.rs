//! The `ratchet` command: arguments in; words, pictures and exit codes out.

mod arguments;
mod attempt_logs;
mod bytes;
mod call_error;
mod catalogue;
mod command_error;
mod commands;
mod console;
mod definition;
mod drawing;
mod driving;
mod execution_name;
mod exit_code;
mod figures;
mod history;
mod inputs;
mod nested;
mod next;
mod paint;
mod progress;
mod replay;
mod report;
mod seen;
mod state;
mod state_directory;
mod summary;
mod telemetry;
mod testing;
mod ui;
mod words;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Reading a large workflow is for a third the making of small things: the system's allocator takes a fifth longer for all of it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    arguments::parse_and_run().into()
}
