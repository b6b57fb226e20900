//! The oracle: what a workflow comes to, found by doing its steps one after the other in the order of the file.
//!
//! It is written from the description of the language and knows nothing of rows, epochs, joins, lanes or events. What the schedule alone decides (which
//! attempts were lost too often, whether the run was ended early) it is told.

use std::collections::BTreeMap;

use super::{
    model::{Action, Condition, Each, Failing, Items, List, Model, OnFailure, Retry, Status, Step},
    script::{Deed, Script, list, value},
};

/// What the schedule decided.
pub(crate) struct Circumstances<'a> {
    pub(crate) script: &'a Script,
    /// The epoch in which a step ran.
    pub(crate) epoch_of: &'a dyn Fn(usize) -> u32,
    /// Whether the attempts of a step or a child were lost so often that it failed.
    pub(crate) lost_for_good: &'a dyn Fn(usize, Option<u32>) -> bool,
    /// Whether a step or a child that has a timeout was answered too late.
    pub(crate) answered_too_late: &'a dyn Fn(usize, Option<u32>) -> bool,
    /// Whether a kept result stood in for a step or a child, so that nothing of it ran.
    pub(crate) stood_in: &'a dyn Fn(usize, Option<u32>) -> bool,
    /// Whether the run that a step or a child is ended well. What it comes to is found by itself.
    pub(crate) run_completed: &'a dyn Fn(usize, Option<u32>) -> bool,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Number(i64),
    List(Vec<Value>),
}

impl Value {
    /// The value as JSON without spaces.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::List(values) => format!("[{}]", values.iter().map(Self::text).collect::<Vec<_>>().join(",")),
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Result {
    pub(crate) status: Status,
    /// Whether it failed and the run goes on all the same.
    pub(crate) continued: bool,
    /// Whether what it stands in ends with it as a success.
    pub(crate) concludes: bool,
    pub(crate) v: Value,
    pub(crate) list: Value,
    pub(crate) text: Option<String>,
    /// Of a step that fanned out.
    pub(crate) children: Vec<Status>,
    /// Whether which of its children ran to their end is left to the schedule.
    pub(crate) children_vary: bool,
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) steps: Vec<Result>,
    pub(crate) status: Status,
    pub(crate) continued: bool,
    pub(crate) outputs: BTreeMap<String, Value>,
}

/// Does the workflow.
pub(crate) fn interpret(model: &Model, circumstances: &Circumstances<'_>) -> Outcome {
    let mut oracle = Oracle { model, circumstances, steps: Vec::new() };
    for position in 0..model.steps.len() {
        let result = oracle.step(position);
        oracle.steps.push(result);
    }
    let broken = |result: &Result| matches!(result.status, Status::Failed | Status::Blocked) && !result.continued;
    let failed = oracle.steps.iter().any(broken);
    let outputs = model.outputs.iter().map(|step| (model.output_name(*step).to_owned(), oracle.steps[*step].v.clone()));
    Outcome {
        status: if failed { Status::Failed } else { Status::Completed },
        continued: oracle.steps.iter().any(|result| result.continued),
        outputs: outputs.collect(),
        steps: oracle.steps,
    }
}

struct Oracle<'a> {
    model: &'a Model,
    circumstances: &'a Circumstances<'a>,
    /// The steps that were done, which are those above the one at hand.
    steps: Vec<Result>,
}

impl Oracle<'_> {
    fn step(&self, position: usize) -> Result {
        let step = &self.model.steps[position];
        let failed_before = self.failed_before(position);
        if step.list == List::OnFailure && !failed_before {
            return settled(Status::Skipped);
        }
        if self.is_blocked(position) && !step.handles_failure() {
            return settled(Status::Blocked);
        }
        if let Some(when) = &step.when
            && (step.each.is_none() || !when.reads_item())
            && !self.holds(when, failed_before, None)
        {
            return settled(Status::Skipped);
        }
        let mut result = match &step.each {
            None => self.once(position, failed_before, None),
            Some(each) => self.each(position, each, failed_before),
        };
        if result.status == Status::Failed {
            match step.on_failure {
                OnFailure::Fail | OnFailure::Succeed => {}
                OnFailure::Continue => result.continued = true,
                OnFailure::Warn => result.status = Status::Completed,
            }
        }
        result
    }

    /// A failed or blocked need blocks a step; one that names no needs is blocked by any failure above it. Nothing keeps `finally` from running.
    fn is_blocked(&self, position: usize) -> bool {
        let step = &self.model.steps[position];
        step.list != List::Finally && self.model.needs(position).into_iter().any(|need| self.is_broken(need))
    }

    fn is_broken(&self, position: usize) -> bool {
        let result = &self.steps[position];
        matches!(result.status, Status::Failed | Status::Blocked) && !result.continued
    }

    /// Whether something failed that comes before a step.
    fn failed_before(&self, position: usize) -> bool {
        let above = (0..position).filter(|other| self.model.is_in_later_list(position, *other));
        above.chain(self.model.ancestors(position)).any(|other| self.is_broken(other))
    }

    fn holds(&self, condition: &Condition, failed_before: bool, item: Option<i64>) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Failure => failed_before,
            Condition::Success => !failed_before,
            Condition::ValueIs(step, number) => self.steps[*step].v == Value::Number(*number),
            Condition::StatusIs(step, status) => self.steps[*step].status == *status,
            Condition::InputIs(number) => self.model.input == *number,
            Condition::ItemIs(number) => item == Some(*number),
            Condition::Not(inner) => !self.holds(inner, failed_before, item),
            Condition::Both(a, b) => self.holds(a, failed_before, item) && self.holds(b, failed_before, item),
            Condition::Either(a, b) => self.holds(a, failed_before, item) || self.holds(b, failed_before, item),
        }
    }

    /// A step, or one child of it.
    fn once(&self, position: usize, failed_before: bool, child: Option<(u32, &Value)>) -> Result {
        let step = &self.model.steps[position];
        let variables = self.variables(step, child.map(|(_, item)| item));
        match &step.action {
            Action::Shell => {
                let child = child.map(|(index, _)| index);
                if self.fails(position, child, &step.retry) {
                    return settled(Status::Failed);
                }
                let variables: BTreeMap<String, String> = variables.into_iter().collect();
                let v = value(&step.id, variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                let list = list(&step.id, v).into_iter().map(Value::Number).collect();
                Result { v: Value::Number(v), list: Value::List(list), ..settled(Status::Completed) }
            }
            Action::Assert(condition) if self.holds(condition, failed_before, number(child)) => {
                settled(Status::Completed)
            }
            Action::Assert(_) if step.on_failure == OnFailure::Succeed => {
                Result { concludes: true, ..settled(Status::Completed) }
            }
            Action::Assert(_) => settled(Status::Failed),
            Action::Wait(_) => settled(Status::Completed),
            Action::Group(..) => {
                let completed = (self.circumstances.run_completed)(position, child.map(|(index, _)| index));
                settled(if completed { Status::Completed } else { Status::Failed })
            }
            Action::Approval(timeout) => {
                let child = child.map(|(index, _)| index);
                let epoch = (self.circumstances.epoch_of)(position);
                let is_late = timeout.is_some() && (self.circumstances.answered_too_late)(position, child);
                let answer = self.circumstances.script.answer(&step.id, child, timeout.is_some(), epoch);
                settled(if answer == Some(true) && !is_late { Status::Completed } else { Status::Failed })
            }
            Action::Template => {
                let text: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Result { text: Some(text.join(" ")), ..settled(Status::Completed) }
            }
        }
    }

    fn variables(&self, step: &Step, item: Option<&Value>) -> Vec<(String, String)> {
        let mut variables = vec![("N".to_owned(), self.model.input.to_string())];
        variables.extend(item.map(|item| ("ITEM".to_owned(), item.text())));
        for read in &step.reads {
            let name = format!("V_{}", self.model.steps[*read].id.to_uppercase());
            variables.push((name, self.steps[*read].v.text()));
        }
        variables.extend((step.edits > 0).then(|| ("EDITS".to_owned(), step.edits.to_string())));
        variables
    }

    /// Whether every attempt that there is fails.
    fn fails(&self, position: usize, child: Option<u32>, retry: &Retry) -> bool {
        if (self.circumstances.stood_in)(position, child) {
            return false;
        }
        if (self.circumstances.lost_for_good)(position, child) {
            return true;
        }
        let epoch = (self.circumstances.epoch_of)(position);
        for failures in 0..retry.attempts {
            match self.circumstances.script.deed(&self.model.steps[position].id, child, failures, epoch) {
                Deed::Succeeds => return false,
                Deed::Fails(failing) if !is_tried_again(retry, failing) => return true,
                Deed::Fails(_) => {}
            }
        }
        true
    }

    fn each(&self, position: usize, each: &Each, failed_before: bool) -> Result {
        let items = match &each.items {
            Items::Given(items) => Value::List(items.iter().copied().map(Value::Number).collect()),
            Items::ListOf(step) => self.steps[*step].list.clone(),
            Items::ValuesOf(step) => self.steps[*step].v.clone(),
        };
        // A list that is null is none.
        let Value::List(items) = items else { return settled(Status::Failed) };
        let step = &self.model.steps[position];
        let children: Vec<Result> = (0..)
            .zip(&items)
            .map(|(index, item)| {
                let number = if let Value::Number(number) = item { Some(*number) } else { None };
                let skips = step
                    .when
                    .as_ref()
                    .is_some_and(|when| when.reads_item() && !self.holds(when, failed_before, number));
                if skips { settled(Status::Skipped) } else { self.once(position, failed_before, Some((index, item))) }
            })
            .collect();
        let failures = children.iter().filter(|child| child.status == Status::Failed).count();
        let statuses: Vec<Status> = children.iter().map(|child| child.status).collect();
        if children.iter().any(|child| child.concludes) {
            return Result { children: statuses, children_vary: true, ..settled(Status::Completed) };
        }
        if failures > each.tolerated as usize {
            return Result { children: statuses, children_vary: each.fail_fast, ..settled(Status::Failed) };
        }
        let of = |part: fn(&Result) -> Value| match step.action {
            Action::Shell => Value::List(children.iter().map(part).collect()),
            Action::Assert(_) | Action::Template | Action::Wait(_) | Action::Approval(_) | Action::Group(..) => {
                Value::Null
            }
        };
        Result {
            v: of(|child| child.v.clone()),
            list: of(|child| child.list.clone()),
            children: statuses,
            ..settled(Status::Completed)
        }
    }
}

/// The item of a child, where it is a number.
fn number(child: Option<(u32, &Value)>) -> Option<i64> {
    match child {
        Some((_, Value::Number(number))) => Some(*number),
        _ => None,
    }
}

/// Whether a failure is one that the policy asks another attempt for.
fn is_tried_again(retry: &Retry, failing: Failing) -> bool {
    retry.on.is_empty() || retry.on.contains(&failing)
}

fn settled(status: Status) -> Result {
    Result {
        status,
        continued: false,
        concludes: false,
        v: Value::Null,
        list: Value::Null,
        text: None,
        children: Vec::new(),
        children_vary: false,
    }
}
