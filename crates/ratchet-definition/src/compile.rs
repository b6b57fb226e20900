//! The one door: a file becomes a workflow, or all that is wrong with it.

use std::sync::Arc;

use ratchet_core::workflow::Workflow;

use crate::{
    check::{defaults, ignore, order, report::Report, secrets, structure, symbols::Symbols},
    diagnostic::{Diagnostic, Diagnostics, Source},
    lower::lower,
    mistake::Severity,
    shape::{Shape, WORKFLOW},
    yaml::{self, Limits},
};

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// What it is called in reports.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A workflow that can be run.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The workflow: nobody has to check it again.
    pub workflow: Workflow,
    /// What its author should look at.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a file. An error holds everything that is wrong with it, warnings included.
pub fn compile(source: &SourceFile) -> Result<Compiled, Diagnostics> {
    let limits = Limits::default();
    let mut report = Report::default();
    // A file that is too long is not looked into.
    let hidden = if source.text.len() <= limits.bytes { secrets::check(&source.text, &mut report) } else { Vec::new() };
    let workflow = checked(&source.text, limits, &mut report);
    let shown = Arc::new(Source::new(source.name.clone(), &source.text, &hidden));
    let findings: Vec<Diagnostic> = ignore::apply(&source.text, report.into_mistakes())
        .into_iter()
        .map(|mistake| Diagnostic::new(mistake, shown.clone()))
        .collect();
    match workflow {
        Some(workflow) if findings.iter().all(|finding| finding.severity() == Severity::Warning) => {
            Ok(Compiled { workflow, warnings: findings })
        }
        _ => Err(Diagnostics::new(findings)),
    }
}

/// Everything that is wrong goes into the report; without errors there is a workflow.
fn checked(text: &str, limits: Limits, report: &mut Report) -> Option<Workflow> {
    let (tree, mistakes) = yaml::parse(text, limits);
    for mistake in mistakes {
        report.add(mistake);
    }
    let mut tree = tree?;
    if !structure::check(&mut tree, &Shape::Record(&WORKFLOW), "the file", report) {
        return None;
    }
    defaults::apply(&mut tree, limits, report);
    let symbols = Symbols::of(&tree);
    let graph = order::check(&symbols, report);
    lower(&tree, text, &symbols, graph.as_ref(), report)
}

#[cfg(test)]
mod tests;
