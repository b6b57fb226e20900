use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition,
    drawing::{Picture, dot, mermaid, svg},
    exit_code::ExitCode,
};

/// Draw which step needs which
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet graph workflow.yaml                      Mermaid, for a Markdown page
  ratchet graph workflow.yaml -o workflow.svg      the file's name says the format
  ratchet graph workflow.yaml --format dot | dot -Tpdf > workflow.pdf")]
pub(crate) struct GraphArguments {
    /// The file, or a folder with a workflow.yaml in it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is drawn; else the output file's name says it, else Mermaid
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A notation of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A Mermaid flowchart
    Mermaid,
    /// Graphviz's language
    Dot,
    /// A picture for browsers
    Svg,
}

pub(super) fn run(
    arguments: &GraphArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let definition = definition::load(&arguments.file, common, console)?;
    let picture = Picture::of(&definition.workflow);
    let text = match arguments.format.unwrap_or_else(|| format_of(arguments.output.as_ref())) {
        Format::Mermaid => mermaid(&picture),
        Format::Dot => dot(&picture),
        Format::Svg => svg(&picture),
    };
    match &arguments.output {
        None => console.text(&text)?,
        Some(path) => {
            fs::write(path, text).map_err(|source| CommandError::FileWrite { path: path.clone(), source })?;
        }
    }
    Ok(ExitCode::Completed)
}

fn format_of(output: Option<&PathBuf>) -> Format {
    match output.and_then(|path| path.extension()).and_then(|extension| extension.to_str()) {
        Some("svg") => Format::Svg,
        Some("dot" | "gv") => Format::Dot,
        _ => Format::Mermaid,
    }
}
