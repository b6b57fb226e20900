//! The command line: parsed here, carried out in `commands`.

use std::{env, path::PathBuf};

use clap::{Args, CommandFactory, Parser, ValueEnum, error::ErrorKind};

use crate::{
    call_error, command_error::CommandError, commands::Command, console::Console, exit_code::ExitCode, telemetry,
};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0    completed, or the command did what it was asked
  1    the execution failed or was cancelled, or the machine refused
  2    the file, an input or the call is wrong; nothing ran
  3    the execution is paused and waits for a person
  4    completed, with failed steps that were told to let it go on
  5    completed, and its changes were not applied to the directory
  130  interrupted

An execution is called by its name, by a prefix or suffix of it of at least four characters, or `last`.
Every error has a code with a page: docs/errors/RT-nnnn.md";

/// Runs workflows of shell steps and coding agents, durably, on this machine.
#[derive(Debug, Parser)]
#[command(name = "ratchet", version, max_term_width = 100, after_help = EXIT_CODES, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(subcommand)]
    command: Command,
}

/// Arguments that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct CommonArguments {
    /// Keep executions in this directory [default: ~/.local/state/ratchet]
    #[arg(long, global = true, value_name = "DIR", env = "RATCHET_STATE_DIR", hide_env_values = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Ask the deployment of this CloudFormation stack instead of this machine
    #[arg(long, global = true, value_name = "NAME", env = "RATCHET_STACK", hide_env_values = true)]
    pub(crate) stack: Option<String>,
    /// Write the engine's own log to standard error: a filter, like `info` or `ratchet_local=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "RATCHET_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
    /// Write that log as `text` or as `json` [default: text]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) log_format: Option<LogFormat>,
}

impl CommonArguments {
    /// The stack that is asked, if any is.
    pub(crate) fn stack(&self) -> Option<&str> {
        self.stack.as_deref().filter(|name| !name.is_empty())
    }
}

/// How the engine's own log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text an event
    Text,
    /// A JSON object an event
    Json,
}

/// What the process was called with, carried out.
pub(crate) fn parse_and_run() -> ExitCode {
    let console = Console::new();
    let carried_out = match Arguments::try_parse() {
        Ok(Arguments { common, command }) => {
            telemetry::start_logging(&common).and_then(|()| command.run(&common, console))
        }
        Err(error) => not_parsed(&error),
    };
    match carried_out {
        Ok(code) => code,
        Err(error) => {
            let text = error.rendered(console.err);
            if !text.is_empty() {
                console.say(&text);
            }
            error.exit_code()
        }
    }
}

/// What comes of a call that is not carried out: help and the version are printed, and what cannot be understood is an error.
fn not_parsed(error: &clap::Error) -> Result<ExitCode, CommandError> {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Completed,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ExitCode::WrongCall,
        // A variable that stands for an option makes it another kind of the same.
        ErrorKind::MissingSubcommand => {
            Console::new().say(Arguments::command().render_help().to_string().trim_end());
            return Ok(ExitCode::WrongCall);
        }
        _ => {
            let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            return Err(call_error::of(error, &words));
        }
    };
    // What cannot be printed has nobody to read it.
    let _ = error.print();
    Ok(code)
}
