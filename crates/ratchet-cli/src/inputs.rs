//! Inputs and variables as they are given on the command line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use ratchet_core::{output::Output, workflow::Workflow};
use ratchet_definition::{
    inputs::{GivenInput, InputMistake, resolve},
    yaml::{self, Limits},
};
use serde_json::Value;

use crate::command_error::CommandError;

/// What a run is given.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InputArguments {
    /// Give an input a value; it is turned into the declared type
    #[arg(short = 'i', long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Take inputs from a JSON or YAML file; -i goes before it
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// Set a variable that templates see as env.NAME, and processes where the workflow declares it
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
}

impl InputArguments {
    /// Whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.inputs.is_none() && self.env.is_empty()
    }

    /// The values of the workflow's inputs, each of its type, or everything that is wrong with them. What was given goes before `before`.
    pub(crate) fn resolve(
        &self,
        workflow: &Workflow,
        before: BTreeMap<String, GivenInput>,
    ) -> Result<BTreeMap<String, Output>, CommandError> {
        let mut given = before;
        if let Some(path) = &self.inputs {
            let text = fs::read_to_string(path).map_err(|source| CommandError::File { path: path.clone(), source })?;
            let wrong = |reason: String| CommandError::Argument {
                argument: "--inputs",
                reason: format!("{}: {reason}", path.display()),
                hint: "the file must hold one object, with a value for each input",
            };
            let values = parse(path, &text).map_err(wrong)?;
            given.extend(values.into_iter().map(|(name, value)| (name, GivenInput::Value(value))));
        }
        for (name, value) in pairs("-i", &self.input)? {
            given.insert(name, GivenInput::Text(value));
        }
        resolve(workflow, given).map_err(|mistakes| CommandError::Inputs(mistakes.iter().map(told).collect()))
    }

    /// The variables.
    pub(crate) fn environment(&self) -> Result<BTreeMap<String, String>, CommandError> {
        Ok(pairs("--env", &self.env)?.into_iter().collect())
    }
}

/// A mistake as it is listed, with what to do about it.
pub(crate) fn told(mistake: &InputMistake) -> String {
    let help = mistake.help.as_ref().map(|help| format!("\n    {help}")).unwrap_or_default();
    format!("[{}] {}{help}", mistake.code, mistake.message)
}

/// The object in a file.
fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, Value>, String> {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !is_yaml {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let (tree, mistakes) = yaml::parse(text, Limits::default());
    match (mistakes.first(), tree.map(|tree| tree.to_json())) {
        (Some(mistake), _) => Err(mistake.message.clone()),
        (None, Some(Value::Object(values))) => Ok(values.into_iter().collect()),
        (None, _) => Err("it is not an object".to_owned()),
    }
}

fn pairs(argument: &'static str, given: &[String]) -> Result<Vec<(String, String)>, CommandError> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(CommandError::Argument {
            argument,
            reason: format!("'{text}' has no name and value"),
            hint: "write NAME=VALUE, without spaces around the equals sign",
        }),
    };
    given.iter().map(pair).collect()
}
