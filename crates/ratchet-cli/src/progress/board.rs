//! What a terminal shows of a run under way, as lines: computed from what was told, with no terminal near.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use ratchet_core::{
    history::Record,
    ids::{Epoch, StepId, StepKey},
    status::StepStatus,
    step::{StepRow, StepState, Usage, Waiting},
    transition::StepTransition,
    workflow::Workflow,
};
use ratchet_engine::view::{StepRows, skip_words};

use crate::{
    paint::{Paint, mark},
    words::{between, counted, dollars, elapsed, moment, one_line},
};

/// Up to so many steps each keeps a line of its own when it has ended; of more, only those that did not complete do.
const LINES_MOST: usize = 60;
/// Columns of a step's name before it is cut.
const NAME_WIDEST: usize = 32;
/// Frames of the sign that something runs.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Every step of a run in the order of the file.
#[derive(Debug)]
pub(crate) struct Board {
    steps: Vec<BoardStep>,
    positions: HashMap<StepId, usize>,
    /// How many steps from the first on have left the board for good.
    printed: usize,
    /// What was said and has not left the board yet.
    notes: Vec<String>,
    name_width: usize,
    paint: Paint,
}

/// One step on the board.
#[derive(Debug)]
pub(crate) struct BoardStep {
    /// Its name.
    pub(crate) id: StepId,
    /// Where it stands.
    pub(crate) status: StepStatus,
    /// Which attempt this is.
    pub(crate) attempt: u32,
    /// Its children, counted, where it fans out.
    pub(crate) children: Option<Tally>,
    started_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    last_line: String,
    note: String,
    cost_usd: Option<f64>,
    seen: Seen,
}

/// The children of a fan-out, counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// How many there are.
    pub(crate) count: u32,
    /// How many have settled.
    pub(crate) settled: u32,
    /// How many of those failed.
    pub(crate) failed: u32,
    /// How many have their result from an earlier run.
    pub(crate) cached: u32,
    children: HashMap<u32, (Stand, Seen)>,
}

/// Where a child stands.
#[derive(Debug, Clone, Copy)]
struct Stand {
    status: StepStatus,
    cached: bool,
}

/// The epoch and the number of the last change that was told of a row: the same change twice counts once.
type Seen = (Epoch, u64);

impl Board {
    /// The board of a run that has not begun.
    pub(crate) fn new(workflow: &Workflow, paint: Paint) -> Self {
        Self::of(workflow.steps.iter().map(|step| step.id.clone()).collect(), paint)
    }

    /// The board of these steps.
    pub(crate) fn of(ids: Vec<StepId>, paint: Paint) -> Self {
        let positions = ids.iter().enumerate().map(|(position, id)| (id.clone(), position)).collect();
        let longest = ids.iter().map(|id| id.as_str().chars().count()).max().unwrap_or(0);
        let steps = ids.into_iter().map(BoardStep::pending).collect();
        Self { steps, positions, printed: 0, notes: Vec::new(), name_width: longest.min(NAME_WIDEST), paint }
    }

    /// Takes in a step's change. Gives the step where it is one of the file's, and not a child.
    pub(crate) fn step_changed(&mut self, row: &StepRow, record: &Record<StepTransition>) -> Option<&BoardStep> {
        let position = *self.positions.get(&row.key.path.step)?;
        let step = &mut self.steps[position];
        let change = (row.key.epoch, record.number);
        let seen = match row.key.path.child {
            Some(child) => step.children.get_or_insert_default().seen(child),
            None => step.seen,
        };
        if change <= seen {
            return None;
        }
        if let StepTransition::RetryScheduled { usage, .. } = &record.transition {
            step.add_cost(usage);
        } else if let Some(result) = row.result.as_ref().filter(|_| row.status().is_settled()) {
            step.add_cost(&result.usage);
        }
        if let Some(child) = row.key.path.child {
            step.children.get_or_insert_default().note(child, stand(row.status(), row.hit().is_some()), change);
            return None;
        }
        step.seen = change;
        step.status = row.status();
        step.attempt = row.attempt;
        step.started_at = (row.attempt > 0).then_some(row.started_at);
        step.settled_at = row.settled_at;
        step.note = note(row, &record.transition);
        if let StepState::FannedOut { count, .. } = &row.state {
            step.children.get_or_insert_default().count = *count;
        }
        Some(step)
    }

    /// Takes in what is known of a step from before.
    pub(crate) fn know(&mut self, step: &StepRows) {
        let row = &step.row;
        let Some(position) = self.positions.get(&row.key.path.step) else { return };
        let known = &mut self.steps[*position];
        known.status = row.status();
        known.attempt = row.attempt;
        known.started_at = (row.attempt > 0).then_some(row.started_at);
        known.settled_at = row.settled_at;
        known.cost_usd = step.spent().cost_usd;
        known.seen = (row.key.epoch, row.chain.length);
        if let Some(record) = row.records.last() {
            known.note = note(row, &record.transition);
        }
        for child in step.children.iter().flatten() {
            known.children.get_or_insert_default().note(
                child.index,
                stand(child.status, child.cached),
                (row.key.epoch, 0),
            );
        }
        if let Some(tally) = &mut known.children {
            tally.count = step.children_expected;
        }
    }

    /// A step of the file.
    pub(crate) fn step(&self, id: &StepId) -> Option<&BoardStep> {
        self.positions.get(id).map(|position| &self.steps[*position])
    }

    /// Takes in a line that the process of a step wrote.
    pub(crate) fn line_written(&mut self, key: &StepKey, line: &str) {
        let Some(position) = self.positions.get(&key.path.step) else { return };
        let line = one_line(line);
        if !line.is_empty() {
            self.steps[*position].last_line = line;
        }
    }

    /// Says something that stands above the steps that go on.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    /// Forgets what left the board and what the steps did: a new epoch began.
    pub(crate) fn begin_epoch(&mut self) {
        for step in self.steps.iter_mut().filter(|step| !step.is_settled()) {
            *step = BoardStep::pending(step.id.clone());
        }
    }

    /// What was said, and the lines of steps that are done and stand above all that is not: each is given once.
    pub(crate) fn take_settled(&mut self, now: Timestamp) -> Vec<String> {
        let from = self.printed;
        let open = self.steps[from..].iter().position(|step| !step.is_settled());
        self.printed = open.map_or(self.steps.len(), |open| from + open);
        let mut lines = std::mem::take(&mut self.notes);
        lines.extend(self.permanent(&self.steps[from..self.printed], now));
        lines
    }

    /// The lines of everything that has not been given yet, at the end of the run.
    pub(crate) fn take_rest(&mut self, now: Timestamp) -> Vec<String> {
        let from = std::mem::replace(&mut self.printed, self.steps.len());
        let mut lines = std::mem::take(&mut self.notes);
        lines.extend(self.permanent(&self.steps[from..], now));
        lines
    }

    /// The lines that are drawn again and again, at most `height` of them.
    pub(crate) fn live(&self, now: Timestamp, height: usize) -> Vec<String> {
        let open = &self.steps[self.printed..];
        let fits = open.len() <= height && self.steps.len() <= LINES_MOST;
        if fits {
            return open.iter().map(|step| self.line(step, now)).collect();
        }
        let running = open.iter().filter(|step| step.is_active()).count();
        let room = height.saturating_sub(1).max(1);
        let mut lines: Vec<String> =
            open.iter().filter(|step| step.is_active()).take(room).map(|step| self.line(step, now)).collect();
        let settled = self.steps.iter().filter(|step| step.is_settled()).count();
        let failed = self.steps.iter().filter(|step| step.status == StepStatus::Failed).count();
        let mut rest = format!("{settled} of {} done", counted(self.steps.len(), "step"));
        if failed > 0 {
            let _ = write!(rest, ", {failed} failed");
        }
        if running > lines.len() {
            let _ = write!(rest, ", {} more running", running - lines.len());
        }
        lines.push(self.paint.dim(&format!("  {rest}")));
        lines
    }

    fn permanent(&self, steps: &[BoardStep], now: Timestamp) -> Vec<String> {
        let all = self.steps.len() <= LINES_MOST;
        steps
            .iter()
            .filter(|step| {
                all || !matches!(step.status, StepStatus::Completed | StepStatus::Skipped | StepStatus::Pending)
            })
            .map(|step| self.line(step, now))
            .collect()
    }

    fn line(&self, step: &BoardStep, now: Timestamp) -> String {
        let paint = self.paint;
        let sign = if step.status == StepStatus::Running {
            SPINNER[usize::try_from(now.as_millisecond() / 100).unwrap_or(0) % SPINNER.len()]
        } else {
            mark(step.status)
        };
        let name = console::truncate_str(step.id.as_str(), NAME_WIDEST, "…");
        let mut line = format!("{} {name:width$}", paint.step(step.status, sign), width = self.name_width);
        if step.is_active() || step.is_settled() {
            let time = step.time(now).map(elapsed).unwrap_or_default();
            line.push_str(&paint.dim(&format!("  {time:>7}")));
        }
        for part in step.parts() {
            line.push_str("  ");
            line.push_str(&if step.status == StepStatus::Failed { paint.bad(&part) } else { paint.dim(&part) });
        }
        line.trim_end().to_owned()
    }
}

impl BoardStep {
    fn pending(id: StepId) -> Self {
        Self {
            id,
            status: StepStatus::Pending,
            attempt: 0,
            children: None,
            started_at: None,
            settled_at: None,
            last_line: String::new(),
            note: String::new(),
            cost_usd: None,
            seen: (Epoch(0), 0),
        }
    }

    /// How long it has run, or ran.
    pub(crate) fn time(&self, now: Timestamp) -> Option<std::time::Duration> {
        self.started_at.map(|started| between(started, self.settled_at.unwrap_or(now)))
    }

    /// What there is to say besides its name and time: the attempt, the cost, the counts of children, why, and the last line of a running one.
    pub(crate) fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.attempt > 1 {
            parts.push(format!("attempt {}", self.attempt));
        }
        if let Some(tally) = &self.children {
            let failed = if tally.failed > 0 { format!(", {} failed", tally.failed) } else { String::new() };
            let cached = if tally.cached > 0 { format!(", {} cached", tally.cached) } else { String::new() };
            parts.push(format!("{}/{} done{failed}{cached}", tally.settled, tally.count));
        }
        parts.extend(self.cost_usd.filter(|cost| *cost > 0.0).map(dollars));
        if !self.note.is_empty() {
            parts.push(self.note.clone());
        } else if self.status == StepStatus::Running && !self.last_line.is_empty() {
            parts.push(self.last_line.clone());
        }
        parts
    }

    fn is_settled(&self) -> bool {
        self.status.is_settled()
    }

    fn is_active(&self) -> bool {
        matches!(self.status, StepStatus::Running | StepStatus::Waiting)
    }

    fn add_cost(&mut self, usage: &Usage) {
        if let Some(cost) = usage.cost_usd {
            *self.cost_usd.get_or_insert(0.0) += cost;
        }
    }
}

impl Tally {
    fn seen(&self, child: u32) -> Seen {
        self.children.get(&child).map_or((Epoch(0), 0), |(_, seen)| *seen)
    }

    fn note(&mut self, child: u32, now: Stand, seen: Seen) {
        let before = self.children.insert(child, (now, seen)).map(|(before, _)| before);
        for (count, is_of) in [
            (&mut self.settled, (|stand| stand.status.is_settled()) as fn(Stand) -> bool),
            (&mut self.failed, |stand| stand.status == StepStatus::Failed),
            (&mut self.cached, |stand| stand.status == StepStatus::Completed && stand.cached),
        ] {
            *count += u32::from(is_of(now));
            *count -= u32::from(before.is_some_and(is_of));
        }
        self.count = self.count.max(child + 1);
    }
}

fn stand(status: StepStatus, cached: bool) -> Stand {
    Stand { status, cached }
}

/// What there is to say of where a step stands.
pub(super) fn note(row: &StepRow, change: &StepTransition) -> String {
    match &row.state {
        StepState::Failed { failure, continued } => {
            let after = if *continued { " (the run goes on)" } else { "" };
            format!("{}{after}", one_line(failure.message.lines().next().unwrap_or_default()))
        }
        StepState::Skipped(reason) => skip_words(reason).to_owned(),
        StepState::Blocked => "a need failed".to_owned(),
        StepState::Waiting(Waiting::Retry { .. }) => match change {
            StepTransition::RetryScheduled { failure, .. } => {
                format!("{}; is tried again", one_line(failure.message.lines().next().unwrap_or_default()))
            }
            _ => "is tried again".to_owned(),
        },
        StepState::Waiting(Waiting::Time { due }) => format!("until {}", moment(*due)),
        StepState::Waiting(Waiting::Approval(question)) => {
            format!("for an approval: {}", one_line(question.message.lines().next().unwrap_or_default()))
        }
        StepState::Waiting(Waiting::Limit(failure)) => {
            format!("{}; a person lets it go on", one_line(failure.message.lines().next().unwrap_or_default()))
        }
        StepState::Waiting(Waiting::Lost { .. }) => "was lost; a person must decide".to_owned(),
        StepState::Completed => {
            let warning = row.result.as_ref().and_then(|result| result.warning.as_deref()).map(one_line);
            let cached = row.hit().map(|hit| {
                let money = hit.saved.cost_usd.filter(|cost| *cost > 0.0).map(|cost| format!(" and {}", dollars(cost)));
                let time = elapsed(std::time::Duration::from_millis(hit.saved.process_ms));
                format!("cached: saved {time}{}", money.unwrap_or_default())
            });
            cached.into_iter().chain(warning).collect::<Vec<_>>().join(", ")
        }
        StepState::Running { .. } | StepState::FannedOut { .. } | StepState::Cancelled => String::new(),
    }
}
