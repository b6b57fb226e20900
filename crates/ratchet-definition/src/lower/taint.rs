//! What an agent wrote, and what steps made of it: where that is known to go, and where it must not.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    ids::StepId,
    workflow::{Action, Program, ScriptPart, Step, StepInputs, Uses},
};

use super::{Lowering, PendingTrust};
use crate::parsed::Trust;

impl Lowering<'_, '_> {
    /// Marks what agents' words go into, and reports where they must not go.
    pub(super) fn taint(&mut self, steps: &mut [Step]) {
        let tainted = tainted_steps(steps);
        if tainted.is_empty() {
            return;
        }
        let of_items: BTreeMap<StepId, bool> = steps
            .iter()
            .map(|step| {
                let items = step.foreach.as_ref().map(|foreach| &foreach.items.uses);
                (step.id.clone(), items.is_some_and(|items| !items.steps.is_disjoint(&tainted)))
            })
            .collect();
        let is_tainted = |step: &StepId, uses: &Uses| {
            !uses.steps.is_disjoint(&tainted) || (uses.item && of_items.get(step).copied().unwrap_or(false))
        };
        for step in steps {
            let id = step.id.clone();
            if let StepInputs::Files(files) = &mut step.inputs {
                for file in files {
                    file.uses.tainted = is_tainted(&id, &file.uses);
                }
            }
            if let Action::Shell(shell) = &mut step.action
                && let Program::Script { parts, .. } = &mut shell.program
            {
                for part in parts {
                    if let ScriptPart::Value { expression, .. } = part {
                        expression.uses.tainted = is_tainted(&id, &expression.uses);
                    }
                }
            }
        }
        for PendingTrust { span, step, uses, trust } in std::mem::take(&mut self.trusted) {
            if !is_tainted(&step, &uses) {
                continue;
            }
            match trust {
                Trust::Code => {
                    let message = "what an agent wrote cannot be `raw`: it would be run";
                    let help = "leave `| raw` out; the value arrives as data, whatever it holds".to_owned();
                    self.report().error("RT-0108", span, message, help);
                }
                Trust::Host => {
                    let message = "what an agent wrote cannot be a url: it would choose who is asked";
                    let help = "write scheme and host, and put the value into the path or the query".to_owned();
                    self.report().error("RT-0109", span, message, help);
                }
                Trust::Path => {
                    let message =
                        "what an agent wrote cannot be a part of this path: not all around it is literal text";
                    let help = "write a path with this value alone in it, as in > \"out/{{ … }}.txt\"".to_owned();
                    self.report().error("RT-0129", span, message, help);
                }
            }
        }
    }
}

/// Whether an agent has a say in what a step gives, be it in a run that the step is.
fn asks_agent(step: &Step) -> bool {
    match &step.action {
        Action::ClaudeCode(_) => true,
        Action::Workflow(sub) => sub.workflow.steps.iter().any(asks_agent),
        _ => false,
    }
}

/// The agents' steps, and every step that reads of one of them.
fn tainted_steps(steps: &[Step]) -> BTreeSet<StepId> {
    let mut readers: BTreeMap<StepId, Vec<&StepId>> = BTreeMap::new();
    let mut waiting: Vec<&StepId> = Vec::new();
    for step in steps {
        if asks_agent(step) {
            waiting.push(&step.id);
        }
    }
    if waiting.is_empty() {
        return BTreeSet::new();
    }
    for step in steps {
        for read in step.steps_read() {
            readers.entry(read).or_default().push(&step.id);
        }
    }
    let mut tainted = BTreeSet::new();
    while let Some(step) = waiting.pop() {
        if tainted.insert(step.clone()) {
            waiting.extend(readers.get(step).into_iter().flatten());
        }
    }
    tainted
}
