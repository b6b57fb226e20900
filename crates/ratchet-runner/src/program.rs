//! A program of the author's as an attempt: it reads one JSON object and writes one.

use std::{collections::BTreeMap, path::Path};

use ratchet_core::{
    output::{Output, Outputs},
    step::{FailureClass, StepFailure, Usage},
    workflow::ValueType,
};
use ratchet_definition::coerce::coerce;
use ratchet_engine::{masks::Masks, order::ProgramOrder};
use serde_json::Value;

use crate::{
    capture::{Said, Withheld},
    codes,
    command::Invocation,
    paths,
    profile::Worker,
    runner::{Attempt, Done, Runner, Undone},
};

const HINT: &str = "it writes one JSON object to its standard output, with a field for each output, and all else to its standard error";

impl Runner {
    /// Runs a program of a step type to its end.
    pub(crate) async fn program(&self, attempt: &Attempt<'_>, order: &ProgramOrder) -> Result<Done, Undone> {
        let is_relative = order.argv.first().is_some_and(|name| name.contains('/') && !name.starts_with('/'));
        let beside = attempt.place.definitions.as_deref();
        if is_relative && beside.is_none() {
            let message = format!("where {} lies is not known here", order.argv[0]);
            let hint = "run the workflow by its file, or name the program by its name alone";
            let failure = StepFailure::new(FailureClass::Launch, message).with_code(codes::PROGRAM_UNPLACED);
            return Err(Undone::Failed(Box::new(failure.with_hint(hint)), Usage::default()));
        }
        let values = BTreeMap::new();
        let invocation = Invocation {
            argv: &order.argv,
            values: &values,
            allow_exit_codes: &[],
            profile: None,
            worker: Worker::Command,
            timeout: attempt.order.timeout,
            stdin: Some(&order.stdin),
            beside,
        };
        let mut done = self.command(attempt, invocation).await?;
        match given(&order.outputs, &done.said, attempt.place.files.path()) {
            Ok(outputs) if !done.masks.is_empty() && holds_a_secret(&done, &outputs) => {
                let message = "an output of the program holds a secret of the step, and outputs are kept".to_owned();
                let failure = StepFailure::new(FailureClass::Output, message).with_code(codes::OUTPUT_SECRET);
                Err(Undone::Failed(Box::new(failure), done.usage))
            }
            Ok(outputs) => {
                let mut kept = Outputs::new();
                for (name, output) in outputs {
                    kept.insert(
                        name.clone(),
                        self.kept(output, &name, attempt, &done.masks)
                            .await
                            .map_err(|failure| Undone::Failed(Box::new(failure), done.usage))?,
                    );
                }
                done.always = kept;
                Ok(done)
            }
            Err(message) => {
                let failure = StepFailure::new(FailureClass::Output, message).with_code(codes::PROGRAM_OUTPUT);
                Err(Undone::Failed(Box::new(failure.with_hint(HINT)), done.usage))
            }
        }
    }

    /// A file that a program names is kept as it is now.
    async fn kept(
        &self,
        given: Given,
        name: &str,
        attempt: &Attempt<'_>,
        masks: &Masks,
    ) -> Result<Output, StepFailure> {
        let path = match given {
            Given::Value(output) => return Ok(output),
            Given::File(path) => path,
        };
        let failed = |code, reason: String| {
            StepFailure::new(FailureClass::Output, format!("the output {name}: {reason}")).with_code(code)
        };
        let files = &attempt.place.files;
        let real = paths::existing(files, &path).map_err(|error| failed(codes::OUTPUT_NO_FILE, error.to_string()))?;
        let real = files.root().join(real);
        if !real.is_file() {
            return Err(failed(codes::OUTPUT_NO_FILE, format!("`{path}` is no plain file")));
        }
        if !masks.is_empty() {
            let content = std::fs::read(&real).map_err(|error| failed(codes::OUTPUT_NO_FILE, error.to_string()))?;
            if masks.are_in(&content) {
                return Err(failed(codes::OUTPUT_SECRET, "the file holds a secret of the step".to_owned()));
            }
        }
        let content = self.blobs.put_file(&real).await;
        let content = content.map_err(|error| failed(codes::OUTPUT_NOT_KEPT, error.to_string()))?;
        let path = path.trim_start_matches("./").to_owned();
        Ok(Output::File(ratchet_core::output::FileValue { path, content }))
    }
}

/// One output as the program wrote it.
enum Given {
    Value(Output),
    /// The path of a file of the workspace.
    File(String),
}

fn holds_a_secret(done: &Done, outputs: &[(String, Given)]) -> bool {
    outputs.iter().any(|(_, given)| match given {
        Given::Value(output) => done.masks.are_in(&serde_json::to_vec(output).unwrap_or_default()),
        Given::File(_) => false,
    })
}

/// The declared fields of the object that a program wrote, each of its type. An error says what is wrong with it.
fn given(declared: &[(String, ValueType)], said: &Said, workspace: &Path) -> Result<Vec<(String, Given)>, String> {
    let object = match (said.locals.get("json"), said.withheld.get("json")) {
        (Some(Output::Json(Value::Object(object))), _) => object.clone(),
        (None, _) if declared.is_empty() => return Ok(Vec::new()),
        (Some(_), _) => return Err("what the program wrote is JSON, and no object".to_owned()),
        (None, Some(Withheld::NoJson(reason))) => return Err(format!("what the program wrote is no JSON: {reason}")),
        (None, _) => return Err("the program wrote more than is kept".to_owned()),
    };
    let mut given = Vec::new();
    for (name, value_type) in declared {
        let value = object.get(name).cloned().unwrap_or(Value::Null);
        if value.is_null() {
            let fields: Vec<&str> = object.keys().map(String::as_str).collect();
            let fields = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
            return Err(format!("the object that the program wrote has no field `{name}`: its fields are {fields}"));
        }
        let output = coerce(*value_type, Output::Json(value)).map_err(|error| format!("the output {name}: {error}"))?;
        given.push((
            name.clone(),
            match (value_type, output) {
                (ValueType::File | ValueType::Artifact, Output::Json(Value::String(path))) => {
                    let path =
                        path.strip_prefix(&format!("{}/", workspace.display())).map_or(path.clone(), str::to_owned);
                    Given::File(path)
                }
                (_, output) => Given::Value(output),
            },
        ));
    }
    Ok(given)
}
