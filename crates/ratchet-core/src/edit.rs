//! Which steps of a run would do the same under another definition.

use std::collections::BTreeSet;

use crate::{
    ids::StepId,
    resources::Resources,
    workflow::{Action, ClaudeCode, ForEach, Names, OnLimit, OutputSource, Step, TextSource, Workflow},
};

/// What of a step is otherwise under an edited definition, in words of the file; nothing where it would do the same with the same files and the same results of
/// others. Not looked at: what is for people, how long it may take and how often it is tried, and how its result is kept. `inputs` are those of the workflow whose values are
/// not the same.
pub fn changes(
    (before, old): (&Workflow, &Step),
    (after, new): (&Workflow, &Step),
    inputs: &BTreeSet<String>,
) -> Vec<&'static str> {
    let reads_all = |step: &Step| {
        matches!(&step.action, Action::Template(template) if matches!(template.text, TextSource::File(_)))
            || step.inputs_read() == Names::All
    };
    let reads_changed = || !inputs.is_empty() && (reads_all(new) || reads_one_of(&new.inputs_read(), inputs));
    let image = |step: &Step| step.resources.as_ref().and_then(|resources: &Resources| resources.image.clone());
    let outputs = |step: &Step| -> Vec<(String, OutputSource, bool)> {
        let of = step.outputs.iter().map(|output| (output.name.clone(), output.source.clone(), output.artifact));
        of.collect()
    };
    // Which run it is about stands in few texts, and a word that only looks like it costs a run of the step, never a wrong result.
    let names_version = || before.version != after.version && format!("{new:?}").contains("execution");
    let found = [
        ("type", old.action.type_name() != new.action.type_name()),
        ("place", old.place != new.place),
        (action_name(&new.action), unbounded(&old.action) != unbounded(&new.action)),
        ("when", old.when != new.when),
        ("foreach", unhurried(old.foreach.as_ref()) != unhurried(new.foreach.as_ref())),
        ("environment", old.environment != new.environment || environment(before) != environment(after)),
        ("secrets", old.secrets != new.secrets || old.secret_files != new.secret_files),
        ("working_directory", old.working_directory != new.working_directory),
        ("on_failure", old.on_failure != new.on_failure),
        ("inputs", old.inputs != new.inputs || reads_changed() || environment_reads(after, inputs)),
        ("outputs", outputs(old) != outputs(new)),
        ("image", image(old) != image(new)),
        ("version", names_version()),
    ];
    found.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Whether runs of two workflows that are given the same do the same.
pub(crate) fn do_the_same(one: &Workflow, other: &Workflow) -> bool {
    let needs = |workflow: &Workflow, step: &Step| -> Vec<StepId> {
        let node = workflow.graph.node_of(&step.id);
        let needs = node.into_iter().flat_map(|node| &node.needs);
        needs.map(|need| workflow.graph.node(*need).id.clone()).collect()
    };
    let step_does = |(old, new): (&Step, &Step)| {
        old.id == new.id
            && needs(one, old) == needs(other, new)
            && changes((one, old), (other, new), &BTreeSet::new()).is_empty()
    };
    one.name == other.name
        && one.inputs == other.inputs
        && one.outputs == other.outputs
        && one.concurrency == other.concurrency
        && one.steps.len() == other.steps.len()
        && one.steps.iter().zip(&other.steps).all(step_does)
}

fn environment(workflow: &Workflow) -> impl PartialEq + use<'_> {
    (&workflow.environment, &workflow.secret_environment)
}

fn environment_reads(workflow: &Workflow, inputs: &BTreeSet<String>) -> bool {
    workflow.environment.values().any(|template| reads_one_of(&template.uses.inputs, inputs))
}

fn reads_one_of(read: &Names, inputs: &BTreeSet<String>) -> bool {
    inputs.iter().any(|input| read.contains(input))
}

/// How many children run at once changes nothing of what they give.
fn unhurried(foreach: Option<&ForEach>) -> Option<ForEach> {
    foreach.map(|foreach| ForEach { max_parallel: None, ..foreach.clone() })
}

/// What an agent may take changes nothing of what it is asked.
fn unbounded(action: &Action) -> Action {
    match action {
        Action::ClaudeCode(agent) => {
            let mut agent = ClaudeCode {
                max_turns: None,
                max_cost_usd: None,
                stall_timeout: None,
                on_limit: OnLimit::Fail,
                ..(**agent).clone()
            };
            if let Some(verify) = &mut agent.verify {
                verify.max_fix_rounds = 0;
            }
            Action::ClaudeCode(Box::new(agent))
        }
        other => other.clone(),
    }
}

fn action_name(action: &Action) -> &'static str {
    match action {
        Action::Shell(_) => "command",
        Action::ClaudeCode(_) => "prompt",
        Action::Assert(_) => "condition",
        Action::Template(_) => "template",
        Action::Webhook(_) => "request",
        Action::Wait(_) => "time",
        Action::Approval(_) => "question",
        Action::Workflow(_) => "what it runs",
        Action::Exec(_) => "program",
    }
}
