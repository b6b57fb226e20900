//! Workflow files as commands take them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ratchet_core::{
    execution::ExecutionRow,
    workflow::{Step, Workflow},
};
use ratchet_definition::{
    compile::{Compiled, SourceFile, compile},
    diagnostic::Diagnostic,
};

use crate::{command_error::CommandError, console::Console, words::counted};

/// The file's name where a folder is given.
const FILE_NAME: &str = "workflow.yaml";

/// A file that compiled.
pub(crate) struct Definition {
    /// What it says.
    pub(crate) workflow: Workflow,
    /// Its text.
    pub(crate) text: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What its author should look at.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Reads a file, or the `workflow.yaml` of a folder.
pub(crate) fn source(path: &Path) -> Result<(PathBuf, SourceFile), CommandError> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let refused = |source| CommandError::File { path: path.clone(), source };
    let bytes = fs::read(&path).map_err(refused)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| refused(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
    let name = path.display().to_string();
    Ok((path, SourceFile { name, text }))
}

/// Reads and compiles a file. Its mistakes are shown on standard error before the error is returned; warnings are the caller's to show.
pub(crate) fn load(path: &Path, console: Console) -> Result<Definition, CommandError> {
    let (path, source) = source(path)?;
    match compile(&source) {
        Ok(Compiled { workflow, warnings }) => Ok(Definition { workflow, text: source.text, path, warnings }),
        Err(findings) => {
            show(findings.all(), console);
            let count = counted(findings.errors().count(), "mistake");
            Err(CommandError::Mistakes { name: source.name, count })
        }
    }
}

/// Compiles the definition that an execution follows.
pub(crate) fn stored(execution: &ExecutionRow, text: String) -> Result<Workflow, CommandError> {
    let broken = |reason: String| CommandError::Definition { execution: execution.id.clone(), reason };
    let source = SourceFile { name: execution.definition.origin.clone(), text };
    compile(&source).map(|compiled| compiled.workflow).map_err(|findings| broken(findings.to_string()))
}

/// The step of a workflow that a person names.
pub(crate) fn step<'a>(workflow: &'a Workflow, name: &str) -> Result<&'a Step, CommandError> {
    workflow.steps.iter().find(|step| step.id.as_str() == name).ok_or_else(|| {
        let likeness = |step: &&Step| (strsim::jaro_winkler(step.id.as_str(), name) * 1000.0).round();
        let nearest = workflow.steps.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        CommandError::UnknownStep {
            workflow: workflow.name.clone(),
            step: name.to_owned(),
            nearest: nearest.filter(|step| likeness(step) > 700.0).map(|step| step.id.to_string()),
        }
    })
}

/// Shows findings on standard error, with their lines.
pub(crate) fn show(findings: &[Diagnostic], console: Console) {
    let width = console::Term::stderr().size_checked().map_or(120, |(_, columns)| usize::from(columns).clamp(60, 160));
    for finding in findings {
        let report = if console.err.is_on() { finding.to_graphical(width, true) } else { finding.to_plain() };
        console.say(report.trim_end());
    }
}
