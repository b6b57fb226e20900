//! What a person reads when a run has ended: what happened, what changed, and what to type next.

use jiff::Timestamp;
use ratchet_core::status::{ExecutionStatus, StepStatus};
use ratchet_engine::view::ExecutionView;
use ratchet_local::{
    place::Checkout,
    workspace::{Application, MovedRef},
};

use crate::{next::next, paint::Paint, report::Report, state::Outcome, words::counted};

/// Changed files that are listed one by one.
const FILES_MOST: usize = 20;

/// The summary of a run that has ended or is paused.
pub(crate) fn summary(outcome: &Outcome, paint: Paint, now: Timestamp) -> String {
    let view = &outcome.view;
    let report = Report::of(outcome, paint, now);
    let mut lines = report.head();
    lines.push(format!("  {}", paint.dim(&counts(view))));
    let questions = report.questions();
    if !questions.is_empty() {
        lines.push(String::new());
        lines.extend(questions);
    }
    let outputs = report.outputs();
    if view.status == ExecutionStatus::Completed && !outputs.is_empty() {
        lines.extend([String::new(), paint.bold("Outputs")]);
        lines.extend(outputs);
    }
    let failures = report.failures();
    if !failures.is_empty() {
        lines.push(String::new());
        lines.extend(failures);
    }
    let files = files(outcome, paint);
    if !files.is_empty() {
        lines.push(String::new());
        lines.extend(files);
    }
    lines.extend([String::new(), paint.bold("Next")]);
    lines.extend(next(outcome, paint));
    lines.join("\n") + "\n"
}

fn counts(view: &ExecutionView) -> String {
    let steps = counted(view.steps.len(), "step");
    let of = |status: StepStatus| view.steps.iter().filter(|(_, step)| step.status == status).count();
    let parts = StepStatus::ALL.into_iter().map(|status| (of(status), status)).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, status)| format!("{count} {status}")).collect();
    format!("{steps}: {}", parts.join(", "))
}

/// What became of a ref that the run moved.
fn moved(moved: &MovedRef) -> String {
    match &moved.kept_as {
        None => moved.name.clone(),
        Some(kept) => format!("{} was moved meanwhile: the run's is {kept}", moved.name),
    }
}

fn files(outcome: &Outcome, paint: Paint) -> Vec<String> {
    let title = paint.bold("Files");
    if let Some(Checkout { url, commit }) = &outcome.checkout {
        let at = commit.as_deref().map(|commit| format!(" at {}", commit.get(..12).unwrap_or(commit)));
        return vec![format!("{title}  a checkout of {url}{}", at.unwrap_or_default())];
    }
    let Some(place) = outcome.workspace.as_ref().map(|place| place.display()) else { return Vec::new() };
    let listed = |all: Vec<String>| -> Vec<String> {
        let more = all.len().saturating_sub(FILES_MOST);
        let mut lines: Vec<String> = all.into_iter().take(FILES_MOST).map(|line| format!("  {line}")).collect();
        lines.extend((more > 0).then(|| format!("  … and {more} more")));
        lines
    };
    match &outcome.application {
        Some(Application::Applied { paths, refs }) => {
            let mut lines = vec![format!("{title}  {} in {place}", counted(paths.len(), "change"))];
            lines.extend(listed(paths.iter().map(ToString::to_string).collect()));
            lines.extend(listed(refs.iter().map(moved).collect()));
            lines
        }
        Some(Application::NotApplied { conflicts }) => {
            let mut lines = vec![format!("{title}  nothing was applied to {place}: it was changed during the run")];
            lines.extend(listed(
                conflicts.iter().map(|conflict| format!("{} {}", conflict.path, conflict.reason)).collect(),
            ));
            lines
        }
        None if !outcome.in_place => vec![format!("{title}  {place} is as it was")],
        Some(Application::Nothing) | None => Vec::new(),
    }
}
