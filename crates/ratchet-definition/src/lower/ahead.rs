//! The commands of a large workflow are parsed from its end while its steps are looked at from their beginning.
//!
//! What a command means depends on its text alone, and parsing commands is what takes longest.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    thread,
};

use ratchet_core::workflow::Program;

use crate::{
    check::symbols::Symbols,
    mistake::Mistake,
    parse,
    parsed::{Interpreter, Parsed},
    yaml::Node,
};

/// Fewer steps than this are looked at before a thread is there.
const STEPS_MIN: usize = 100;

/// As much as a program's first thread has: parsers go down into what they read.
const STACK_BYTES: usize = 8 * 1024 * 1024;

type Outcome = Result<Parsed<Program>, Vec<Mistake>>;

/// The commands of the steps, by their positions.
#[derive(Default)]
pub(super) struct Ahead<'tree> {
    commands: Vec<Option<Command<'tree>>>,
}

struct Command<'tree> {
    text: &'tree str,
    interpreter: Interpreter,
    /// Locked while it is parsed.
    state: Mutex<State>,
}

enum State {
    Waits,
    Parsed(Box<Outcome>),
    Taken,
}

impl<'tree> Ahead<'tree> {
    /// The commands of a workflow that is large enough.
    pub(super) fn of(symbols: &Symbols<'tree>) -> Self {
        if symbols.steps.len() < STEPS_MIN || thread::available_parallelism().map_or(1, usize::from) < 2 {
            return Self::default();
        }
        let command = |(text, interpreter)| Command { text, interpreter, state: Mutex::new(State::Waits) };
        // How often choices may fall out is counted for all of a file, in its order.
        let ahead = |node| script_of(node).filter(|(text, _)| !text.contains("{%"));
        Self { commands: symbols.steps.iter().map(|step| ahead(step.node).map(command)).collect() }
    }

    /// Does something, with the commands being parsed meanwhile.
    pub(super) fn during<T>(&self, does: impl FnOnce() -> T) -> T {
        if self.commands.is_empty() {
            return does();
        }
        thread::scope(|scope| {
            let parse_all = || self.commands.iter().rev().flatten().for_each(Command::parse_ahead);
            // Without a thread everything is parsed where it is needed.
            let _thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, parse_all);
            does()
        })
    }

    /// What the command of a step is parsed to; nothing where nobody does that ahead.
    pub(super) fn take(&self, position: usize) -> Option<Outcome> {
        let command = self.commands.get(position)?.as_ref()?;
        let mut state = command.state.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Taken) {
            State::Parsed(outcome) => Some(*outcome),
            State::Waits | State::Taken => Some(parse::command(command.text, &command.interpreter)),
        }
    }
}

impl Command<'_> {
    fn parse_ahead(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waits) {
            *state = State::Parsed(Box::new(parse::command(self.text, &self.interpreter)));
        }
    }
}

/// The script of a step and the shell that it is for, where it has one.
pub(super) fn script_of(step: &Node) -> Option<(&str, Interpreter)> {
    if step.get("type")?.text()? != "shell" {
        return None;
    }
    let shell = step.get("shell");
    if shell.is_some_and(|shell| !shell.items().is_empty()) {
        return None;
    }
    let interpreter = if shell.and_then(Node::text) == Some("sh") { Interpreter::Sh } else { Interpreter::Bash };
    Some((step.get("command")?.text()?, interpreter))
}
