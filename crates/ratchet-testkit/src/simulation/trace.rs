//! What happened, line by line.

use ratchet_core::{
    ids::StepKey,
    join::{JoinKind, NeedOutcome},
    transition::{Ending, ExecutionTransition, StepTransition},
};
use ratchet_engine::{
    order::AttemptOutcome,
    ports::{Event, Write},
};

/// The lines of a run. They are written only where somebody wants them, because most runs go well and a failing one can be run again.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    wanted: bool,
    lines: Vec<String>,
}

impl Trace {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, lines: Vec::new() }
    }

    pub(crate) fn say(&mut self, now: i64, line: impl FnOnce() -> String) {
        if self.wanted {
            let (seconds, milliseconds) = (now / 1000, now % 1000);
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            let (hours, minutes) = (minutes / 60, minutes % 60);
            self.lines.push(format!("{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03} {}", line()));
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// An event in few words.
pub(crate) fn brief(event: &Event) -> String {
    match event {
        Event::ExecutionChanged | Event::WakeUpDue => event.name().to_owned(),
        Event::StepReady { epoch, path, .. } => format!("StepReady {epoch}/{path}"),
        Event::StepFinished(report) => {
            let outcome = match &report.outcome {
                AttemptOutcome::Succeeded(_) => "succeeded".to_owned(),
                AttemptOutcome::Failed { failure, .. } => format!("failed: {failure}"),
                AttemptOutcome::Stopped => "stopped".to_owned(),
            };
            format!("StepFinished {}#{} {outcome}", name(&report.key), report.attempt)
        }
        Event::TaskLost { key, attempt } => format!("TaskLost {}#{attempt}", name(key)),
        Event::TimeCome { key } => format!("TimeCome {}", name(key)),
        Event::RunChanged { key } => format!("RunChanged {}", name(key)),
        Event::RetryDue { key, attempt } => format!("RetryDue {}#{attempt}", name(key)),
    }
}

/// A step's key in few words: the run, the epoch, the step.
pub(crate) fn name(key: &StepKey) -> String {
    key.to_string()
}

/// A write in few words.
pub(crate) fn written(write: &Write) -> String {
    match write {
        Write::Execution { row, .. } => {
            let change = row.records.last().map_or("", |record| execution_change(&record.transition));
            let wake = row.wake_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            format!("{} r{} e{} {} ({change}), wakes {wake}", row.id, row.revision, row.epoch, row.status)
        }
        Write::Step { row, .. } => {
            let cause = row.records.last().map_or("", |record| record.cause.as_str());
            let lane = match (row.predecessor, row.successor) {
                (None, None) => String::new(),
                (from, to) => format!(" lane {from:?}->{to:?}"),
            };
            let change = row.records.last().map_or("", |record| step_change(&record.transition));
            format!("{} r{}#{} {change}: {}{lane} ({cause})", row.key, row.revision(), row.attempt, row.status())
        }
        Write::Attempt(row) => format!("{}#{} kept, {} records", row.key, row.attempt, row.records.len()),
        Write::Unite { key, place, outcome } => {
            let NeedOutcome { satisfied, failed_above, continued_above } = outcome;
            let kind = if key.kind == JoinKind::Needs { "needs" } else { "children" };
            format!(
                "{}/{}/{} {kind} {}.{} place {place} ok={satisfied} failed={failed_above} continued={continued_above}",
                key.execution, key.epoch, key.step, key.level, key.bucket
            )
        }
        Write::EnterCall { owner, call, .. } => format!("budget of {owner}: {}#{} enters", call.key, call.attempt),
        Write::SettleCall { owner, call, usage } => {
            format!(
                "budget of {owner}: {}#{} ends with {:?}",
                call.key,
                call.attempt,
                usage.map(|usage| usage.cost_usd)
            )
        }
        Write::TakeTurn { group, member, .. } => format!("group {group}: {} asks", member.execution),
        Write::LeaveGroup { group, execution, epoch } => format!("group {group}: {execution} leaves in {epoch}"),
        Write::Artifact(artifact) => format!("artifact {} of {}", artifact.name, artifact.origin.source()),
        Write::ReadArtifact(read) => format!("{} reads artifact {}@{}", read.execution, read.artifact, read.number),
        Write::TagArtifact { artifact, tag, number } => format!("artifact {artifact}: {tag} is {number:?}"),
        Write::DropArtifact { artifact, number, .. } => format!("artifact {artifact}@{number} is dropped"),
    }
}

/// The word for a change of a step.
pub(crate) fn step_change(transition: &StepTransition) -> &'static str {
    match transition {
        StepTransition::Claimed { .. } => "claimed",
        StepTransition::FannedOut { .. } => "fanned out",
        StepTransition::Succeeded { .. } => "succeeded",
        StepTransition::Failed { .. } => "failed",
        StepTransition::RetryScheduled { .. } => "retry scheduled",
        StepTransition::Suspended { .. } => "suspended",
        StepTransition::Reclaimed { .. } => "reclaimed",
        StepTransition::LostAndReclaimed { .. } => "lost and reclaimed",
        StepTransition::LostAndSuspended { .. } => "lost and suspended",
        StepTransition::Skipped { .. } => "skipped",
        StepTransition::WaitBegan { .. } => "wait began",
        StepTransition::Asked { .. } => "asked",
        StepTransition::Answered { .. } => "answered",
        StepTransition::Blocked => "blocked",
        StepTransition::Cancelled => "cancelled",
        StepTransition::LanePassed { .. } => "lane passed",
    }
}

fn execution_change(transition: &ExecutionTransition) -> &'static str {
    match transition {
        ExecutionTransition::Created { .. } => "created",
        ExecutionTransition::EndingBegan { ending: Ending::Cancelled, .. } => "ending: cancelled",
        ExecutionTransition::EndingBegan { ending: Ending::TimedOut, .. } => "ending: timed out",
        ExecutionTransition::EndingBegan { ending: Ending::Succeeded, .. } => "ending: succeeded",
        ExecutionTransition::EndingBegan { ending: Ending::FinallyTimedOut, .. } => "ending: finally timed out",
        ExecutionTransition::TurnCame { .. } => "its turn came",
        ExecutionTransition::FinallyBegan { .. } => "finally began",
        ExecutionTransition::Paused { .. } => "paused",
        ExecutionTransition::WentOn => "went on",
        ExecutionTransition::Adopted { .. } => "adopted",
        ExecutionTransition::Resumed { edit: Some(_), .. } => "resumed under an edited file",
        ExecutionTransition::Resumed { .. } => "resumed",
        ExecutionTransition::Ended { .. } => "ended",
    }
}
