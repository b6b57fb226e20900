//! Runs one attempt of one step: the main of a Fargate task.
//!
//! It fetches its order, passes the fence, makes the files of the step ready, runs the attempt, keeps what it changed, and reports. As the first process of its container it waits for
//! whatever becomes an orphan, and a request to end becomes one to the attempt.

mod attempt;
mod files;
mod lines;
mod user;

use std::{process::ExitCode, sync::Arc};

use ratchet_aws::{
    deployment::logs,
    task::{Task, TaskError},
};
use ratchet_engine::ports::Stop;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[tokio::main]
async fn main() -> ExitCode {
    logs::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever looks after the run finds the task ended without a report.
        Err(error) => {
            tracing::error!(%error, "the task could not do its work");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), TaskError> {
    let stop = told_to_stop()?;
    let task = Arc::new(Task::from_environment().await?);
    let order = task.order().await?;
    let (key, attempt) = (order.key.clone(), order.attempt);
    if !task.begin(&order).await? {
        tracing::info!(execution = %key.execution, step = %key.path, attempt, "another task is the attempt, or nobody waits for it");
        return Ok(());
    }
    tracing::info!(execution = %key.execution, step = %key.path, attempt, "begun");
    let report = attempt::run(&task, order.clone(), stop).await;
    let is_awaited = task.report(&order, report).await?;
    tracing::info!(execution = %key.execution, step = %key.path, attempt, is_awaited, "reported");
    Ok(())
}

/// Turns the first request to end into one that the attempt hears: Fargate gives it some time then.
fn told_to_stop() -> Result<watch::Receiver<Option<Stop>>, TaskError> {
    let (tell, told) = watch::channel(None);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        while terminate.recv().await.is_some() {
            tracing::info!("told to end");
            tell.send_replace(Some(Stop::Gracefully));
        }
    });
    Ok(told)
}
