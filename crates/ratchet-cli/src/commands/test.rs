use std::{fs, num::NonZeroUsize, path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition, driving,
    exit_code::ExitCode,
    testing::{self, Problem, Results, Source, Suite, Told},
    words::counted,
};

/// Test workflows: run them on files of their own, and compare what comes of it
#[derive(Debug, Args)]
#[command(after_help = "\
Tests stand beside a workflow in a file whose name ends in .test.yaml. Each runs in a fresh copy of its files with a state directory \
of its own; results of steps may be stated, so that nothing is deployed and no agent is paid.

Examples:
  ratchet test                                        every test below this folder
  ratchet test workflows/deploy --filter 'rolls back'
  ratchet test --update                               expect from now on what came
  ratchet test --junit report.xml --jobs 4")]
pub(crate) struct TestArguments {
    /// Files of tests, or folders that are searched for them
    #[arg(value_name = "PATH", default_value = ".")]
    places: Vec<PathBuf>,
    /// Make only tests whose name has this in it
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Make so many tests at once; else as many as the machine has cores
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write how they went to this file, in JUnit's format
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Keep the files and the state of tests that fail, and say where
    #[arg(long)]
    keep: bool,
    /// Write into the files what came, in the place of what was expected; a test without `expect` gets one
    #[arg(long)]
    update: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &TestArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let mut suites = Vec::new();
    let mut wrong = 0;
    for path in testing::find(&arguments.places)? {
        let source = match Source::read(&path)? {
            Ok(source) => source,
            Err(findings) => {
                definition::show(findings.all(), console);
                wrong += findings.all().len();
                continue;
            }
        };
        let workflow = source.folder().join(&source.file.workflow);
        let definition = definition::load(&workflow, common, console)?;
        if let Err(findings) = source.check(&definition.workflow) {
            definition::show(findings.all(), console);
            wrong += findings.all().len();
            continue;
        }
        suites.push(Suite { source, definition: Arc::new(definition) });
    }
    if wrong > 0 {
        return Err(CommandError::WrongTests { count: counted(wrong, "mistake") });
    }
    let scratch = tempfile::Builder::new().prefix("ratchet-test-").tempdir();
    let scratch = scratch.map_err(|source| CommandError::FileWrite { path: std::env::temp_dir(), source })?;
    let jobs = arguments.jobs.map_or_else(|| driving::cores() as usize, NonZeroUsize::get);
    let mut results = testing::make(suites, arguments.filter.as_deref(), jobs, arguments.keep, scratch.path()).await?;
    if results.iter().all(|result| result.tests.is_empty()) {
        return Err(CommandError::NoTests { filter: arguments.filter.clone() });
    }
    if arguments.keep {
        let _ = scratch.keep();
    }
    if let Some(path) = &arguments.junit {
        let written = fs::write(path, testing::junit(&results));
        written.map_err(|source| CommandError::FileWrite { path: path.clone(), source })?;
    }
    if arguments.update {
        for result in &mut results {
            if let Some(text) = &result.updated {
                let written = fs::write(&result.file, text);
                written.map_err(|source| CommandError::FileWrite { path: result.file.clone(), source })?;
                result.take_corrections();
            }
        }
    }
    if arguments.json {
        console.json(&as_json(&results))?;
    } else {
        for line in testing::lines(&results, console.out) {
            console.line(&line)?;
        }
    }
    let all_passed = results.iter().flat_map(|result| &result.tests).all(|test| test.problems.is_empty());
    Ok(if all_passed { ExitCode::Completed } else { ExitCode::Failed })
}

fn as_json(results: &[Results]) -> Value {
    let problem = |problem: &Problem| json!({ "message": problem.message, "details": problem.details });
    let test = |test: &Told| {
        let problems: Vec<Value> = test.problems.iter().map(problem).collect();
        json!({
            "name": test.name,
            "passed": problems.is_empty(),
            "updated": test.updated,
            "seconds": test.took.as_secs_f64(),
            "problems": problems,
        })
    };
    let result = |result: &Results| {
        json!({
            "file": result.file,
            "workflow": result.workflow,
            "tests": result.tests.iter().map(test).collect::<Vec<Value>>(),
            "coverage": result.coverage,
        })
    };
    Value::Array(results.iter().map(result).collect())
}
