//! Where there is no terminal: a line when a step starts and a line when it has ended.

use std::fmt::Write as _;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use ratchet_core::{
    history::Record,
    ids::StepKey,
    status::StepStatus,
    step::{StepRow, StepState},
    transition::StepTransition,
};

use ratchet_engine::view::StepRows;

use super::board::{Board, BoardStep, note};
use crate::{
    paint::{Paint, mark},
    words::{between, elapsed, one_line},
};

/// With more steps than this, only their ends are told.
const STARTS_MOST: usize = 60;
/// So many failed children of a fan-out are told one by one.
const CHILDREN_MOST: u32 = 10;

/// Writes lines as things happen.
pub(super) struct Plain<W> {
    state: Mutex<State>,
    write: W,
    paint: Paint,
}

struct State {
    board: Board,
    steps: usize,
    /// How many tenths of each fan-out were told, by its step's name.
    tenths: HashMap<String, u32>,
}

impl<W: Fn(&str)> Plain<W> {
    /// Tells what happens by `write`, a line at a time.
    pub(super) fn new(board: Board, steps: usize, paint: Paint, write: W) -> Self {
        Self { state: Mutex::new(State { board, steps, tenths: HashMap::new() }), write, paint }
    }

    pub(super) fn know<'a>(&self, steps: impl Iterator<Item = &'a StepRows>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        steps.for_each(|step| state.board.know(step));
    }

    pub(super) fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { board, steps, tenths } = &mut *state;
        let line = match row.key.path.child {
            Some(child) => {
                board.step_changed(row, record);
                board.step(&row.key.path.step).and_then(|step| child_line(step, child, row, tenths))
            }
            None => board.step_changed(row, record).and_then(|step| step_line(self.paint, step, record, *steps)),
        };
        if let Some(line) = line {
            (self.write)(&line);
        }
    }

    /// Tells of a step of an execution that a step of the run is, by the way to it.
    pub(super) fn nested_changed(&self, path: &str, row: &StepRow, record: &Record<StepTransition>) {
        if matches!(record.transition, StepTransition::LanePassed { .. }) {
            return;
        }
        let status = row.status();
        let word = if status == StepStatus::Running { "started" } else { status.as_str() };
        let mut line = format!("{} {path} {}", self.paint.step(status, mark(status)), self.paint.step(status, word));
        if let (Some(settled), true) = (row.settled_at, row.attempt > 0) {
            let _ = write!(line, " {}", elapsed(between(row.started_at, settled)));
        }
        let note = note(row, &record.transition);
        if !note.is_empty() {
            let _ = write!(line, " ({note})");
        }
        (self.write)(&line);
    }

    pub(super) fn line_written(&self, key: &StepKey, line: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).board.line_written(key, line);
    }
}

fn step_line(paint: Paint, step: &BoardStep, record: &Record<StepTransition>, steps: usize) -> Option<String> {
    if matches!(record.transition, StepTransition::LanePassed { .. }) {
        return None;
    }
    let status = step.status;
    if status == StepStatus::Running && steps > STARTS_MOST {
        return None;
    }
    let word = if status == StepStatus::Running { "started" } else { status.as_str() };
    let mut line = format!("{} {} {}", paint.step(status, mark(status)), step.id, paint.step(status, word));
    if status.is_settled()
        && let Some(time) = step.time(record.at)
    {
        let _ = write!(line, " {}", elapsed(time));
    }
    let parts = step.parts();
    if !parts.is_empty() {
        let _ = write!(line, " ({})", parts.join(", "));
    }
    Some(line)
}

fn child_line(step: &BoardStep, child: u32, row: &StepRow, tenths: &mut HashMap<String, u32>) -> Option<String> {
    let tally = step.children.as_ref()?;
    if let StepState::Failed { failure, .. } = &row.state
        && tally.failed <= CHILDREN_MOST
    {
        return Some(format!(
            "{} {}[{child}] failed ({})",
            mark(StepStatus::Failed),
            step.id,
            one_line(&failure.message)
        ));
    }
    let reached = tally.settled * 10 / tally.count.max(1);
    let told = tenths.entry(step.id.to_string()).or_insert(0);
    (reached > *told && reached < 10).then(|| {
        *told = reached;
        format!("{} {} {}/{} done", mark(StepStatus::Running), step.id, tally.settled, tally.count)
    })
}
