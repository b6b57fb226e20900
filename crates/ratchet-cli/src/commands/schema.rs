use clap::Args;
use ratchet_definition::schema::json_schema;

use crate::{command_error::CommandError, console::Console, exit_code::ExitCode};

/// Print the JSON Schema of workflow files, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
It is of the draft 2020-12, and the same as docs/workflow.schema.json. Editors complete and check a file that names its schema in the first line:
  # yaml-language-server: $schema=./ratchet.schema.json

Example:
  ratchet schema > ratchet.schema.json")]
pub(crate) struct SchemaArguments {}

pub(super) fn run(_arguments: &SchemaArguments, console: Console) -> Result<ExitCode, CommandError> {
    console.json(&json_schema())?;
    Ok(ExitCode::Completed)
}
