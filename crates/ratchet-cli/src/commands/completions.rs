use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{arguments::Arguments, command_error::CommandError, console::Console, exit_code::ExitCode};

/// Print a script that completes ratchet's arguments in your shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet completions bash > ~/.local/share/bash-completion/completions/ratchet
  ratchet completions zsh > ~/.zfunc/_ratchet
  ratchet completions fish > ~/.config/fish/completions/ratchet.fish")]
pub(crate) struct CompletionsArguments {
    /// Your shell
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments, console: Console) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "ratchet", &mut script);
    console.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Completed)
}
