//! What a person sees of a run under way.

mod board;
mod nested;
mod plain;
mod terminal;
#[cfg(test)]
mod tests;

use std::{
    io::{IsTerminal, Write},
    sync::Mutex,
};

use console::Term;
use ratchet_core::{
    execution::ExecutionRow,
    history::Record,
    ids::StepKey,
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
    workflow::Workflow,
};
use ratchet_engine::{ports::Observer, view::StepRows};

use self::{
    board::Board,
    nested::{Below, Names},
    plain::Plain,
    terminal::Terminal,
};
use crate::{
    nested::Nested,
    paint::{self, Paint},
};

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error: standard output is kept for JSON.
    Err,
}

/// Shows a run under way: on a terminal a line a step, drawn in place; elsewhere plain lines.
pub(crate) struct Progress {
    shown: Shown,
    names: Names,
}

enum Shown {
    Terminal(Mutex<Terminal>),
    Plain(Plain<fn(&str)>),
    Nothing,
}

impl Progress {
    /// Begins to show a run.
    pub(crate) fn start(workflow: &Workflow, stream: Stream) -> Self {
        let (is_terminal, paint, write): (bool, Paint, fn(&str)) = match stream {
            Stream::Out => (std::io::stdout().is_terminal(), Paint::for_stream(&std::io::stdout()), to_out),
            Stream::Err => (std::io::stderr().is_terminal(), Paint::for_stream(&std::io::stderr()), to_err),
        };
        let board = Board::new(workflow, paint);
        let shown = if is_terminal && !paint::is_dumb() {
            let term = match stream {
                Stream::Out => Term::stdout(),
                Stream::Err => Term::stderr(),
            };
            Shown::Terminal(Mutex::new(Terminal::start(board, term)))
        } else {
            Shown::Plain(Plain::new(board, workflow.steps.len(), paint, write))
        };
        Self { shown, names: Names::default() }
    }

    /// Shows nothing.
    pub(crate) fn quiet() -> Self {
        Self { shown: Shown::Nothing, names: Names::default() }
    }

    /// Shows what was done before this process.
    pub(crate) fn know<'a>(&self, steps: impl Iterator<Item = &'a StepRows>) {
        let steps = steps.inspect(|step| self.names.know(step));
        match &self.shown {
            Shown::Plain(plain) => plain.know(steps),
            Shown::Terminal(_) | Shown::Nothing => self.update(|board| steps.for_each(|step| board.know(step))),
        }
    }

    /// Knows the executions below the one that is shown, however deep they lie.
    pub(crate) fn know_below(&self, run: &ExecutionRow, nested: &[Nested]) {
        for Nested { path, view } in nested {
            self.names.know_below(run, path, &view.execution_id);
        }
    }

    /// Says something in the middle of what is drawn. `false` where nothing is drawn that it would be in the way of.
    pub(crate) fn note(&self, text: &str) -> bool {
        self.update(|board| board.note(text));
        matches!(self.shown, Shown::Terminal(_))
    }

    /// Ends the drawing. What is told later is not shown.
    pub(crate) fn finish(&self) {
        if let Shown::Terminal(terminal) = &self.shown
            && let Ok(mut terminal) = terminal.lock()
        {
            terminal.finish();
        }
    }

    fn update(&self, change: impl FnOnce(&mut Board)) {
        if let Shown::Terminal(terminal) = &self.shown
            && let Ok(terminal) = terminal.lock()
        {
            terminal.update(change);
        }
    }
}

impl Observer for Progress {
    fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>) {
        let below = self.names.of_row(row);
        if row.key.execution.is_nested() {
            let Some(Below { root, path, name }) = below.filter(|_| !row.key.path.step.is_internal()) else { return };
            match &self.shown {
                Shown::Plain(plain) => plain.nested_changed(&path, row, record),
                Shown::Terminal(_) | Shown::Nothing => {
                    self.update(|board| board.line_written(&root, &format!("{name} {}", row.status())));
                }
            }
            return;
        }
        match &self.shown {
            Shown::Plain(plain) => plain.step_changed(row, record),
            Shown::Terminal(_) | Shown::Nothing => self.update(|board| {
                board.step_changed(row, record);
            }),
        }
    }

    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>) {
        if !row.id.is_nested()
            && matches!(
                record.transition,
                ExecutionTransition::Resumed { .. } | ExecutionTransition::EndingBegan { .. }
            )
        {
            self.update(Board::begin_epoch);
        }
    }

    fn line_written(&self, key: &StepKey, line: &str) {
        let below = self.names.of_key(key);
        if key.execution.is_nested() && below.is_none() {
            return;
        }
        let named = below.map(|below| (below.root, format!("{}: {line}", below.name)));
        let (key, line) = named.as_ref().map_or((key, line), |(root, line)| (root, line.as_str()));
        match &self.shown {
            Shown::Plain(plain) => plain.line_written(key, line),
            Shown::Terminal(_) | Shown::Nothing => self.update(|board| board.line_written(key, line)),
        }
    }
}

fn to_out(line: &str) {
    // A reader that went away does not stop the run.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn to_err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
