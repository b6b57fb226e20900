//! Workflow files as commands take them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ratchet_core::{
    execution::{DefinitionRef, ExecutionRow},
    history::sha256_hex,
    ids::Digest,
    workflow::{Step, Workflow},
};
use ratchet_definition::{
    compile::{Compiled, SourceFile},
    diagnostic::Diagnostic,
    sources::{Lookup, Sources, compile_all, compile_stored},
};
use ratchet_local::{directory::StateDirectory, published::PublishedWorkflows};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, state_directory, words::counted,
};

/// The file's name where a folder is given.
const FILE_NAME: &str = "workflow.yaml";

/// A file that compiled.
pub(crate) struct Definition {
    /// What it says.
    pub(crate) workflow: Arc<Workflow>,
    /// Its text, with all that it refers to.
    pub(crate) text: String,
    /// Where it lies, or what it was published as.
    pub(crate) path: PathBuf,
    /// The folder that it lies in, absolute; none of a published one.
    pub(crate) folder: Option<PathBuf>,
    /// What its author should look at.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl Definition {
    /// Which definition it is: its text says it all.
    pub(crate) fn reference(&self) -> DefinitionRef {
        let origin = match self.folder {
            Some(_) => std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()),
            None => self.path.clone(),
        };
        DefinitionRef {
            name: self.workflow.name.clone(),
            version: self.workflow.version.clone(),
            digest: Digest::new(sha256_hex(self.text.as_bytes())),
            origin: origin.display().to_string(),
        }
    }
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

/// What a person means by a file that is run: a file, or the name of a published workflow.
pub(crate) fn sources(
    path: &Path,
    common: &CommonArguments,
) -> Result<(PathBuf, Option<PathBuf>, Sources), CommandError> {
    let published = published(common)?;
    if let (false, Some(name)) = (path.exists(), path.to_str().filter(|name| !name.contains('/'))) {
        let (name, version) = name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
        if let Some(found) = published.find(name, version)? {
            let origin = format!("{}@{}", found.name, found.version);
            let broken = |reason| CommandError::Published { name: origin.clone(), reason };
            let sources = Sources::read(&origin, &found.text).map_err(broken)?;
            return Ok((PathBuf::from(origin), None, sources));
        }
        let is_name = !name.is_empty() && !name.contains('.');
        if is_name && (version.is_some() || !published.versions(name)?.is_empty()) {
            let versions = published.versions(name)?.into_iter().map(|known| known.version).collect();
            return Err(CommandError::NotPublished { name: path.display().to_string(), versions });
        }
    }
    let (path, file) = source(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lookup = Beside { folder: folder.to_owned(), published };
    let absolute = folder.canonicalize().map_err(|source| CommandError::File { path: path.clone(), source })?;
    Ok((path, Some(absolute), Sources::gather(&file, &lookup)))
}

/// The published workflows of the state directory.
pub(crate) fn published(common: &CommonArguments) -> Result<PublishedWorkflows, CommandError> {
    let place = state_directory::locate(common.state_dir.as_deref())?;
    Ok(PublishedWorkflows::new(&StateDirectory::new(place)))
}

/// Finds files in the folder of the workflow's own file, and definitions in the state directory.
struct Beside {
    folder: PathBuf,
    published: PublishedWorkflows,
}

impl Lookup for Beside {
    fn file(&self, path: &str) -> Result<String, String> {
        let found = self.folder.join(path);
        let inside = found.canonicalize().and_then(|found| Ok(found.starts_with(self.folder.canonicalize()?)));
        match inside {
            Ok(true) => {}
            Ok(false) => return Err("it lies outside of the folder of the workflow's own file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err("there is no such file".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
        fs::read_to_string(&found).map_err(|error| error.to_string())
    }

    fn published(&self, name: &str, version: Option<&str>) -> Result<String, String> {
        match self.published.find(name, version) {
            Ok(Some(found)) => Ok(found.text),
            Ok(None) => Err(match version {
                Some(version) => format!("no version {version} of {name} was published on this machine"),
                None => format!("nothing was published as {name} on this machine"),
            }),
            Err(error) => Err(error.to_string()),
        }
    }

    fn program(&self, path: &str) -> Option<Digest> {
        ratchet_local::workspace::content_digest(&self.folder.join(path))
    }
}

/// Reads and compiles a file. Its mistakes are shown on standard error before the error is returned; warnings are the caller's to show.
pub(crate) fn load(path: &Path, common: &CommonArguments, console: Console) -> Result<Definition, CommandError> {
    let (path, folder, sources) = sources(path, common)?;
    match compile_all(&sources) {
        Ok(Compiled { workflow, warnings }) => {
            Ok(Definition { workflow: Arc::new(workflow), text: sources.text(), path, folder, warnings })
        }
        Err(findings) => {
            show(findings.all(), console);
            let count = counted(findings.errors().count(), "mistake");
            Err(CommandError::Mistakes { name: sources.origin().to_owned(), count })
        }
    }
}

/// Compiles the definition that an execution follows.
pub(crate) fn stored(execution: &ExecutionRow, text: &str) -> Result<Workflow, CommandError> {
    let broken = |reason: String| CommandError::Definition { execution: execution.id.clone(), reason };
    compile_stored(&execution.definition.origin, text).map_err(broken)
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
