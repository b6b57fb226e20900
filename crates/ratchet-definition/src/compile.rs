//! The one door: a file becomes a workflow, or all that is wrong with it.

use ratchet_core::workflow::Workflow;

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    link::compile_all,
    sources::{NoLookup, Sources},
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

/// Compiles a file that stands alone. An error holds everything that is wrong with it, warnings included.
pub fn compile(source: &SourceFile) -> Result<Compiled, Diagnostics> {
    compile_all(&Sources::gather(source, &NoLookup))
}

#[cfg(test)]
mod tests;
