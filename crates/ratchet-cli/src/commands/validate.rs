use std::path::{Path, PathBuf};

use clap::Args;
use ratchet_definition::{compile::compile, diagnostic::Diagnostic};
use serde_json::{Value, json};

use crate::{command_error::CommandError, console::Console, definition, exit_code::ExitCode, words::counted};

/// Check workflow files without running anything
#[derive(Debug, Args)]
#[command(after_help = "\
Every mistake is found at once and shown with its line, a code and what to write instead. Warnings do not fail the check.

Examples:
  ratchet validate workflow.yaml
  ratchet validate workflows/*/workflow.yaml
  ratchet validate workflow.yaml --json | jq '.[].findings'")]
pub(crate) struct ValidateArguments {
    /// The files, or folders with a workflow.yaml in them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print a JSON array, one object a file
    #[arg(long)]
    json: bool,
}

/// What was found in one file.
struct Checked {
    name: String,
    workflow: Option<String>,
    steps: usize,
    findings: Vec<Diagnostic>,
    valid: bool,
}

pub(super) fn run(arguments: &ValidateArguments, console: Console) -> Result<ExitCode, CommandError> {
    let checked = arguments.files.iter().map(|file| check(file)).collect::<Result<Vec<Checked>, CommandError>>()?;
    if arguments.json {
        console.json(&checked.iter().map(as_json).collect::<Vec<Value>>())?;
    } else {
        for file in &checked {
            definition::show(&file.findings, console);
            console.line(&verdict(file, console))?;
        }
    }
    let fine = checked.iter().all(|file| file.valid && (file.findings.is_empty() || !arguments.strict));
    Ok(if fine { ExitCode::Completed } else { ExitCode::WrongCall })
}

fn check(path: &Path) -> Result<Checked, CommandError> {
    let (_, source) = definition::source(path)?;
    Ok(match compile(&source) {
        Ok(compiled) => Checked {
            name: source.name,
            steps: compiled.workflow.steps.len(),
            workflow: Some(compiled.workflow.name),
            findings: compiled.warnings,
            valid: true,
        },
        Err(findings) => {
            Checked { name: source.name, workflow: None, steps: 0, findings: findings.all().to_vec(), valid: false }
        }
    })
}

fn verdict(file: &Checked, console: Console) -> String {
    let errors = file
        .findings
        .iter()
        .filter(|finding| finding.severity() == ratchet_definition::mistake::Severity::Error)
        .count();
    let warnings = file.findings.len() - errors;
    let warned = if warnings > 0 { format!(", {}", counted(warnings, "warning")) } else { String::new() };
    match &file.workflow {
        Some(name) => {
            format!("{} {}: {name}, {}{warned}", console.out.good("✓"), file.name, counted(file.steps, "step"))
        }
        None => format!("{} {}: {}{warned}", console.out.bad("✗"), file.name, counted(errors, "mistake")),
    }
}

fn as_json(file: &Checked) -> Value {
    json!({
        "file": file.name,
        "valid": file.valid,
        "workflow": file.workflow,
        "steps": file.steps,
        "findings": file.findings,
    })
}
