//! Tests of workflows: each is a run on the embedded engine, in a folder and a state directory of its own.

mod case;
mod coverage;
mod expected;
mod file;
mod files;
mod report;
mod stated;
mod update;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinSet};

pub(crate) use self::{
    case::Told,
    coverage::Coverage,
    file::{SUFFIX, Source, Test},
    report::{junit, lines},
};
use crate::{command_error::CommandError, definition::Definition};

/// Something that is not as a test says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is not as it must be.
    pub(crate) message: String,
    /// More about it, a line each.
    pub(crate) details: Vec<String>,
    /// What the test would have to expect instead, where that can be said.
    pub(crate) correction: Option<Correction>,
}

/// What came of a run in the place of what a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    /// Names from `expect` down; none is all of it.
    path: Vec<String>,
    /// What came.
    found: Value,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Vec::new(), correction: None }
    }

    fn differs(what: &str, expected: &str, found: &str) -> Self {
        Self::new(format!("{what}: expected {expected}, found {found}"))
    }

    fn with(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    fn corrected(self, path: &[&str], found: impl Into<Value>) -> Self {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        Self { correction: Some(Correction { path, found: found.into() }), ..self }
    }
}

/// The tests of one workflow, ready to be made.
pub(crate) struct Suite {
    /// The file of the tests.
    pub(crate) source: Source,
    /// What they test.
    pub(crate) definition: Arc<Definition>,
}

/// The same, made.
pub(crate) struct Results {
    /// The file of the tests, as it was named.
    pub(crate) file: PathBuf,
    /// The workflow's name.
    pub(crate) workflow: String,
    /// How each went, in the order of the file.
    pub(crate) tests: Vec<Told>,
    /// The file as it would have to be for what can be corrected, where that is another.
    pub(crate) updated: Option<String>,
    /// What of the workflow they have seen; `None` where not all were made.
    pub(crate) coverage: Option<Coverage>,
}

impl Results {
    /// Takes what was written into the file as expected: what is left are the problems that a person has to look at.
    pub(crate) fn take_corrections(&mut self) {
        let is_corrected =
            |test: &&mut Told| test.came.is_some() || test.problems.iter().any(|problem| problem.correction.is_some());
        for test in self.tests.iter_mut().filter(is_corrected) {
            test.problems.retain(|problem| problem.correction.is_none());
            test.updated = true;
        }
    }
}

/// The files of tests at some places: files as they are named, folders with all that is below them. A folder that git would not list is looked into as well, but for
/// hidden ones.
pub(crate) fn find(places: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut found = Vec::new();
    for place in places {
        let refused = |source| CommandError::File { path: place.clone(), source };
        if fs::metadata(place).map_err(refused)?.is_dir() {
            search(place, &mut found).map_err(refused)?;
        } else {
            found.push(place.clone());
        }
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                search(&entry.path(), found)?;
            }
        } else if name.ends_with(SUFFIX) {
            let path = entry.path();
            found.push(path.strip_prefix(".").map_or_else(|_| path.clone(), Path::to_owned));
        }
    }
    Ok(())
}

/// Makes tests, so many at once, each in a folder below the scratch folder. `keep` leaves those of failed tests there.
pub(crate) async fn make(
    suites: Vec<Suite>,
    filter: Option<&str>,
    jobs: usize,
    keep: bool,
    scratch: &Path,
) -> Result<Vec<Results>, CommandError> {
    let room = Arc::new(Semaphore::new(jobs));
    let mut running = JoinSet::new();
    let mut results: Vec<Results> = Vec::new();
    let mut told: Vec<Vec<Option<Told>>> = Vec::new();
    for (position, suite) in suites.iter().enumerate() {
        let is_wanted = |test: &&Test| filter.is_none_or(|filter| test.name.contains(filter));
        let wanted: Vec<&Test> = suite.source.file.tests.iter().filter(is_wanted).collect();
        told.push(wanted.iter().map(|_| None).collect());
        for (number, test) in wanted.into_iter().enumerate() {
            let (test, definition, room) = (test.clone(), Arc::clone(&suite.definition), Arc::clone(&room));
            let (beside, scratch) = (suite.source.folder().to_owned(), scratch.to_owned());
            running.spawn(async move {
                let _room = room.acquire_owned().await;
                let made = one(&test, &beside, &definition, &scratch, keep).await;
                (position, number, made)
            });
        }
    }
    while let Some(ended) = running.join_next().await {
        let (position, number, made) = ended.map_err(|error| CommandError::Runtime(io::Error::other(error)))?;
        told[position][number] = Some(made?);
    }
    for (suite, told) in suites.into_iter().zip(told) {
        let is_whole = told.len() == suite.source.file.tests.len();
        let tests: Vec<Told> = told.into_iter().flatten().collect();
        let coverage = is_whole.then(|| Coverage::of(&suite.definition.workflow, &tests));
        let workflow = suite.definition.workflow.name.clone();
        let updated = update::text(&suite.source, &tests);
        results.push(Results { file: suite.source.path, workflow, tests, updated, coverage });
    }
    Ok(results)
}

async fn one(
    test: &Test,
    beside: &Path,
    definition: &Definition,
    scratch: &Path,
    keep: bool,
) -> Result<Told, CommandError> {
    let refused = |source| CommandError::FileWrite { path: scratch.to_owned(), source };
    let place = tempfile::Builder::new().prefix("test-").tempdir_in(scratch).map_err(refused)?;
    let mut told = case::run(test, beside, definition, place.path()).await;
    if keep && !told.problems.is_empty() {
        let kept = TempDir::keep(place);
        told.problems.push(Problem::new(format!("its files and its state are kept in {}", kept.display())));
    } else {
        // Folders of views may have been left without permissions.
        let _ = ratchet_local::workspace::remove_tree(place.path());
    }
    Ok(told)
}
