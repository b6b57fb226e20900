//! What must come of a run beside what came of it.

use std::{collections::BTreeMap, fs, sync::Arc};

use ratchet_core::{ids::StepId, status::ExecutionStatus, workflow::Expression};
use ratchet_definition::{
    evaluate::{Evaluator, ExecutionView, Scope},
    parse,
};
use ratchet_engine::view::{ExecutionView as RunView, StepView};
use ratchet_local::workspace::Application;
use serde_json::{Map, Value};
use similar::TextDiff;

use super::{
    Problem,
    case::Ended,
    file::{Expected, ExpectedContent, ExpectedDetails, ExpectedFile, ExpectedStep, Presence},
};
use crate::{seen, words::one_line};

/// Lines around a difference that are shown.
const CONTEXT: usize = 2;

/// All that is not as it must be.
pub(super) fn compare(expected: &Expected, ended: &Ended<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let view = &ended.outcome.view;
    let status = expected.status.unwrap_or(ExecutionStatus::Completed);
    if view.status != status {
        let problem = Problem::differs("status", status.as_str(), view.status.as_str()).with(reasons(ended));
        problems.push(problem.corrected(&["status"], view.status.as_str()));
    }
    let failed: Vec<String> = view.failed_steps.iter().map(ToString::to_string).collect();
    let none = Vec::new();
    let must_fail = expected.failed_steps.as_ref().or((status == ExecutionStatus::Completed).then_some(&none));
    if let Some(must_fail) = must_fail.filter(|must_fail| **must_fail != failed) {
        let listed = |steps: &[String]| if steps.is_empty() { "none".to_owned() } else { steps.join(", ") };
        let problem = Problem::differs("failed steps", &listed(must_fail), &listed(&failed));
        let problem = problem.corrected(&["failed_steps"], failed);
        problems.push(if view.status == status { problem.with(reasons(ended)) } else { problem });
    }
    for (name, expected) in &expected.steps {
        if let Some(step) = view.step(&StepId::new(name)) {
            compare_step(name, expected, step, &mut problems);
        }
    }
    compare_values("outputs", &["outputs"], &expected.outputs, &view.outputs, &mut problems);
    for text in &expected.check {
        problems.extend(check(text, ended));
    }
    if let Some(error) = &expected.error {
        let told = reasons(ended);
        if !told.iter().any(|line| line.contains(error.as_str())) {
            let found = if told.is_empty() { "nothing failed" } else { "it is in none" };
            problems.push(Problem::new(format!("error: expected `{error}` in a failure, {found}")).with(told));
        }
    }
    for (path, expected) in &expected.files {
        let found = fs::read(ended.workspace.join(path)).ok();
        problems.extend(compare_file(&path.display().to_string(), expected, found.as_deref()));
    }
    if let Some(globs) = &expected.changed {
        problems.extend(compare_changes(globs, ended));
    }
    if let Some(calls) = expected.agent_calls.filter(|calls| *calls != ended.agent_calls) {
        let problem = Problem::differs("agent calls", &calls.to_string(), &ended.agent_calls.to_string());
        problems.push(problem.corrected(&["agent_calls"], ended.agent_calls));
    }
    if let Some(max) = expected.max_cost_usd.filter(|max| ended.cost_usd > *max) {
        problems.push(Problem::differs("cost", &format!("at most ${max}"), &format!("${:.4}", ended.cost_usd)));
    }
    problems
}

/// What a test would say that expects all that came.
pub(super) fn all_of(view: &RunView) -> Vec<(&'static str, Value)> {
    let steps: Map<String, Value> =
        view.steps.iter().map(|(id, step)| (id.to_string(), step.status.as_str().into())).collect();
    let mut all = vec![("status", view.status.as_str().into()), ("steps", steps.into())];
    if !view.outputs.is_empty() {
        all.push(("outputs", view.outputs.clone().into_iter().collect::<Map<_, _>>().into()));
    }
    all
}

fn compare_step(name: &str, expected: &ExpectedStep, step: &StepView, problems: &mut Vec<Problem>) {
    let (details, is_word) = match expected {
        ExpectedStep::Status(status) => {
            (&ExpectedDetails { status: Some(*status), ..ExpectedDetails::default() }, true)
        }
        ExpectedStep::Details(details) => (details, false),
    };
    let whole = ["steps", name, "status"];
    let mut compare = |what: &str, path: &[&str], expected: Option<Value>, found: Value| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let problem = Problem::differs(&format!("{name}{what}"), &plain(&expected), &plain(&found));
            problems.push(problem.corrected(path, found));
        }
    };
    let status = details.status.map(|status| Value::from(status.as_str()));
    compare("", if is_word { &whole[..2] } else { &whole }, status, step.status.as_str().into());
    compare(".attempts", &["steps", name, "attempts"], details.attempts.map(Value::from), step.attempts.into());
    compare(".cached", &["steps", name, "cached"], details.cached.map(Value::from), step.cached.into());
    let place = format!("{name}.outputs");
    compare_values(&place, &["steps", name, "outputs"], &details.outputs, &step.outputs, problems);
}

/// A value as a person says it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compare_values(
    place: &str,
    path: &[&str],
    expected: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
    problems: &mut Vec<Problem>,
) {
    for (name, expected) in expected {
        match found.get(name) {
            None => {
                problems.push(Problem::new(format!("{place}.{name}: expected {expected}, there is no such output")));
            }
            Some(found) if !same(expected, found) => {
                let problem = Problem::differs(&format!("{place}.{name}"), &expected.to_string(), &found.to_string());
                problems.push(problem.corrected(&[path, &[name.as_str()]].concat(), found.clone()));
            }
            Some(_) => {}
        }
    }
}

/// Whether two values are the same; numbers are by what they count.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        (one, other) => one == other,
    }
}

/// What is wrong with an expression that must be true.
fn check(text: &str, ended: &Ended<'_>) -> Option<Problem> {
    let expression: Expression = match parse::expression(text) {
        Ok(parsed) => parsed.value,
        Err(mistakes) => {
            let told: Vec<String> = mistakes.into_iter().map(|mistake| mistake.message).collect();
            return Some(Problem::new(format!("check `{text}` cannot be read: {}", told.join("; "))));
        }
    };
    let row = &ended.rows.execution;
    let mut scope = Scope::of_run(ExecutionView {
        id: row.id.clone(),
        workflow: ended.workflow.name.clone(),
        version: ended.workflow.version.clone(),
        started_at: row.created_at,
    });
    scope.inputs = row.inputs.clone();
    scope.env = row.environment.clone();
    scope.outputs = Some(row.outputs.clone());
    for step in &ended.workflow.steps {
        scope.steps.insert(step.id.clone(), ended.rows.step(&step.id).map_or_else(seen::pending, seen::step));
    }
    match Evaluator::new(scope, Arc::clone(&ended.files)).condition(&expression) {
        Ok(judgement) if judgement.holds => None,
        Ok(judgement) => {
            let read = judgement.read.into_iter().map(|(name, value)| format!("{name} = {value}"));
            Some(Problem::new(format!("check `{text}` is false")).with(read.collect()))
        }
        Err(error) => Some(Problem::new(format!("check `{text}` cannot be evaluated: {}", error.message))),
    }
}

fn compare_file(path: &str, expected: &ExpectedFile, found: Option<&[u8]>) -> Option<Problem> {
    let (contains, equals) = match (expected, found) {
        (ExpectedFile::Presence(Presence::Present), Some(_)) | (ExpectedFile::Presence(Presence::Absent), None) => {
            return None;
        }
        (ExpectedFile::Presence(Presence::Absent), Some(_)) => {
            return Some(Problem::new(format!("{path}: expected no such file, it is there")));
        }
        (_, None) => return Some(Problem::new(format!("{path}: expected a file, there is none"))),
        (ExpectedFile::Content(ExpectedContent { contains, equals }), Some(_)) => (contains, equals),
    };
    let text = String::from_utf8_lossy(found.unwrap_or_default());
    if let Some(equals) = equals.as_ref().filter(|equals| **equals != *text) {
        let diff = TextDiff::from_lines(equals.as_str(), &text);
        let lines = diff.unified_diff().context_radius(CONTEXT).to_string();
        let problem = Problem::new(format!("{path}: the content differs"));
        let problem = problem.with(lines.lines().map(str::to_owned).collect());
        return Some(problem.corrected(&["files", path, "equals"], text.as_ref()));
    }
    let missing = contains.as_ref().filter(|part| !text.contains(part.as_str()))?;
    Some(Problem::new(format!("{path}: expected {missing:?} in it, it is not there")))
}

/// What changed that must not.
fn compare_changes(globs: &[String], ended: &Ended<'_>) -> Option<Problem> {
    let mut set = globset::GlobSetBuilder::new();
    for glob in globs {
        match globset::GlobBuilder::new(glob).literal_separator(true).build() {
            Ok(glob) => set.add(glob),
            Err(error) => return Some(Problem::new(format!("changed: {error}"))),
        };
    }
    let set = match set.build() {
        Ok(set) => set,
        Err(error) => return Some(Problem::new(format!("changed: {error}"))),
    };
    let Some(Application::Applied { paths, .. }) = &ended.outcome.application else { return None };
    let others: Vec<String> =
        paths.iter().filter(|path| !set.is_match(path.as_path())).map(ToString::to_string).collect();
    if others.is_empty() {
        return None;
    }
    Some(Problem::new(format!("changed: expected nothing but {}", globs.join(", "))).with(others))
}

/// Why the run and its steps failed, a line each.
fn reasons(ended: &Ended<'_>) -> Vec<String> {
    let view = &ended.outcome.view;
    let told = |name: &str, error: &ratchet_engine::view::FailureView| {
        let code = error.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
        let detail = error.detail.as_ref().map(|detail| format!("; {}", one_line(detail))).unwrap_or_default();
        format!("{name}: {}{code}{detail}", one_line(&error.message))
    };
    let steps = view.steps.iter().filter_map(|(id, step)| step.error.as_ref().map(|error| told(id.as_str(), error)));
    let run = view.error.as_ref().map(|error| told("the run", error));
    let paused = view.pause_reason.as_ref().map(|reason| format!("paused: {reason}"));
    steps.chain(run).chain(paused).collect()
}
