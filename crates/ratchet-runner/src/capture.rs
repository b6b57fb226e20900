//! What a step declared to give, taken when its process has ended.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use ratchet_core::{
    output::{FileValue, Output, Outputs},
    step::{FailureClass, StepFailure},
    workflow::{Expression, ValueType},
};
use ratchet_definition::{
    coerce::coerce,
    evaluate::{EvaluationError, Evaluator, Scope},
    files::FileAccess,
};
use ratchet_engine::{
    masks::Masks,
    order::{OutputOrder, OutputOrderSource},
    ports::{AttemptFiles, BlobStore},
};
use serde_json::Value;

use crate::{
    codes,
    paths::{self, PathError},
};

/// What a step's expressions can read besides its outputs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// By name.
    pub(crate) locals: BTreeMap<String, Output>,
    /// Names that would be there, and why they are not.
    pub(crate) withheld: BTreeMap<&'static str, Withheld>,
}

/// Why an expression cannot read something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// More was printed than is kept.
    TooLong,
    /// It is no JSON: why not.
    NoJson(String),
}

impl Said {
    /// Adds a value.
    pub(crate) fn value(&mut self, name: &str, value: impl Into<Value>) {
        self.locals.insert(name.to_owned(), Output::Json(value.into()));
    }
}

/// Where outputs are taken from and kept.
pub(crate) struct Capture<'a> {
    /// What its expressions see besides what its process gave.
    pub(crate) scope: &'a Scope,
    /// The files.
    pub(crate) files: &'a AttemptFiles,
    /// Where file outputs are kept.
    pub(crate) blobs: &'a dyn BlobStore,
    /// What expressions read files by.
    pub(crate) access: Arc<dyn FileAccess>,
    /// How large a file may be.
    pub(crate) bytes_max: Option<u64>,
    /// What may not be kept.
    pub(crate) masks: Masks,
}

fn holds_a_secret(name: &str) -> StepFailure {
    failure(codes::OUTPUT_SECRET, format!("the output {name} holds a secret of the step, and outputs are kept"))
        .with_hint("use the secret in the step that has it, and give only what may be seen")
}

impl Capture<'_> {
    /// Takes the outputs in order: a later one may read an earlier one.
    pub(crate) async fn outputs(&self, declared: &[OutputOrder], mut said: Said) -> Result<Outputs, StepFailure> {
        let mut outputs = Outputs::new();
        for output in declared {
            let value = match &output.source {
                OutputOrderSource::File(path) => self.file(&output.name, path).await?,
                OutputOrderSource::From { expression, value_type } => {
                    self.from(&output.name, expression, *value_type, &said, &outputs).await?
                }
            };
            if !self.masks.is_empty() && self.masks.are_in(&serde_json::to_vec(&value).unwrap_or_default()) {
                return Err(holds_a_secret(&output.name));
            }
            // What the process said keeps its names.
            said.locals.entry(output.name.clone()).or_insert_with(|| value.clone());
            outputs.insert(output.name.clone(), value);
        }
        Ok(outputs)
    }

    async fn file(&self, name: &str, path: &str) -> Result<Output, StepFailure> {
        let no_file = |reason: String| {
            failure(codes::OUTPUT_NO_FILE, format!("the output {name} is not a file of the workspace: {reason}"))
        };
        let real = paths::existing(self.files, path).map_err(|error| match error {
            PathError::Missing(_) => self.missing(name, path),
            other => no_file(other.to_string()),
        })?;
        let real = self.files.root().join(real);
        let found = real.metadata().map_err(|error| no_file(error.to_string()))?;
        if found.is_dir() {
            let hint = "an output is one file: pack a folder with `tar`, or declare the files in it";
            return Err(no_file(format!("`{path}` is a folder")).with_hint(hint));
        }
        if !found.is_file() {
            return Err(no_file(format!("`{path}` is no plain file")));
        }
        if let Some(bound) = self.bytes_max.filter(|bound| found.len() > *bound) {
            let message = format!("the output {name} has {} bytes, and the step may leave {bound}", found.len());
            return Err(
                failure(codes::OUTPUT_TOO_LARGE, message).with_hint("raise `disk` under `resources` of the step")
            );
        }
        if !self.masks.is_empty() {
            let content = std::fs::read(&real).map_err(|error| no_file(error.to_string()))?;
            if self.masks.are_in(&content) {
                return Err(holds_a_secret(name));
            }
        }
        let content = self.blobs.put_file(&real).await.map_err(|error| {
            failure(codes::OUTPUT_NOT_KEPT, format!("the file {path} of the output {name} cannot be kept: {error}"))
        })?;
        let path = self.declared(path).to_string_lossy().into_owned();
        Ok(Output::File(FileValue { path, content }))
    }

    /// The path as it was declared, relative to the workspace and without detours.
    fn declared(&self, path: &str) -> PathBuf {
        let given = Path::new(path);
        let real_root = self.files.path().canonicalize();
        let below = given
            .strip_prefix(self.files.path())
            .or_else(|error| real_root.as_deref().map_or(Err(error), |root| given.strip_prefix(root)))
            .unwrap_or(given);
        paths::relative(&below.to_string_lossy()).unwrap_or_else(|_| below.to_owned())
    }

    fn missing(&self, name: &str, path: &str) -> StepFailure {
        let near = near(self.files.root(), path);
        let failure =
            failure(codes::OUTPUT_MISSING, format!("the output {name} is not there: the step made no file {path}"));
        if near.is_empty() {
            failure.with_hint("paths of outputs are relative to the workspace, not to the step's working directory")
        } else {
            failure.with_hint(format!("did you mean {}?", near.join(" or ")))
        }
    }

    async fn from(
        &self,
        name: &str,
        expression: &Expression,
        value_type: ValueType,
        said: &Said,
        above: &Outputs,
    ) -> Result<Output, StepFailure> {
        if let Some(long) =
            said.withheld.iter().find(|(local, why)| **why == Withheld::TooLong && reads(expression, local))
        {
            let message = format!("the output {name} reads {}, which is longer than 1 MiB", long.0);
            let hint = "write it to a file (`… > out.txt`), declare that as an output, and read it with `file_content`";
            return Err(failure(codes::OUTPUT_TOO_LONG, message).with_hint(hint));
        }
        let scope = Scope { locals: said.locals.clone(), outputs: Some(above.clone()), ..self.scope.clone() };
        let (files, code) = (Arc::clone(&self.access), expression.clone());
        // Functions read files: that is no work for a thread that others wait for.
        let evaluated = tokio::task::spawn_blocking(move || Evaluator::new(scope, files).expression(&code)).await;
        let value = match evaluated {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => return Err(not_evaluated(name, expression, said, &error)),
            Err(panic) => return Err(failure(codes::OUTPUT_EXPRESSION, format!("the output {name}: {panic}"))),
        };
        let value = coerce(value_type, value).map_err(|error| {
            let message = format!("the output {name} is not of its type: {error}");
            failure(codes::OUTPUT_TYPE, message).with_detail(format!("from: {}", expression.source))
        })?;
        match (value_type, value) {
            // An expression can say which file it is.
            (ValueType::File | ValueType::Artifact, Output::Json(Value::String(path))) => {
                self.file(name, path.trim()).await
            }
            (_, value) => Ok(value),
        }
    }
}

fn not_evaluated(name: &str, expression: &Expression, said: &Said, error: &EvaluationError) -> StepFailure {
    let failed = failure(codes::OUTPUT_EXPRESSION, format!("the output {name} cannot be evaluated: {error}"));
    let no_json = said.withheld.iter().find_map(|(local, why)| match why {
        Withheld::NoJson(reason) if reads(expression, local) => Some(reason),
        _ => None,
    });
    match (no_json, &error.help) {
        (Some(reason), _) => {
            failed.with_hint(format!("`json` is what the step printed, parsed, and that is no JSON: {reason}"))
        }
        (None, Some(help)) => failed.with_hint(help.clone()),
        (None, None) => failed,
    }
}

fn failure(code: &'static str, message: String) -> StepFailure {
    StepFailure::new(FailureClass::Output, message).with_code(code)
}

/// Whether a name stands in an expression as a word of its own.
fn reads(expression: &Expression, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    expression.code.split(|c| !is_word(c)).any(|word| word == name)
}

/// How many entries of a workspace are looked at for a file that was meant.
const SEARCHED_MAX: usize = 20_000;

/// Files that may have been meant: of the same name elsewhere, or of nearly the same name in the same folder.
fn near(root: &Path, path: &str) -> Vec<String> {
    let Ok(wanted) = paths::relative(path) else { return Vec::new() };
    let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    let mut searched = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
            searched += 1;
            let (other, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type());
            let below = folder.join(&other);
            let is_folder = kind.is_ok_and(|kind| kind.is_dir());
            if is_folder && ![".git", "node_modules", ".venv"].contains(&other.as_str()) {
                folders.push(below);
            } else if !is_folder {
                let is_beside = folder.as_path() == wanted.parent().unwrap_or(Path::new(""));
                let likeness = if other == name { 1.0 } else { strsim::jaro_winkler(&other, &name) };
                if likeness >= 1.0 || (is_beside && likeness > 0.85) {
                    found.push((likeness, below.display().to_string()));
                }
            }
        }
        if searched > SEARCHED_MAX {
            break;
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.into_iter().take(3).map(|(_, path)| path).collect()
}
