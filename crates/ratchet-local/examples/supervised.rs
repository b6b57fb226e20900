//! Runs a program so that every process which it starts, directly or not, dies with it: what `ratchet run` does for steps.
//!
//! `supervised STATE_DIR PROGRAM [ARGUMENT]…`

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [state_dir, program, rest @ ..] = arguments.as_slice() else { return ExitCode::from(2) };
    if ratchet_local::supervise::enter(Path::new(state_dir)).is_err() {
        return ExitCode::from(3);
    }
    match Command::new(program).args(rest).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(_) => ExitCode::from(4),
    }
}
