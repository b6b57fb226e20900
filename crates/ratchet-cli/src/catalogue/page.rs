//! `docs/workflows.md`: the reference workflows with their graphs, inputs and outputs.

use std::fmt::Write as _;

use ratchet_core::{trigger::Triggers, workflow::Workflow};

use super::{ReferenceWorkflow, reference_workflows};
use crate::drawing::{Picture, mermaid};

const INTRODUCTION: &str = "\
# Reference workflows

<!-- Written by `make docs` from the folders in `workflows/`. -->

Each does its work on real code with real tools, and is there to be copied from. `ratchet workflows` lists them, `ratchet workflows NAME` prints what
one is for and when not to use it, and `ratchet new --from NAME` writes one into a folder: the workflow, its tests, a sample project that has the very
problem, and a recorded agent, so that it can be tried without a key.

";

/// The page.
fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    let read: Vec<(&ReferenceWorkflow, Workflow)> =
        reference_workflows().iter().map(|shipped| (shipped, shipped.workflow())).collect();
    text.push_str("| workflow | what it does |\n| --- | --- |\n");
    for (shipped, workflow) in &read {
        let _ = writeln!(
            text,
            "| [{0}](#{0}) | {1} |",
            shipped.name,
            cell(workflow.description.as_deref().unwrap_or_default())
        );
    }
    for (shipped, workflow) in &read {
        section(&mut text, shipped, workflow);
    }
    text
}

fn section(text: &mut String, shipped: &ReferenceWorkflow, workflow: &Workflow) {
    let name = shipped.name;
    let _ = writeln!(text, "\n## {name}\n\n{}.", workflow.description.as_deref().unwrap_or_default());
    let _ = writeln!(
        text,
        "[What for, what it may touch, what it costs, when not to use it](../workflows/{name}/README.md)\n"
    );
    let _ = writeln!(text, "```mermaid\n{}```\n", mermaid(&Picture::of(workflow)));
    text.push_str("| input | type | default | what it is |\n| --- | --- | --- | --- |\n");
    for input in &workflow.inputs {
        let default = match &input.default {
            Some(value) => format!("`{value}`"),
            None if input.required => "required".to_owned(),
            None => String::new(),
        };
        let (input, of, what) =
            (&input.name, input.value_type.word(), input.description.as_deref().unwrap_or_default());
        let _ = writeln!(text, "| `{input}` | {of} | {} | {} |", cell(&default), cell(what));
    }
    text.push_str("\n| output | type | what it is |\n| --- | --- | --- |\n");
    for output in &workflow.outputs {
        let (output, of, what) =
            (&output.name, output.value_type.word(), output.description.as_deref().unwrap_or_default());
        let _ = writeln!(text, "| `{output}` | {of} | {} |", cell(what));
    }
    let _ = writeln!(text, "\nPublished, it starts {}.", starts(workflow.triggers.as_deref()));
}

/// By what a published workflow is started.
fn starts(triggers: Option<&Triggers>) -> String {
    let mut by = vec!["when it is asked for"];
    if let Some(Triggers { push, schedule, webhook, event, inputs: _ }) = triggers {
        by.extend(push.as_ref().map(|_| "on a push"));
        by.extend(schedule.as_ref().map(|_| "by a schedule"));
        by.extend(webhook.as_ref().map(|_| "on a webhook"));
        by.extend(event.as_ref().map(|_| "on an event"));
    }
    crate::words::one_of(&by)
}

/// Text that does not end the cell that it stands in.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Set to write the page instead of comparing it.
const UPDATE: &str = "RATCHET_UPDATE_DOCS";

#[test]
fn the_published_catalogue_is_what_the_folders_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/workflows.md");
    let written = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, &written).expect("docs can be written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == written, "docs/workflows.md is not what the folders in workflows/ say: run `make docs`");
}
