//! What a version was made from, and what was made from it.

use std::{collections::BTreeMap, fmt::Write as _};

use ratchet_core::{
    artifact::{ArtifactRead, ArtifactVersion, Maker},
    ids::{StepId, StepPath},
    workflow::Workflow,
};
use ratchet_definition::sources::compile_stored;
use ratchet_engine::view::{ExecutionRows, ExecutionView};
use serde_json::{Value, json};

use super::view;
use crate::{command_error::CommandError, console::Console, state::State};

/// Where a version comes from and where it went.
pub(super) struct Lineage {
    maker: Option<Maker>,
    /// The inputs of the run that made it; none where that was removed.
    inputs: Option<BTreeMap<String, Value>>,
    /// The versions that were read for it, each with who read it.
    read: Vec<ArtifactRead>,
    /// The versions that were made from it.
    made: Vec<ArtifactVersion>,
}

impl Lineage {
    /// Finds it. A step's version was made from what the step and those before it read.
    pub(super) async fn of(state: &State, version: &ArtifactVersion) -> Result<Self, CommandError> {
        let maker = version.artifact.origin.maker().cloned();
        let (mut inputs, mut read) = (None, Vec::new());
        if let Some(maker) = &maker {
            let workflow = workflow(state, maker).await;
            if let (Some(workflow), Some(_)) = (&workflow, state.store.execution(&maker.execution).await?) {
                let rows = ExecutionRows::load(&*state.store, &*state.blobs, workflow, &maker.execution).await?;
                inputs = rows.map(|rows| ExecutionView::new(workflow, &rows).inputs);
            }
            read = state.store.artifacts_read_by(&maker.execution).await?;
            read.retain(|read| {
                read.execution != maker.execution || follows(workflow.as_ref(), read.step.as_ref(), maker.step.as_ref())
            });
        }
        let mut made: Vec<ArtifactVersion> = Vec::new();
        for reader in state.store.artifact_readers(&version.artifact.name, version.number).await? {
            for other in state.store.artifacts_made_by(&reader.execution).await? {
                let Some(maker) = other.artifact.origin.maker() else { continue };
                let workflow = workflow(state, maker).await;
                let is_new = made.iter().all(|known| known.reference() != other.reference());
                if is_new && follows(workflow.as_ref(), reader.step.as_ref(), maker.step.as_ref()) {
                    made.push(other);
                }
            }
        }
        Ok(Self { maker, inputs, read, made })
    }

    /// As programs read it.
    pub(super) fn object(&self) -> Value {
        json!({
            "execution_id": self.maker.as_ref().map(|maker| &maker.execution),
            "step": self.maker.as_ref().and_then(|maker| maker.step.as_ref()).map(ToString::to_string),
            "workflow_id": self.maker.as_ref().map(|maker| &maker.definition),
            "inputs": self.inputs,
            "made_from": self.read.iter().map(|read| json!({
                "artifact": read.artifact.to_string(),
                "version": read.number,
                "read_by": read.execution,
                "step": read.step.as_ref().map(ToString::to_string),
            })).collect::<Vec<Value>>(),
            "made_into": self.made.iter().map(|version| json!({
                "artifact": version.artifact.name.to_string(),
                "version": version.number,
                "execution_id": version.artifact.origin.maker().map(|maker| &maker.execution),
            })).collect::<Vec<Value>>(),
        })
    }

    /// As people read it.
    pub(super) fn text(&self, console: Console) -> String {
        let mut text = String::new();
        let mut part = |title: &str, lines: Vec<String>| {
            let _ = writeln!(text, "{}", console.out.bold(title));
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        };
        let mut from = Vec::new();
        match (&self.maker, &self.inputs) {
            (Some(maker), Some(inputs)) => {
                let step = maker.step.as_ref().map_or_else(String::new, |step| format!(", step {step}"));
                from.push(format!("execution {}{step}", maker.execution));
                from.extend(inputs.iter().map(|(name, value)| format!("input {name} = {}", short(value))));
            }
            (Some(maker), None) => from.push(format!("execution {}, which was removed", maker.execution)),
            (None, _) => from.push("a person put it there".to_owned()),
        }
        from.extend(self.read.iter().map(|read| {
            let by = read.step.as_ref().map_or_else(|| "as an input".to_owned(), |step| format!("by {step}"));
            format!("{}@{}, read {by}", read.artifact, read.number)
        }));
        part("made from", from);
        let made = self.made.iter().map(|version| format!("{}, by {}", version.reference(), view::maker(version)));
        let made: Vec<String> = made.collect();
        part("made into", if made.is_empty() { vec!["nothing that is kept".to_owned()] } else { made });
        text
    }
}

/// A value on a line: of a file its path.
fn short(value: &Value) -> String {
    match value.get("path").and_then(Value::as_str) {
        Some(path) if value.get("digest").is_some() => path.to_owned(),
        _ => value.to_string(),
    }
}

/// Whether what one step read may be in what another made: an input is in everything, and everything is in what the run itself made. Where the definition cannot be
/// read any more, it may.
fn follows(workflow: Option<&Workflow>, reader: Option<&StepPath>, maker: Option<&StepPath>) -> bool {
    let (Some(reader), Some(maker)) = (reader, maker) else { return true };
    let index = |step: &StepId| workflow.and_then(|workflow| workflow.graph.index_of(step));
    match (workflow, index(&reader.step), index(&maker.step)) {
        (Some(workflow), Some(first), Some(last)) => {
            if first == last {
                reader == maker
            } else {
                workflow.graph.ancestors(&[last]).contains(&first)
            }
        }
        _ => true,
    }
}

/// The definition that the maker followed, where it is to be had.
async fn workflow(state: &State, maker: &Maker) -> Option<Workflow> {
    let text = String::from_utf8(state.blobs.get(&maker.definition).await.ok()?).ok()?;
    compile_stored("workflow.yaml", &text).ok()
}
