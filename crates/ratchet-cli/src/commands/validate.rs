use std::{
    mem::ManuallyDrop,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use ratchet_definition::{
    compile::Compiled,
    diagnostic::Diagnostic,
    mistake::Severity,
    sources::{check_types, compile_all},
};
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, definition, exit_code::ExitCode,
    words::counted,
};

/// Check workflow files without running anything
#[derive(Debug, Args)]
#[command(after_help = "\
Every mistake is found at once and shown with its line, a code and what to write instead. Warnings do not fail the check.
A comment `# ratchet: ignore RT-nnnn` in a warning's line, or in the one above, says that it is known.

Examples:
  ratchet validate workflow.yaml
  ratchet validate workflows/*/workflow.yaml
  ratchet validate workflow.yaml --deny warnings
  ratchet validate workflow.yaml --format json | jq '.[].findings'")]
pub(crate) struct ValidateArguments {
    /// The files, or folders with a workflow.yaml in them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fail on `warnings` too
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    deny: Option<Deny>,
    /// Print `text` for people, or `json`: an array with an object a file
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// What fails a check besides mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Every warning that no comment ignores
    Warnings,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Reports with the lines of the file
    Text,
    /// An array of objects
    Json,
}

/// What was found in one file.
struct Checked {
    name: String,
    workflow: Option<String>,
    steps: usize,
    findings: Vec<Diagnostic>,
    valid: bool,
}

pub(super) fn run(
    arguments: &ValidateArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let checked =
        arguments.files.iter().map(|file| check(file, common)).collect::<Result<Vec<Checked>, CommandError>>()?;
    let denied = |file: &Checked| arguments.deny == Some(Deny::Warnings) && !file.findings.is_empty();
    if arguments.json || arguments.format == Format::Json {
        console.json(&checked.iter().map(as_json).collect::<Vec<Value>>())?;
    } else {
        for file in &checked {
            definition::show(&file.findings, console);
            console.line(&verdict(file, denied(file), console))?;
        }
    }
    let fine = checked.iter().all(|file| file.valid && !denied(file));
    Ok(if fine { ExitCode::Completed } else { ExitCode::WrongCall })
}

fn check(path: &Path, common: &CommonArguments) -> Result<Checked, CommandError> {
    let (_, _, sources) = definition::sources(path, common)?;
    let name = sources.origin().to_owned();
    if let Some(checked) = check_types(&sources) {
        return Ok(match checked {
            Ok((types, findings)) => {
                let told = format!("a file of step types: {}", types.join(", "));
                Checked { name, steps: 0, workflow: Some(told), findings, valid: true }
            }
            Err(findings) => {
                Checked { name, workflow: None, steps: 0, findings: findings.all().to_vec(), valid: false }
            }
        });
    }
    Ok(match compile_all(&sources) {
        Ok(Compiled { workflow, warnings }) => {
            // The command ends soon: to give a large workflow back piece by piece takes a part of the time that reading it took.
            let workflow = ManuallyDrop::new(workflow);
            let (steps, workflow) = (workflow.steps.len(), Some(workflow.name.clone()));
            Checked { name, steps, workflow, findings: warnings, valid: true }
        }
        Err(findings) => Checked { name, workflow: None, steps: 0, findings: findings.all().to_vec(), valid: false },
    })
}

impl Checked {
    /// How many mistakes and how many warnings there are.
    fn counts(&self) -> (usize, usize) {
        let errors = self.findings.iter().filter(|finding| finding.severity() == Severity::Error).count();
        (errors, self.findings.len() - errors)
    }
}

fn verdict(file: &Checked, denied: bool, console: Console) -> String {
    let (errors, warnings) = file.counts();
    let warned = if warnings > 0 { format!(", {}", counted(warnings, "warning")) } else { String::new() };
    match &file.workflow {
        Some(name) => {
            let (sign, denied) = if denied {
                (console.out.bad("✗"), ", and warnings are denied")
            } else {
                (console.out.good("✓"), "")
            };
            let steps = if file.steps > 0 { format!(", {}", counted(file.steps, "step")) } else { String::new() };
            format!("{sign} {}: {name}{steps}{warned}{denied}", file.name)
        }
        None => format!("{} {}: {}{warned}", console.out.bad("✗"), file.name, counted(errors, "mistake")),
    }
}

fn as_json(file: &Checked) -> Value {
    let (errors, warnings) = file.counts();
    json!({
        "file": file.name,
        "valid": file.valid,
        "workflow": file.workflow,
        "steps": file.steps,
        "errors": errors,
        "warnings": warnings,
        "findings": file.findings,
    })
}
