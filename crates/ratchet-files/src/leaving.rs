//! What an attempt leaves of its files, and what becomes of its outcome with it.

use std::{collections::BTreeSet, fmt::Display};

use ratchet_core::{
    ids::Digest,
    output::Output,
    step::{FailureClass, StepFailure},
};
use ratchet_engine::order::{AttemptOutcome, Order, OutputOrder, OutputOrderSource};
use ratchet_workspace::{Bounds, TreePath};

/// The code of an attempt whose output holds a secret.
const OUTPUT_SECRET: &str = "RT-0317";

/// What an attempt may leave, as its order says.
#[derive(Debug, Clone)]
pub struct Leaving {
    declared: BTreeSet<TreePath>,
    /// How much.
    pub bounds: Bounds,
}

impl Leaving {
    /// As the order says.
    pub fn of(order: &Order) -> Self {
        let file = |output: &OutputOrder| match &output.source {
            OutputOrderSource::File(path) => TreePath::new(path).ok(),
            OutputOrderSource::From { .. } => None,
        };
        let bounds = Bounds { bytes: order.disk_bytes_max.unwrap_or(u64::MAX), ..Bounds::NONE };
        Self { declared: order.outputs.iter().filter_map(file).collect(), bounds }
    }

    /// Whether anything is kept of what an attempt changed that ended so. Of one that was stopped nothing is; nor where a file of it holds a secret.
    pub fn is_kept_of(outcome: &AttemptOutcome) -> bool {
        match outcome {
            AttemptOutcome::Succeeded(_) => true,
            AttemptOutcome::Failed { failure, .. } => failure.code.as_deref() != Some(OUTPUT_SECRET),
            AttemptOutcome::Stopped => false,
        }
    }

    /// The files that an attempt gives as outputs, with those of which only its outcome says which they are.
    pub fn declared(self, outcome: &AttemptOutcome) -> BTreeSet<TreePath> {
        let mut declared = self.declared;
        if let AttemptOutcome::Succeeded(result) = outcome {
            declared.extend(result.outputs.values().filter_map(|output| match output {
                Output::File(file) => TreePath::new(&file.path).ok(),
                _ => None,
            }));
        }
        declared
    }
}

/// An outcome with the tree that the attempt left, which began with `base`; `taken` is how long it took to find out, in milliseconds. A success of which that cannot be kept is none.
pub fn with_tree(
    outcome: AttemptOutcome,
    base: &Digest,
    left: Result<Digest, StepFailure>,
    taken: u64,
) -> AttemptOutcome {
    match (outcome, left) {
        (AttemptOutcome::Succeeded(mut result), Ok(left)) => {
            result.usage.capture_ms += taken;
            result.tree = (left != *base).then_some(left);
            AttemptOutcome::Succeeded(result)
        }
        (AttemptOutcome::Failed { mut failure, mut usage }, Ok(left)) => {
            usage.capture_ms += taken;
            failure.tree = (left != *base).then_some(left);
            AttemptOutcome::Failed { failure, usage }
        }
        (AttemptOutcome::Succeeded(result), Err(failure)) => AttemptOutcome::Failed { failure, usage: result.usage },
        (outcome @ (AttemptOutcome::Failed { .. } | AttemptOutcome::Stopped), _) => outcome,
    }
}

/// Where an attempt cannot begin because its files cannot be shown to it: why, the code of that, and what to do.
pub fn no_files(error: &dyn Display, code: &str, hint: impl Into<String>) -> StepFailure {
    let message = format!("the step's files cannot be made ready: {error}");
    StepFailure::new(FailureClass::Launch, message).with_code(code).with_hint(hint)
}

/// Where what an attempt changed cannot be kept: why, the code of that, and what to do.
pub fn not_captured(error: &dyn Display, code: &str, hint: impl Into<String>) -> StepFailure {
    let message = format!("what the step changed cannot be kept: {error}");
    StepFailure::new(FailureClass::Output, message).with_code(code).with_hint(hint)
}
