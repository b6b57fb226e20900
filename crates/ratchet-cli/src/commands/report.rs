use std::{fs, path::PathBuf};

use clap::Args;

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, execution_name, exit_code::ExitCode,
    state::State, ui, words::bytes,
};

/// Write an execution as one HTML file that needs no server, to attach to a pull request
#[derive(Debug, Args)]
#[command(after_help = "\
The file is the page of `ratchet ui` with what it shows of one execution inside: steps, logs, transcripts, why each hit or missed, what changed. It \
loads nothing. Sensitive inputs and secrets are masked in it; what steps wrote otherwise stands in it as they wrote it.

Examples:
  ratchet report last                      the file is named like the execution
  ratchet report k3f9 -o report.html
  ratchet report last -o - | gzip > report.html.gz")]
pub(crate) struct ReportArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// Where to: a file, which is replaced, or - for standard output [default: EXECUTION.html]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(
    arguments: &ReportArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let text = ui::report(&state, &row).await?;
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.html", row.id)));
    if path.as_os_str() == "-" {
        console.text(&text)?;
        return Ok(ExitCode::Completed);
    }
    fs::write(&path, &text).map_err(|source| CommandError::FileWrite { path: path.clone(), source })?;
    console.line(&format!("{} ({})", path.display(), bytes(text.len() as u64)))?;
    Ok(ExitCode::Completed)
}
