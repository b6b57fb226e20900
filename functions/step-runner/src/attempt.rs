//! The attempt on its files, from the order to the report.

use std::{sync::Arc, time::Instant};

use ratchet_aws::task::Task;
use ratchet_core::step::{FailureClass, StepFailure, Usage};
use ratchet_definition::files::FileAccess;
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Order},
    ports::{Agent, AttemptFiles, AttemptPlace, AttemptRunner as _, StopSignal},
};
use ratchet_files::{ConfinedFiles, Leaving, no_files, not_captured, with_tree};
use ratchet_runner::{
    Runner,
    agent::{ClaudeCode, RecordedAgent},
};
use ratchet_workspace::WorkspaceError;

use crate::{files::Files, lines::Lines, user::User};

/// Runs it. Whatever happens, there is a report.
pub(crate) async fn run(task: &Arc<Task>, order: Order, stop: StopSignal) -> AttemptReport {
    let (key, attempt, token) = (order.key.clone(), order.attempt, order.token.clone());
    let outcome = outcome(task, order, stop).await;
    AttemptReport { key, attempt, token, outcome }
}

async fn outcome(task: &Arc<Task>, order: Order, stop: StopSignal) -> AttemptOutcome {
    let failed = |failure: StepFailure| AttemptOutcome::Failed { failure, usage: Usage::default() };
    let Some(base) = order.tree.clone() else {
        return failed(StepFailure::new(FailureClass::Launch, "the run has no files that a task could work on"));
    };
    let user = match User::of_environment() {
        Ok(user) => user,
        Err(reason) => return failed(StepFailure::new(FailureClass::Launch, reason)),
    };
    let runner = match runner(task, &order) {
        Ok(runner) => runner,
        Err(failure) => return failed(failure),
    };
    let leaving = Leaving::of(&order);
    let directory = task.settings.folder.join("attempt");
    let scratch = task.settings.folder.join("scratch");
    let made_ready = {
        let (task, order, base) = (task.clone(), order.clone(), base.clone());
        let handed = [directory.clone(), scratch.clone()];
        apart(move || Files::open(&task, &order, &base, user, handed)).await
    };
    let files = match made_ready {
        Ok(files) => files,
        Err(error) => return failed(no_files(&error, error.code(), error.hint())),
    };
    let place = AttemptPlace { files: files.seen(), definitions: None, directory, scratch };
    let ended = runner.run(order, place, stop).await.outcome;
    if !Leaving::is_kept_of(&ended) {
        return ended;
    }
    let declared = leaving.clone().declared(&ended);
    let (began, bounds, task) = (Instant::now(), leaving.bounds, task.clone());
    let left = apart(move || files.close(&task, declared, bounds)).await;
    let taken = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Err(error) = &left {
        tracing::warn!(%error, "what the attempt changed is not kept");
    }
    with_tree(ended, &base, left.map_err(|error| not_captured(&error, error.code(), error.hint())), taken)
}

fn runner(task: &Arc<Task>, order: &Order) -> Result<Runner, StepFailure> {
    let agent: Arc<dyn Agent> = match &task.settings.recording {
        Some(folder) => Arc::new(RecordedAgent::open(folder).map_err(|error| {
            StepFailure::new(FailureClass::Launch, format!("the recording cannot be played: {error}"))
        })?),
        None => Arc::new(ClaudeCode::of_this_process()),
    };
    let captured = task.captured.clone();
    let files =
        move |files: &AttemptFiles| -> Arc<dyn FileAccess> { Arc::new(ConfinedFiles::of(files, captured.clone())) };
    let lines = Lines { attempt: order.attempt };
    let runner = Runner::new(task.blobs.clone(), agent, Arc::new(lines), Arc::new(files));
    Ok(match &task.secrets {
        Some(secrets) => runner.with_secrets(secrets.clone()),
        None => runner,
    })
}

/// Does work that waits for disks and the bucket where it holds nobody up.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    let broken = |error: tokio::task::JoinError| {
        Err(WorkspaceError::Damaged { what: "the step's files".to_owned(), reason: error.to_string() })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(broken)
}
