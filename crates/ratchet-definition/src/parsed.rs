//! What parsing a template, an expression or a command gives beside the value: every name that it reads, and where.

use std::ops::Range;

use ratchet_core::workflow::Uses;

use crate::mistake::Mistake;

/// The names at the top of the scope that no step may have.
///
/// Any other name at the root of a [`Reference`] is a step, or a mistake.
pub const SCOPE_NAMES: &[&str] = &[
    "env",
    "execution",
    "exit_code",
    "index",
    "inputs",
    "item",
    "json",
    "loop",
    "outputs",
    "response",
    "secrets",
    "stderr",
    "stdout",
    "trigger",
];

/// A value that was parsed from text.
///
/// The `uses.steps` of a value that was just parsed holds every root of a reference that is not one of [`SCOPE_NAMES`]; the steps are not known there.
/// Lowering keeps those that are steps and reports the others.
#[derive(Debug, Clone)]
pub struct Parsed<T> {
    /// What the text means.
    pub value: T,
    /// What it reads, in the order of the text. Names that the text itself sets (`{% set %}`, `{% for %}`) and functions are not among them.
    pub references: Vec<Reference>,
    /// What its author should look at.
    pub warnings: Vec<Mistake>,
    /// The values that must not be an agent's.
    pub trusted: Vec<Trusted>,
}

/// A value of a command that must not be what an agent wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Where it stands, in bytes of the text that was given.
    pub span: Range<usize>,
    /// What it reads.
    pub uses: Uses,
    /// Why.
    pub trust: Trust,
}

/// What a value is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is run.
    Code,
    /// It is a part of a path of which the rest is not known either.
    Path,
    /// It says which host is asked.
    Host,
}

/// A path that a text reads: `inputs.target_file`, `baseline.outputs.coverage_xml`, `item`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The names as far as they stand in the text: the root, then attributes and constant string subscripts (`a["b"]`). Never empty.
    pub names: Vec<Name>,
}

/// One name of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands, in bytes of the text that was given.
    pub span: Range<usize>,
}

impl Reference {
    /// The names as text.
    pub fn path(&self) -> Vec<&str> {
        self.names.iter().map(|name| name.text.as_str()).collect()
    }
}

/// The shell that a script is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter {
    /// `bash -euo pipefail`.
    Bash,
    /// `sh -eu`.
    Sh,
}
