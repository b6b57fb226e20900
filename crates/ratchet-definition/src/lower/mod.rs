//! A tree whose structure was checked becomes a [`Workflow`], and what its texts read is checked on the way.
//!
//! What is missing or wrong was reported or is reported here; then a value is left out, and whoever compiles throws the workflow away.

mod action;
mod agent;
mod ahead;
mod fields;
mod limits;
mod nested;
mod practice;
mod resources;
mod schedule;
mod secrets;
mod step;
mod taint;
mod texts;
mod triggers;
mod types;
mod webhook;
mod workflow;
mod workspace;

pub(crate) use secrets::reads_secret;
pub(crate) use webhook::check as check_url;

use std::{collections::BTreeMap, ops::Range};

use ratchet_core::{
    graph::Graph,
    ids::StepId,
    workflow::{CachePolicy, InputDeclaration, OutputDeclaration, SecretPart, Uses, Workflow},
};

use crate::{
    check::{reach::Reach, references::Resolver, report::Report, symbols::Symbols},
    link::Taints,
    parsed::Trust,
    yaml::Node,
};

/// Lowers a tree. `graph` is `None` where the steps make none: then there is no workflow, but all texts are looked at.
pub(crate) fn lower<'tree>(
    root: &'tree Node,
    file: &'tree str,
    symbols: &'tree Symbols<'tree>,
    graph: Option<&'tree Graph>,
    taints: &Taints,
    report: &mut Report,
) -> Option<Workflow> {
    let reach = graph.map(Reach::of);
    Lowering::new(file, symbols, reach.as_ref(), report).workflow(root, graph, taints)
}

/// What a step type takes and gives that is a program.
pub(crate) fn exec_interface<'tree>(
    node: &'tree Node,
    file: &'tree str,
    symbols: &'tree Symbols<'tree>,
    report: &mut Report,
) -> (Vec<InputDeclaration>, Vec<OutputDeclaration>) {
    Lowering::new(file, symbols, None, report).exec_interface(node)
}

/// What is needed to lower a part of the tree.
struct Lowering<'check, 'tree> {
    file: &'tree str,
    pub(super) resolver: Resolver<'check, 'tree>,
    /// What the workflow says of the cache for every step.
    cache: CachePolicy,
    cache_enabled: bool,
    /// What the workflow says of retries for every step.
    retry: Option<ratchet_core::retry::RetryPolicy>,
    /// The variables of the workflow that hold secrets.
    workflow_secrets: BTreeMap<String, Vec<SecretPart>>,
    /// Values that must not be an agent's. Which values are is known when all steps are.
    trusted: Vec<PendingTrust>,
    /// In how many ways the choices of the file's commands fall out.
    variants: usize,
    /// The artifacts that steps keep, with the step.
    artifacts: BTreeMap<&'tree str, &'tree str>,
}

/// A value that must not be an agent's.
struct PendingTrust {
    /// Where it stands in the file.
    span: Range<usize>,
    /// The step that it is in.
    step: StepId,
    uses: Uses,
    trust: Trust,
}

impl<'check, 'tree> Lowering<'check, 'tree> {
    fn new(
        file: &'tree str,
        symbols: &'tree Symbols<'tree>,
        reach: Option<&'check Reach<'tree>>,
        report: &'check mut Report,
    ) -> Self {
        Self {
            file,
            resolver: Resolver { symbols, reach, report, inputs_read: std::collections::BTreeSet::new() },
            cache: CachePolicy::default(),
            cache_enabled: true,
            retry: None,
            workflow_secrets: BTreeMap::new(),
            trusted: Vec::new(),
            variants: 0,
            artifacts: BTreeMap::new(),
        }
    }
}

impl Lowering<'_, '_> {
    fn report(&mut self) -> &mut Report {
        self.resolver.report
    }
}
