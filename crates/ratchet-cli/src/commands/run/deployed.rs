//! A published workflow is run on a deployment.

use std::{collections::BTreeMap, path::Path};

use ratchet_aws::remote::{Call, Remote};
use ratchet_core::{history::sha256_hex, ids::Digest, output::Output, workflow::Workflow};
use ratchet_definition::sources::compile_stored;
use serde_json::Value;

use super::{RunArguments, Wanted};
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition,
    driving::{
        self,
        deployed::{Begun, follow},
    },
    exit_code::ExitCode,
    state::State,
};

pub(super) async fn run(
    arguments: &RunArguments,
    stack: &str,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let wanted = &arguments.wanted;
    wanted.refuse_what_is_of_this_machine()?;
    let state = State::of_stack(stack).await?;
    let remote = state.remote().ok_or(CommandError::WithoutAws)?;
    let (workflow, definition) = published(&wanted.file, remote, common, console).await?;
    let inputs = wanted.inputs.resolve(&workflow, BTreeMap::new())?;
    let call = Call {
        workflow: workflow.name.clone(),
        version: workflow.version.clone(),
        inputs: sent(&inputs)?,
        environment: wanted.inputs.environment()?,
        key: arguments.idempotency_key.clone().unwrap_or_else(|| driving::fresh_name().to_string()),
    };
    let asked = remote.start(&call).await?;
    follow(&state, &Begun { asked, definition, inputs }, arguments.shown, console).await
}

impl Wanted {
    /// What a run of a deployment does not have.
    fn refuse_what_is_of_this_machine(&self) -> Result<(), CommandError> {
        let given = [
            ("--workspace", self.workspace.is_some()),
            ("--in-place", self.in_place),
            ("--agent", self.agent.is_some()),
            ("--record", self.record.is_some()),
            ("--max-parallel", self.max_parallel.is_some()),
            ("--no-cache", self.no_cache),
            ("--refresh", self.refresh),
            ("--until", self.until.is_some()),
            ("--only", self.only.is_some()),
            ("--event", self.event.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((argument, _)) => Err(CommandError::Argument {
                argument,
                reason: "it is for runs on this machine, and a stack is named".to_owned(),
                hint: "leave it out, or leave out --stack",
            }),
        }
    }
}

/// The published workflow that is meant, by its name or by its file, and the digest of its text.
async fn published(
    file: &Path,
    remote: &Remote,
    common: &CommonArguments,
    console: Console,
) -> Result<(Workflow, Digest), CommandError> {
    let shown = file.display().to_string();
    let by_file = if file.exists() { Some(definition::load(file, common, console)?) } else { None };
    let (name, version) = match &by_file {
        Some(given) => (given.workflow.name.as_str(), Some(given.workflow.version.as_str())),
        None => shown.split_once('@').map_or((shown.as_str(), None), |(name, version)| (name, Some(version))),
    };
    let missing = || CommandError::NotPublished {
        name: version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}")),
        versions: Vec::new(),
    };
    let found = remote.find(name, version).await?.ok_or_else(missing)?;
    if let Some(given) = &by_file
        && Digest::new(sha256_hex(given.text.as_bytes())) != found.published.digest
    {
        let name = format!("{}@{}", given.workflow.name, given.workflow.version);
        return Err(CommandError::VersionTaken { name, published_at: found.published.published_at });
    }
    let origin = format!("{}@{}", found.published.name, found.published.version);
    let workflow = compile_stored(&origin, &found.text)
        .map_err(|reason| CommandError::Published { name: origin.clone(), reason })?;
    Ok((workflow, found.published.digest))
}

/// Inputs as they are sent.
fn sent(inputs: &BTreeMap<String, Output>) -> Result<BTreeMap<String, Value>, CommandError> {
    let value = |(name, output): (&String, &Output)| match output {
        Output::Json(value) => Ok((name.clone(), value.clone())),
        Output::Each(_) | Output::File(_) | Output::Stored(_) => Err(CommandError::Argument {
            argument: "-i",
            reason: format!("the input `{name}` is no value that can be sent"),
            hint: "give it a plain value",
        }),
    };
    inputs.iter().map(value).collect()
}
