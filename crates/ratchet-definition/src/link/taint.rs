//! Runs of their own to which a step hands what an agent wrote: inside them it is an agent's word too.
//!
//! Which inputs of a run those are belongs to what the run follows, so that whoever reads its definition later finds the same.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use ratchet_core::{
    history::sha256_hex,
    ids::Digest,
    workflow::{SubWorkflow, Workflow},
};

use super::compile_within;
use crate::{diagnostic::Diagnostic, mistake::Severity, sources::Sources};

/// Why a run cannot be given an agent's words.
#[derive(Debug, Clone)]
pub(crate) struct Unfit {
    /// The code of what is wrong with it then.
    pub(crate) code: &'static str,
    /// What is wrong, and where.
    pub(crate) message: String,
    /// What to write there.
    pub(crate) help: Option<String>,
}

/// What became of definitions that are given an agent's words, by the digests of their texts: each is looked at once, however many ways lead to it.
pub(super) type Known = Rc<RefCell<BTreeMap<Digest, Result<Arc<Workflow>, Unfit>>>>;

/// Hands what an agent wrote to runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taints {
    /// The inputs of the workflow that is looked at which hold an agent's words.
    pub(crate) inputs: BTreeSet<String>,
    /// How many workflows run each other down to it.
    pub(super) depth: usize,
    pub(super) known: Known,
}

impl Taints {
    /// A run that is given an agent's words in these of its inputs.
    pub(crate) fn given(&self, run: &SubWorkflow, inputs: BTreeSet<String>) -> Result<SubWorkflow, Unfit> {
        let broken = |message: String| Unfit { code: "RT-0092", message, help: None };
        let mut sources = Sources::read(&run.definition.origin, &run.text).map_err(broken)?;
        sources.held.tainted = inputs;
        let text: Arc<str> = sources.text().into();
        let digest = Digest::new(sha256_hex(text.as_bytes()));
        let known = self.known.borrow().get(&digest).cloned();
        let workflow = known.unwrap_or_else(|| {
            let made = compile_within(&sources, self.depth, self.known.clone());
            let made = made.map(|compiled| Arc::new(compiled.workflow)).map_err(|wrong| unfit(&sources, wrong.all()));
            self.known.borrow_mut().insert(digest.clone(), made.clone());
            made
        })?;
        let mut given = run.clone();
        (given.definition.digest, given.text, given.workflow) = (digest, text, workflow);
        Ok(given)
    }
}

fn unfit(sources: &Sources, findings: &[Diagnostic]) -> Unfit {
    let Some(first) = findings.iter().find(|finding| finding.severity() == Severity::Error) else {
        return Unfit { code: "RT-0092", message: "nothing can be made of it".to_owned(), help: None };
    };
    let (line, column) = first.place();
    let message = match sources.held.entry {
        // A step type is told of with its place.
        Some(_) => first.message().to_owned(),
        None => format!("{}, at {}:{line}:{column}", first.message(), first.file()),
    };
    Unfit { code: first.code(), message, help: first.help().map(str::to_owned) }
}
