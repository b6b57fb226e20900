//! What expressions read, known before they are evaluated.

use std::fmt;

use crate::{
    few::{FewMap, FewSet},
    ids::StepId,
};

/// What a template or expression reads, found when the file was checked.
#[derive(Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold together")]
pub struct Uses {
    /// Steps whose outputs or state it reads.
    pub steps: FewSet<StepId>,
    /// Which of their outputs.
    pub outputs: FewMap<StepId, Names>,
    /// Which inputs it reads.
    pub inputs: Names,
    /// Which variables it reads.
    pub env: Names,
    /// Which fields it reads of the event that started the run.
    pub trigger: Names,
    /// Whether it reads files, by a function or as a file value.
    pub files: bool,
    /// The artifacts that it asks for by a constant reference.
    pub artifacts: FewSet<String>,
    /// Whether it reads `item` or `index`, so that only a child of a fan-out can evaluate it.
    pub item: bool,
    /// Whether it calls `failure()` or `always()`, so that a failure above does not block its step.
    pub handles_failure: bool,
    /// Whether it reads what an agent wrote, or what a step made of that: a path in it must stay in the workspace. Known of the values of
    /// scripts and of a step's input files; elsewhere every path must stay there.
    pub tainted: bool,
}

/// Without what it does not read.
impl fmt::Debug for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, outputs, inputs, env, trigger, files, artifacts, item, handles_failure, tainted } = self;
        let mut shown = f.debug_struct("Uses");
        shown.field("steps", steps);
        if !outputs.is_empty() {
            shown.field("outputs", outputs);
        }
        for (name, names) in [("inputs", inputs), ("env", env), ("trigger", trigger)] {
            if !names.is_empty() {
                shown.field(name, names);
            }
        }
        if !artifacts.is_empty() {
            shown.field("artifacts", artifacts);
        }
        shown.field("files", files).field("item", item).field("handles_failure", handles_failure);
        shown.field("tainted", tainted).finish()
    }
}

impl Uses {
    /// And what another one uses.
    pub fn extend(&mut self, other: &Self) {
        self.steps.extend(other.steps.iter().cloned());
        for (step, names) in other.outputs.iter() {
            self.outputs.or_default(step.clone()).extend(names);
        }
        self.inputs.extend(&other.inputs);
        self.env.extend(&other.env);
        self.trigger.extend(&other.trigger);
        self.files |= other.files;
        self.artifacts.extend(other.artifacts.iter().cloned());
        self.item |= other.item;
        self.handles_failure |= other.handles_failure;
        self.tainted |= other.tainted;
    }
}

/// Which of several named values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// These alone.
    These(FewSet<String>),
    /// Any of them: the name is not known before.
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::These(FewSet::default())
    }
}

impl Names {
    /// Whether none is read.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::These(names) if names.is_empty())
    }

    /// Whether this one is read.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::These(names) => names.contains(name),
            Self::All => true,
        }
    }

    /// And these.
    pub fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::These(names), Self::These(more)) => names.extend(more.iter().cloned()),
            _ => *self = Self::All,
        }
    }
}
