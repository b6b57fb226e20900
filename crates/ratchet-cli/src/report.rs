//! An execution in words: what happened, what it gave, and what went wrong.

use jiff::Timestamp;
use ratchet_core::{
    ids::{ExecutionId, StepId},
    status::{ExecutionStatus, StepStatus},
};
use ratchet_engine::view::{BudgetView, ExecutionView, OtherRun, StepView};
use serde_json::Value;
use std::fmt::Write as _;

use crate::{
    nested::Nested,
    paint::{Paint, mark},
    state::Outcome,
    words::{between, counted, dollars, elapsed, harmless, moment, one_line},
};

/// Lines of a failed step's last output that are shown.
const DETAIL_MOST: usize = 12;
/// Characters of an output's value that are shown.
const VALUE_WIDEST: usize = 120;
/// How an execution stands that goes on by its row alone.
pub(crate) const LEFT_BEHIND: &str = "left behind";

/// An execution as it is told.
pub(crate) struct Report<'a> {
    view: &'a ExecutionView,
    paint: Paint,
    /// Until when what goes on has gone on.
    now: Timestamp,
    /// Whether no process drives it, though it is not done.
    left_behind: bool,
    /// Of those that it waits for: which no process drives.
    abandoned: &'a [ExecutionId],
    /// The executions that its steps are.
    nested: &'a [Nested],
}

impl<'a> Report<'a> {
    /// Of an execution that is driven, has ended or is paused.
    pub(crate) fn new(view: &'a ExecutionView, paint: Paint, now: Timestamp) -> Self {
        Self { view, paint, now, left_behind: false, abandoned: &[], nested: &[] }
    }

    /// Of an execution and its files. Since when nobody drives it is not known: its times end with its last change.
    pub(crate) fn of(outcome: &'a Outcome, paint: Paint, now: Timestamp) -> Self {
        let left_behind = outcome.left_behind;
        let now = if left_behind { outcome.view.updated_at } else { now };
        let Outcome { view, abandoned, nested, .. } = outcome;
        Self { view, paint, now, left_behind, abandoned, nested }
    }

    /// One line: the mark, the workflow, how it stands, how long it took, what it cost, its name. Below it why it does not go on, where it does not.
    pub(crate) fn head(&self) -> Vec<String> {
        let (view, paint) = (self.view, self.paint);
        let is_over = view.status == ExecutionStatus::Completed;
        let mut lines = vec![self.headline()];
        lines.extend(view.pause_reason.iter().map(|reason| format!("  {}", paint.warn(reason))));
        lines.extend(self.waits().iter().map(|line| format!("  {}", paint.warn(line))));
        lines.extend(self.budget().map(|line| format!("  {}", paint.dim(&line))));
        if self.left_behind {
            let left = if is_over { "its changes are not applied yet" } else { "nothing happens until it is resumed" };
            lines.push(format!("  {}", paint.warn(&format!("the process that drove it is gone: {left}"))));
        }
        lines
    }

    /// What the execution waits for before anything of it runs, and who is before it; empty where it does not.
    pub(crate) fn waits(&self) -> Vec<String> {
        let Some(turn) = &self.view.waits_for else { return Vec::new() };
        let name = |other: &OtherRun| format!("{} ({})", other.execution_id, other.status);
        let mut before: Vec<String> = turn.running.iter().map(name).collect();
        if turn.queued_before > 0 {
            before.push(format!("{} more", turn.queued_before));
        }
        let before = if before.is_empty() { String::new() } else { format!("; before it: {}", before.join(", ")) };
        let mut lines = vec![format!("waits for its turn in the concurrency group {}{before}", harmless(&turn.group))];
        let lost = |id: &ExecutionId| {
            format!("the process of {id} is gone: `ratchet resume {id}` goes on with it, `ratchet cancel {id}` ends it")
        };
        let paused = |other: &&OtherRun| other.status == ExecutionStatus::Paused;
        let waits = |other: &OtherRun| format!("{0} is paused: `ratchet status {0}` says what for", other.execution_id);
        lines.extend(self.abandoned.iter().map(lost));
        lines.extend(turn.running.iter().filter(paused).map(waits));
        lines
    }

    /// What was spent of the budget.
    fn budget(&self) -> Option<String> {
        let BudgetView { spent, limit, calls_in_flight } = self.view.budget.as_ref()?;
        let cost = limit.max_cost_usd.map(|most| format!("{} of {}", dollars(spent.cost_usd), dollars(most)));
        let tokens = limit.max_tokens.map(|most| format!("{} of {most} tokens", spent.tokens));
        let calls = limit.max_agent_calls.map(|most| format!("{} of {most} agent calls", spent.agent_calls));
        let open = (*calls_in_flight > 0).then(|| format!("{} under way", counted(*calls_in_flight, "call")));
        let parts: Vec<String> = [cost, tokens, calls, open].into_iter().flatten().collect();
        Some(format!("budget: {}", parts.join(", ")))
    }

    fn headline(&self) -> String {
        let (view, paint) = (self.view, self.paint);
        let sign = match view.status {
            ExecutionStatus::Completed => mark(StepStatus::Completed),
            ExecutionStatus::Failed => mark(StepStatus::Failed),
            ExecutionStatus::Running if self.left_behind => mark(StepStatus::Waiting),
            ExecutionStatus::Running => mark(StepStatus::Running),
            ExecutionStatus::Paused => mark(StepStatus::Waiting),
            ExecutionStatus::Cancelled => mark(StepStatus::Cancelled),
        };
        let is_running = view.status == ExecutionStatus::Running;
        let until = view.ended_at.unwrap_or(if is_running { self.now } else { view.updated_at });
        let mut line = format!(
            "{} {} {} {} {}",
            paint.execution(view.status, sign),
            paint.bold(&view.workflow_name),
            standing(view.status, self.left_behind, paint, 0),
            if view.ended_at.is_some() { "in" } else { "after" },
            elapsed(between(view.created_at, until)),
        );
        if !view.failed_steps.is_empty() && view.status == ExecutionStatus::Completed {
            line.push_str(&paint.warn(&format!(" with {}", counted(view.failed_steps.len(), "failed step"))));
        }
        if view.cost_usd > 0.0 {
            let _ = write!(line, "  {}", dollars(view.cost_usd));
        }
        line.push_str(&paint.dim(&format!("  {}", view.execution_id)));
        line
    }

    /// A line a step, in the order of the file.
    pub(crate) fn steps(&self) -> Vec<String> {
        let width = self.view.steps.iter().map(|(id, _)| id.as_str().chars().count()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for (id, step) in &self.view.steps {
            lines.push(self.step(id, step, width));
            let is_of_step = |nested: &&Nested| {
                let rest = nested.path.strip_prefix(id.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            for nested in self.nested.iter().filter(is_of_step) {
                lines.extend(self.nested_steps(nested));
            }
        }
        lines
    }

    /// The steps of an execution that a step is, below it.
    fn nested_steps(&self, nested: &Nested) -> Vec<String> {
        let depth = nested.path.matches('.').count() + 1;
        let inner = Report { view: &nested.view, nested: &[], ..*self };
        let indent = "  ".repeat(depth);
        let mut lines = Vec::new();
        // The items of a fan-out stand side by side, so each has a line of its own; the step itself has one already.
        if nested.path.ends_with(']') || depth > 1 {
            let (sign, status) = (self.sign(&nested.view), nested.view.status);
            lines.push(format!("{indent}  {sign} {}  {}", nested.path, self.paint.execution(status, status.as_str())));
        }
        lines.extend(inner.steps().iter().map(|line| format!("{indent}{line}")));
        lines
    }

    fn sign(&self, view: &ExecutionView) -> String {
        let sign = match view.status {
            ExecutionStatus::Completed => mark(StepStatus::Completed),
            ExecutionStatus::Failed => mark(StepStatus::Failed),
            ExecutionStatus::Running => mark(StepStatus::Running),
            ExecutionStatus::Paused => mark(StepStatus::Waiting),
            ExecutionStatus::Cancelled => mark(StepStatus::Cancelled),
        };
        self.paint.execution(view.status, sign)
    }

    fn step(&self, id: &StepId, step: &StepView, width: usize) -> String {
        let paint = self.paint;
        let sign = paint.step(step.status, mark(step.status));
        let word = format!("{:<9}", step.status.as_str());
        let mut line = format!("  {sign} {:<width$}  {}", id.as_str(), paint.step(step.status, &word));
        let until = step.completed_at.or_else(|| (!self.left_behind).then_some(self.now));
        if let (Some(started), Some(until)) = (step.started_at, until) {
            let _ = write!(line, " {:>7}", elapsed(between(started, until)));
        }
        let mut notes = Vec::new();
        if self.left_behind && step.status == StepStatus::Running {
            notes.push("when its process was lost".to_owned());
        }
        if step.attempts > 1 {
            notes.push(counted(step.attempts as usize, "attempt"));
        }
        if let Some(children) = &step.children {
            let cached = (children.cached > 0).then(|| format!("{} cached", children.cached));
            let states = children.by_status.iter().map(|(status, count)| format!("{count} {status}")).chain(cached);
            notes.push(format!(
                "{}: {}",
                counted(children.count as usize, "child").replace("childs", "children"),
                states.collect::<Vec<_>>().join(", ")
            ));
        }
        notes.extend(step.cost_usd.filter(|cost| *cost > 0.0).map(dollars));
        notes.extend(step.cached.then(|| "cached".to_owned()));
        notes.extend(step.reason.map(str::to_owned));
        notes.extend(step.warning.as_deref().map(one_line));
        notes.extend(step.error.as_ref().map(|error| one_line(error.message.lines().next().unwrap_or_default())));
        if !notes.is_empty() {
            let _ = write!(line, "  {}", paint.dim(&notes.join(", ")));
        }
        line.trim_end().to_owned()
    }

    /// What each failed step said, with its last output and what to do.
    pub(crate) fn failures(&self) -> Vec<String> {
        let (view, paint) = (self.view, self.paint);
        let mut lines = Vec::new();
        for (id, step) in &view.steps {
            let Some(error) = &step.error else { continue };
            let code = error.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
            let attempts = if step.attempts > 1 { format!(" after {} attempts", step.attempts) } else { String::new() };
            let mut message = error.message.lines();
            let first = harmless(message.next().unwrap_or_default());
            lines.push(format!(
                "{} {}{attempts}: {first}{code}",
                paint.bad(mark(StepStatus::Failed)),
                paint.bold(id.as_str())
            ));
            lines.extend(message.map(|line| format!("  {}", harmless(line))));
            if let Some(detail) = &error.detail {
                let detail = harmless(detail);
                let all: Vec<&str> = detail.lines().collect();
                let left_out = all.len().saturating_sub(DETAIL_MOST);
                if left_out > 0 {
                    lines.push(paint.dim(&format!("    … {} above", counted(left_out, "line"))));
                }
                lines.extend(all[left_out..].iter().map(|line| format!("    {line}")));
            }
            if let Some(children) = step.children.as_ref().filter(|children| !children.failed_items.is_empty()) {
                let items: Vec<String> = children.failed_items.iter().map(|item| format!("{id}[{item}]")).collect();
                lines.push(format!("  failed: {}", items.join(", ")));
            }
            if let Some(hint) = &error.hint {
                lines.push(format!("  {}: {}", paint.bold("hint"), harmless(hint)));
            }
        }
        if let Some(error) = &view.error {
            let code = error.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
            lines.push(format!("{} {}{code}", paint.bad(mark(StepStatus::Failed)), harmless(&error.message)));
            lines.extend(error.hint.iter().map(|hint| format!("  {}: {}", paint.bold("hint"), harmless(hint))));
        }
        lines
    }

    /// What people are asked.
    pub(crate) fn questions(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let own = self.view.steps.iter().map(|(id, step)| (id.to_string(), step));
        let below = self
            .nested
            .iter()
            .flat_map(|nested| nested.view.steps.iter().map(move |(id, step)| (format!("{}.{id}", nested.path), step)));
        for (id, step) in own.chain(below) {
            let Some(question) = &step.question else { continue };
            let mut message = question.message.lines();
            let first = harmless(message.next().unwrap_or_default());
            lines.push(format!("{} {}: {first}", self.paint.warn("?"), self.paint.bold(&id)));
            lines.extend(message.map(|line| format!("  {}", harmless(line))));
            if !question.approvers.is_empty() {
                lines.push(format!("  asked: {}", harmless(&question.approvers.join(", "))));
            }
            lines.extend(step.due.map(|due| format!("  until {}", moment(due))));
        }
        lines
    }

    /// What the execution gave, a line a value.
    pub(crate) fn outputs(&self) -> Vec<String> {
        let (outputs, paint) = (&self.view.outputs, self.paint);
        let width = outputs.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        let line = |(name, value): (&String, &Value)| {
            let text = console::truncate_str(&one_line(&value_words(value)), VALUE_WIDEST, "…").into_owned();
            format!("  {name:<width$}  {}", if value.is_null() { paint.dim("not set") } else { text })
        };
        outputs.iter().map(line).collect()
    }
}

/// The steps that wait for a person's word, also those of executions that steps are.
pub(crate) fn asking(outcome: &Outcome) -> Vec<String> {
    let mut names = asking_in(&outcome.view);
    for nested in &outcome.nested {
        names.extend(asking_in(&nested.view).into_iter().map(|name| format!("{}.{name}", nested.path)));
    }
    names
}

/// What asks a person, as the commands name it: a step, or a child of one.
fn asking_in(view: &ExecutionView) -> Vec<String> {
    let of_step = |(id, step): &(StepId, StepView)| {
        let children = step.children.iter().flat_map(|children| &children.asking_items);
        let own = step.question.as_ref().map(|_| id.to_string());
        own.into_iter().chain(children.map(|item| format!("'{id}[{item}]'"))).collect::<Vec<_>>()
    };
    view.steps.iter().flat_map(of_step).collect()
}

/// How an execution stands, in a word or two, painted and at least so wide.
pub(crate) fn standing(status: ExecutionStatus, left_behind: bool, paint: Paint, width: usize) -> String {
    if left_behind && status == ExecutionStatus::Running {
        return paint.warn(&format!("{LEFT_BEHIND:<width$}"));
    }
    paint.execution(status, &format!("{:<width$}", status.as_str()))
}

fn value_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(file) if file.contains_key("digest") && file.contains_key("path") => {
            file["path"].as_str().unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    }
}
