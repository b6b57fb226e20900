//! Spans of executions, steps and attempts, made from the rows when they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use ratchet_core::{
    execution::{ExecutionRow, TraceParent},
    history::Record,
    ids::{ExecutionId, StepKey},
    status::{ExecutionStatus, StepStatus},
    step::{StepFailure, StepRow, Usage},
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_engine::ports::Observer;

#[cfg(feature = "otlp")]
use super::otlp::Exporter;
use crate::console::Console;

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// `execution NAME`, `step ID` or `attempt N`.
    pub(crate) name: String,
    /// The span's own context.
    pub(crate) context: TraceParent,
    /// The context of the span that it is a part of.
    pub(crate) parent: Option<TraceParent>,
    /// When it began.
    pub(crate) from: Timestamp,
    /// When it ended.
    pub(crate) to: Timestamp,
    /// What it was about.
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    /// A word.
    Text(String),
    /// A count.
    Number(i64),
    /// An amount.
    Amount(f64),
}

/// Logs what happens and exports spans where the standard variables ask for it.
pub(crate) struct Spans {
    /// Of each execution that was told of.
    traces: Mutex<HashMap<ExecutionId, TraceParent>>,
    caller: Option<TraceParent>,
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter>,
}

impl Spans {
    /// For one execution. `caller` is the span that it was started from.
    pub(crate) fn start(caller: Option<TraceParent>, console: Console) -> Arc<Self> {
        let wanted = super::export_is_wanted();
        if wanted && cfg!(not(feature = "otlp")) {
            console.say("note: this ratchet was built without export of traces: build it with `make build`");
        }
        Arc::new(Self {
            traces: Mutex::default(),
            caller,
            #[cfg(feature = "otlp")]
            exporter: wanted.then(|| Exporter::start(console)).flatten(),
        })
    }

    /// Waits until what was told is exported, a few seconds at most.
    pub(crate) fn finish(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.finish();
        }
    }

    fn ended(&self, span: Span) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.send(span);
            return;
        }
        drop(span);
    }

    fn trace(&self, execution: &ExecutionId) -> Option<TraceParent> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).get(execution).cloned()
    }
}

impl Observer for Spans {
    fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>) {
        log_step(row, record);
        let Some(execution) = self.trace(&row.key.execution) else { return };
        if row.key.path.step.is_internal() {
            return;
        }
        let step = of_step(&execution, &row.key);
        if let Some(span) = attempt_span(row, record, &step, &execution) {
            self.ended(span);
        }
        if row.status().is_settled() && row.attempt > 0 {
            self.ended(step_span(row, record, step, &execution));
        }
    }

    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>) {
        tracing::info!(
            execution = %row.id, status = %row.status, cause = record.cause, traceparent = row.trace.0, "execution changed"
        );
        self.traces.lock().unwrap_or_else(PoisonError::into_inner).insert(row.id.clone(), row.trace.clone());
        // That of an execution which is a step is the span of the step's attempt.
        if row.parent.is_none() && matches!(record.transition, ExecutionTransition::Ended { .. }) {
            self.ended(execution_span(row, record, self.caller.clone()));
        }
    }

    fn line_written(&self, _key: &StepKey, _line: &str) {}
}

fn log_step(row: &StepRow, record: &Record<StepTransition>) {
    let (execution, step, attempt) = (&row.key.execution, &row.key.path, row.attempt);
    let epoch = row.key.epoch.0;
    let cause = &record.cause;
    let status = row.status();
    if let Some(StepFailure { message, .. }) = failure(record) {
        tracing::warn!(%execution, %step, attempt, epoch, %status, cause, failure = message, "step changed");
    } else {
        tracing::info!(%execution, %step, attempt, epoch, %status, cause, "step changed");
    }
}

/// The context of a step's span: that of an attempt before the first.
fn of_step(execution: &TraceParent, key: &StepKey) -> TraceParent {
    execution.of_attempt(key, 0)
}

/// The span of the attempt that a record ended, where it ended one.
fn attempt_span(
    row: &StepRow,
    record: &Record<StepTransition>,
    step: &TraceParent,
    execution: &TraceParent,
) -> Option<Span> {
    use StepTransition::{
        Cancelled, Claimed, Failed, LostAndSuspended, Reclaimed, RetryScheduled, Succeeded, Suspended,
    };
    let usage = match &record.transition {
        Succeeded { result, .. } => result.usage,
        Failed { usage, .. } | RetryScheduled { usage, .. } | Suspended { usage, .. } => *usage,
        LostAndSuspended { .. } | Cancelled => Usage::default(),
        _ => return None,
    };
    let is_claim = |record: &&Record<StepTransition>| {
        matches!(record.transition, Claimed { .. } | Reclaimed { .. } | StepTransition::LostAndReclaimed { .. })
    };
    let claim = row.records.iter().rev().find(is_claim)?;
    let mut attributes = attributes_of(row);
    attributes.push(("ratchet.attempt", Attribute::Number(row.attempt.into())));
    attributes.push(("ratchet.process_ms", number(usage.process_ms)));
    attributes.extend(usage.cost_usd.map(|cost| ("ratchet.cost_usd", Attribute::Amount(cost))));
    attributes.extend(usage.tokens.map(|tokens| ("ratchet.tokens", number(tokens))));
    Some(Span {
        name: format!("attempt {}", row.attempt),
        context: execution.of_attempt(&row.key, row.attempt),
        parent: Some(step.clone()),
        from: claim.at,
        to: record.at,
        attributes,
        failure: failure(record).map(|failure| failure.message.clone()),
    })
}

fn step_span(row: &StepRow, record: &Record<StepTransition>, context: TraceParent, execution: &TraceParent) -> Span {
    let mut parent = execution.clone();
    if row.key.path.child.is_some() {
        let mut fan_out = row.key.clone();
        fan_out.path.child = None;
        parent = of_step(execution, &fan_out);
    }
    let failed = row.status() == StepStatus::Failed;
    Span {
        name: format!("step {}", row.key.path),
        context,
        parent: Some(parent),
        from: row.started_at,
        to: record.at,
        attributes: attributes_of(row),
        failure: failed.then(|| failure(record).map(|failure| failure.message.clone())).flatten(),
    }
}

fn execution_span(row: &ExecutionRow, record: &Record<ExecutionTransition>, caller: Option<TraceParent>) -> Span {
    Span {
        name: format!("execution {}", row.definition.name),
        context: row.trace.clone(),
        parent: caller,
        from: row.created_at,
        to: record.at,
        attributes: vec![
            ("ratchet.execution_id", Attribute::Text(row.id.to_string())),
            ("ratchet.workflow", Attribute::Text(row.definition.name.clone())),
            ("ratchet.workflow_version", Attribute::Text(row.definition.version.clone())),
            ("ratchet.status", Attribute::Text(row.status.to_string())),
        ],
        failure: (row.status == ExecutionStatus::Failed).then(|| "the execution failed".to_owned()),
    }
}

fn attributes_of(row: &StepRow) -> Vec<(&'static str, Attribute)> {
    vec![
        ("ratchet.execution_id", Attribute::Text(row.key.execution.to_string())),
        ("ratchet.step", Attribute::Text(row.key.path.to_string())),
        ("ratchet.epoch", Attribute::Number(row.key.epoch.0.into())),
        ("ratchet.status", Attribute::Text(row.status().to_string())),
    ]
}

fn number(count: u64) -> Attribute {
    Attribute::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

fn failure(record: &Record<StepTransition>) -> Option<&StepFailure> {
    match &record.transition {
        StepTransition::Failed { failure, .. } | StepTransition::RetryScheduled { failure, .. } => Some(failure),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ratchet_core::step::{FailureClass, StepResult};
    use ratchet_testkit::builders::{changed_step, child_key, step_key, step_row, step_with_result, token_hash, trace};

    use super::*;

    #[test]
    fn spans_of_attempts_have_the_context_that_processes_see() {
        let execution = trace();
        let first = step_row(step_key("run", 1, "build"));
        let failure = StepFailure::new(FailureClass::Timeout, "too long");
        let usage = Usage::default();
        let due = first.started_at;
        let failed = changed_step(&first, StepTransition::RetryScheduled { failure, due, usage });
        let step = of_step(&execution, &first.key);
        let record = failed.records.last().expect("a record");
        let span = attempt_span(&failed, record, &step, &execution).expect("a span");
        assert_eq!(span.context, execution.of_attempt(&first.key, 1));
        assert_eq!((span.parent.as_ref(), span.failure.as_deref()), (Some(&step), Some("too long")));
        assert_eq!(span.from, first.started_at);

        let again =
            changed_step(&failed, StepTransition::Reclaimed { token_hash: token_hash("second"), execution: None });
        assert!(attempt_span(&again, again.records.last().expect("a record"), &step, &execution).is_none());
        let done = step_with_result(&again, StepResult::default());
        let span = attempt_span(&done, done.records.last().expect("a record"), &step, &execution).expect("a span");
        assert_eq!(span.context, execution.of_attempt(&first.key, 2));
        assert!(span.from > first.started_at && span.failure.is_none());
    }

    #[test]
    fn a_child_is_a_part_of_its_fan_out() {
        let execution = trace();
        let child = step_with_result(&step_row(child_key("run", 1, "each", 3)), StepResult::default());
        let record = child.records.last().expect("a record").clone();
        let span = step_span(&child, &record, of_step(&execution, &child.key), &execution);
        assert_eq!(span.name, "step each[3]");
        assert_eq!(span.parent, Some(of_step(&execution, &step_key("run", 1, "each"))));
    }
}
