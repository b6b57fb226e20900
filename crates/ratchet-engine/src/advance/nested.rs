//! Attempts that are runs of their own: they are started, looked at and ended, and a run that a step of an older epoch had started is taken over.

use std::collections::BTreeMap;

use ratchet_core::{
    event::{ExecutionEvent, StepEvent},
    execution::{ExecutionRow, PaidFrom, Parent, RunOptions, Selection},
    history::{Actor, Record},
    ids::{ExecutionId, StepKey, StepPath},
    status::ExecutionStatus,
    step::{FailureClass, StepFailure, StepRow, StepState},
    transition::{Ending, ExecutionTransition},
};

use super::{Act, Advance, Change, Subject, Task, settle::first_four};
use crate::{
    engine::{Engine, EngineError, StartRequest},
    execution_row, handlers,
    nested::{self, RunOrder},
    ports::{Envelope, Event},
    prepare::{Prepared, Ready, prepare},
    run::Run,
    trees::Base,
    values::load_trigger,
};

/// The code of a run whose concurrency group cannot be told.
const NO_GROUP: &str = "RT-0189";

/// What is known of the runs that steps of a run are.
#[derive(Default)]
pub(crate) struct NestedRuns {
    /// Whether one goes on, or is to.
    pub(crate) go_on: bool,
    /// Those that go on by themselves.
    pub(crate) running: Vec<ExecutionRow>,
    /// Those that are paused, each with the step that it is.
    pub(crate) paused: Vec<(StepPath, ExecutionRow)>,
}

impl Advance<'_> {
    /// Looks at runs that steps are, and has done what is left undone of them.
    pub(crate) async fn look_at_nested(&mut self, rows: Vec<StepRow>) -> Result<NestedRuns, EngineError> {
        let mut found = NestedRuns::default();
        for row in rows {
            let Some(id) = &row.execution else { continue };
            let nested = self.engine.ports.store.execution(id).await?;
            match nested.filter(|nested| is_of(nested, &row)) {
                Some(nested) if nested.status == ExecutionStatus::Paused => {
                    found.paused.push((row.key.path.clone(), nested));
                }
                Some(nested) if nested.status == ExecutionStatus::Running => {
                    found.go_on = true;
                    found.running.push(nested);
                }
                _ => {
                    found.go_on = true;
                    self.push(Task::Nested(row.key));
                }
            }
        }
        Ok(found)
    }

    /// Sees to the run that an attempt is: it is started where it is not there, and where it has ended the step is told.
    pub(super) async fn nested(&mut self, key: StepKey, after: Option<u64>) -> Result<(), EngineError> {
        let path = key.path;
        if key.epoch != self.run.row.epoch {
            return Ok(());
        }
        let Some(row) = self.row(&path).await?.filter(|row| matches!(row.state, StepState::Running { .. })) else {
            // A row of an older epoch, which is fenced once its run has ended.
            self.needs_plan = true;
            return Ok(());
        };
        let (Some(id), StepState::Running { token_hash }) = (row.execution.clone(), row.state.clone()) else {
            return Ok(());
        };
        let fan_out = match path.child {
            Some(_) => self.row(&StepPath::step(path.step.clone())).await?,
            None => None,
        };
        if fan_out.is_some_and(|fan_out| fan_out.status().is_settled()) {
            self.queue_after(Task::Cancel(vec![row.key.clone()]), after);
            self.needs_plan = true;
            return Ok(());
        }
        let nested = self.engine.ports.store.execution(&id).await?;
        let Some(nested) = nested.filter(|nested| is_of(nested, &row)) else {
            return Box::pin(self.start_again(row, id, after)).await;
        };
        if !nested.status.is_ended() {
            self.needs_plan = true;
            return Ok(());
        }
        let outcome = nested::outcome(self.engine, &nested).await?;
        let successor = self.successor_of(&path).await?;
        let chance = u32::from_le_bytes(first_four(self.engine.ports.clock.entropy()));
        let change = Change {
            cause: format!("RunEnded {id}"),
            event: StepEvent::Finished { token_hash, outcome, chance, successor },
            actor: Actor::Engine,
            launch: None,
            origin: Task::Nested(row.key.clone()),
            path,
            on: Subject::Row(Box::new(row)),
        };
        self.change_or_log(change, after);
        Ok(())
    }

    /// Whoever claimed the attempt died before its run was there.
    async fn start_again(&mut self, row: StepRow, id: ExecutionId, after: Option<u64>) -> Result<(), EngineError> {
        if !self.run.row.accepts_claims(row.key.epoch) {
            return Ok(());
        }
        let fan_out = match row.key.path.child {
            Some(_) => self.row(&StepPath::step(row.key.path.step.clone())).await?,
            None => None,
        };
        let ready = Ready {
            path: &row.key.path,
            needs: row.needs,
            base: Base::of(row.base.clone()),
            predecessor: row.predecessor,
            parent: fan_out.as_ref(),
            adopts: None,
            successor: None,
        };
        match prepare(self.engine, &self.run, &self.overlay, &ready).await? {
            Prepared::Run(prepared) => {
                let order = RunOrder {
                    key: row.key.clone(),
                    attempt: row.attempt,
                    execution: id,
                    inputs: prepared.inputs,
                    tree: row.base.clone(),
                };
                self.act_after(Act::StartRun(Box::new(order)), after).await
            }
            Prepared::Settled(verdict) => {
                let change = Change {
                    cause: format!("StepReady {}", row.key.path),
                    event: Self::no_longer_runs(&row, *verdict),
                    actor: Actor::Engine,
                    launch: None,
                    origin: Task::Nested(row.key.clone()),
                    path: row.key.path.clone(),
                    on: Subject::Row(Box::new(row)),
                };
                self.change_or_log(change, after);
                Ok(())
            }
            Prepared::Task(..) => Ok(()),
        }
    }

    /// Starts the run that an attempt is, or takes over the one that the same step had started in an older epoch.
    pub(super) async fn start_run(&mut self, order: RunOrder) -> Result<(), EngineError> {
        let RunOrder { key, attempt, execution, inputs, tree } = order;
        let Some(step) = self.run.workflow.clone().step(&key.path.step).cloned() else { return Ok(()) };
        let Some(sub) = step.action.sub_workflow() else { return Ok(()) };
        let timeout_ms = step.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let budget = self.run.budget().map(|(owner, budget)| PaidFrom { owner, budget });
        let parent = Parent { key: key.clone(), attempt, way: self.run.way(&key.path), timeout_ms, budget };
        if let Some(row) = self.engine.ports.store.execution(&execution).await? {
            return self.take_over(row, parent).await;
        }
        self.engine.keep_workflow(sub.definition.digest.clone(), sub.workflow.clone());
        let row = &self.run.row;
        let trigger = load_trigger(self.engine.ports.blobs.as_ref(), row).await?;
        let request = StartRequest {
            execution,
            definition: sub.definition.clone(),
            source: sub.text.to_string(),
            inputs,
            environment: row.environment.clone(),
            trigger,
            options: RunOptions { selection: Selection::All, ..row.options.clone() },
            actor: Actor::Engine,
            trace: row.trace.of_attempt(&key, attempt),
            parent: Some(parent),
            tree,
        };
        match handlers::start_execution::start(self.engine, request).await {
            Ok(_) => Ok(()),
            Err(EngineError::Group { reason, .. }) => {
                let message = format!("its run has no concurrency group: {reason}");
                let failure = StepFailure::new(FailureClass::Definition, message).with_code(NO_GROUP);
                self.push(Task::NotStarted { key, failure: Box::new(failure) });
                Ok(())
            }
            Err(EngineError::Artifact { input, error }) => {
                let message = format!("the input {input} of its run: {error}");
                let mut failure = StepFailure::new(FailureClass::Definition, message).with_code(error.code);
                failure.hint = error.help;
                self.push(Task::NotStarted { key, failure: Box::new(failure) });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Fails a step whose run cannot be started.
    pub(super) async fn not_started(
        &mut self,
        key: StepKey,
        failure: StepFailure,
        after: Option<u64>,
    ) -> Result<(), EngineError> {
        let Some(row) = self.engine.ports.store.step(&key).await? else { return Ok(()) };
        let change = Change {
            cause: format!("RunRefused {}", key.path),
            event: StepEvent::GivenUp { failure: failure.clone() },
            actor: Actor::Engine,
            launch: None,
            path: key.path.clone(),
            on: Subject::Row(Box::new(row)),
            origin: Task::NotStarted { key, failure: Box::new(failure) },
        };
        self.change_or_log(change, after);
        Ok(())
    }

    async fn take_over(&mut self, row: ExecutionRow, parent: Parent) -> Result<(), EngineError> {
        let (id, key) = (row.id.clone(), parent.key.clone());
        if row.parent.as_ref().is_some_and(|old| old.key.epoch < key.epoch) {
            let run = Run::load(self.engine, &id).await?;
            let event = ExecutionEvent::Adopted { parent };
            match execution_row::update(self.engine, &run, &event, Actor::Engine, event.name().to_owned()).await {
                Ok(_) => {}
                // Another handler was first.
                Err(EngineError::Rejected(rejection)) => tracing::debug!(%rejection, "rejected"),
                Err(error) => return Err(error),
            }
        }
        tell(self.engine, &row, Event::ExecutionChanged).await?;
        self.push(Task::Nested(key));
        Ok(())
    }

    /// Settles a row of an older epoch whose run was taken over.
    pub(super) async fn dispose(&mut self, key: StepKey, after: Option<u64>) -> Result<(), EngineError> {
        let row = self.engine.ports.store.step(&key).await?;
        if let Some(row) = row.filter(|row| !row.status().is_settled()) {
            self.cancel_row(row, Task::Dispose(key), after);
        }
        Ok(())
    }

    /// Settles a row of an older epoch whose run has ended.
    pub(super) async fn dispose_ended(&mut self, key: StepKey, after: Option<u64>) -> Result<(), EngineError> {
        let row = self.engine.ports.store.step(&key).await?;
        let Some(id) = row.filter(|row| !row.status().is_settled()).and_then(|row| row.execution) else {
            return Ok(());
        };
        let nested = self.engine.ports.store.execution(&id).await?;
        if nested.is_some_and(|nested| nested.status.is_ended()) {
            self.dispose(key, after).await?;
        }
        Ok(())
    }

    /// Has the run end that a row is an attempt of. Says whether it has: what it runs and what stands under its `finally` takes its time.
    pub(super) async fn end_run(&mut self, row: &StepRow) -> Result<bool, EngineError> {
        let Some(id) = &row.execution else { return Ok(true) };
        let Some(nested) = self.engine.ports.store.execution(id).await? else { return Ok(true) };
        if nested.status.is_ended() || is_taken_over(&nested, row) {
            return Ok(true);
        }
        let run = Run::load(self.engine, id).await?;
        let mut wanted = vec![Ending::Cancelled];
        // What stands under its `finally` waits for a person, who lets this run go on and not that one.
        let is_stuck = nested.status == ExecutionStatus::Paused
            && !nested.is_watched()
            && nested.endings.contains(&Ending::Cancelled);
        let is_given_up = is_stuck && has_gone_on_since(&self.run.row, &nested);
        if is_given_up || self.run.row.endings.contains(&Ending::FinallyTimedOut) {
            wanted.push(Ending::FinallyTimedOut);
        } else if is_stuck {
            self.stuck.push((row.key.path.clone(), nested.clone()));
        }
        for ending in wanted.into_iter().filter(|ending| !nested.endings.contains(ending)) {
            let event = ExecutionEvent::EndRequested { ending };
            let cause = format!("{} by {}", event.name(), row.key);
            match execution_row::update(self.engine, &run, &event, Actor::Engine, cause).await {
                Ok(_) => break,
                Err(EngineError::Rejected(rejection)) => tracing::debug!(%rejection, "rejected"),
                Err(error) => return Err(error),
            }
        }
        tell(self.engine, &nested, Event::ExecutionChanged).await?;
        Ok(false)
    }
}

/// Whether a run was started for this attempt, or was taken over for it.
fn is_of(nested: &ExecutionRow, row: &StepRow) -> bool {
    nested.parent.as_ref().is_some_and(|parent| parent.key == row.key)
}

/// Whether a run goes on under a later claim of the step. Under an earlier one it is this row's as well: nobody has got to hand it over, as where the run above was paused right after the claim.
fn is_taken_over(nested: &ExecutionRow, row: &StepRow) -> bool {
    nested.parent.as_ref().is_none_or(|parent| parent.key.epoch > row.key.epoch)
}

/// Whether a person let a run go on after one that it waits for was paused.
fn has_gone_on_since(row: &ExecutionRow, nested: &ExecutionRow) -> bool {
    let is_resume = |record: &&Record<ExecutionTransition>| {
        matches!(record.transition, ExecutionTransition::Resumed { parent: None, .. })
    };
    let resumed = row.records.iter().rev().find(is_resume);
    resumed.zip(nested.records.last()).is_some_and(|(resumed, paused)| resumed.at > paused.at)
}

/// Tells whoever drives a run.
pub(crate) async fn tell(engine: &Engine, row: &ExecutionRow, event: Event) -> Result<(), EngineError> {
    let envelope = Envelope { execution: row.id.clone(), trace: row.trace.clone(), event };
    Ok(engine.ports.bus.publish(envelope).await?)
}

/// Why a run waits whose steps wait, in words.
pub(crate) fn paused_in_words(paused: &[(StepPath, ExecutionRow)]) -> String {
    let reasons: BTreeMap<String, &str> = paused
        .iter()
        .map(|(path, nested)| (path.to_string(), nested.pause_reason.as_deref().unwrap_or("it is paused")))
        .collect();
    let told: Vec<String> = reasons.into_iter().map(|(path, reason)| format!("{path}: {reason}")).collect();
    match &told[..] {
        [one] => one.clone(),
        [one, others @ ..] => format!("{one}, and {} more wait", others.len()),
        [] => String::new(),
    }
}
