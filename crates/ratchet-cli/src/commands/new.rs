use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::workflows::find;
use crate::{
    catalogue::{ReferenceWorkflow, WORKFLOW},
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    words::counted,
};

/// Write a workflow to begin with
#[derive(Debug, Args)]
#[command(after_help = "\
The workflow is valid and runs as it is. A file that is there already is left alone.
With --from a whole folder is written: the workflow, its tests, a sample project and a recorded agent.

Examples:
  ratchet new
  ratchet new workflows/release.yaml
  ratchet run workflows/release.yaml -i who=you
  ratchet new --from code-review
  ratchet new --from code-review workflows/review")]
pub(crate) struct NewArguments {
    /// The file that is written [default: workflow.yaml], with --from the folder [default: the workflow's name]; it must not be there
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Begin with this reference workflow; `ratchet workflows` lists them
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
}

const STARTER: &str = include_str!("new/starter.yaml");

/// The starter's own name, which is replaced.
const STARTER_NAME: &str = "name: starter";

pub(super) fn run(arguments: &NewArguments, console: Console) -> Result<ExitCode, CommandError> {
    match &arguments.from {
        Some(name) => copied(find(name)?, arguments.file.as_deref().unwrap_or(Path::new(name)), console),
        None => starter(arguments.file.as_deref().unwrap_or(Path::new(WORKFLOW)), console),
    }
}

/// Writes a reference workflow into a folder of its own.
fn copied(shipped: &ReferenceWorkflow, folder: &Path, console: Console) -> Result<ExitCode, CommandError> {
    let written = |source| CommandError::FileWrite { path: folder.to_owned(), source };
    let is_taken = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    };
    if is_taken {
        return Err(CommandError::Argument {
            argument: "FILE",
            reason: format!("{} is there already", folder.display()),
            hint: "name a folder that is not: ratchet new --from NAME other",
        });
    }
    shipped.write(folder).map_err(written)?;
    let shown = folder.display();
    console.line(&format!(
        "wrote {} to {shown}\n\nnext:\n  ratchet workflows {}    what it does, and what it needs\n  ratchet validate {shown}\n  ratchet test {shown}",
        counted(shipped.files.len(), "file"),
        shipped.name,
    ))?;
    Ok(ExitCode::Completed)
}

/// Writes a small workflow.
fn starter(path: &Path, console: Console) -> Result<ExitCode, CommandError> {
    let written = |source| CommandError::FileWrite { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(written)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            let reason = format!("{} is there already", path.display());
            return CommandError::Argument {
                argument: "FILE",
                reason,
                hint: "name a file that is not: ratchet new other.yaml",
            };
        }
        written(error)
    })?;
    let text = STARTER.replacen(STARTER_NAME, &format!("name: {}", name_for(path)), 1);
    file.write_all(text.as_bytes()).map_err(written)?;
    let shown = path.display();
    console.line(&format!("wrote {shown}\n\nnext:\n  ratchet validate {shown}\n  ratchet run {shown} -i who=you"))?;
    Ok(ExitCode::Completed)
}

/// The workflow's name: that of the file, or of its folder where the file has the usual name, as far as it can be one.
fn name_for(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem = absolute.file_stem().filter(|stem| *stem != "workflow");
    let given = stem.or_else(|| absolute.parent()?.file_name()).unwrap_or_default().to_string_lossy().to_lowercase();
    let words: Vec<&str> = given.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name
    } else {
        format!("workflow-{name}").trim_end_matches('-').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_from_the_file_or_its_folder() {
        let cases = [
            ("/a/release.yaml", "release"),
            ("/a/Release Notes.yaml", "release-notes"),
            ("/a/my_project/workflow.yaml", "my-project"),
            ("/a/2024.yaml", "workflow-2024"),
            ("/a/---.yaml", "workflow"),
            ("/workflow.yaml", "workflow"),
        ];
        for (path, expected) in cases {
            assert_eq!(name_for(Path::new(path)), expected, "{path}");
        }
    }
}
