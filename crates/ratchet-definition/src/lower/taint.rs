//! What an agent wrote, and what steps made of it: where that is known to go, and where it must not.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    ids::StepId,
    workflow::{Action, Names, Program, ScriptPart, Step, StepInputs, SubWorkflow, TextSource, TextTemplate, Uses},
};

use super::{Lowering, PendingTrust};
use crate::{link::Taints, parsed::Trust};

impl Lowering<'_, '_> {
    /// Marks what agents' words go into, and reports where they must not go.
    pub(super) fn taint(&mut self, steps: &mut [Step], taints: &Taints) {
        let tainted = Tainted::of(steps, &taints.inputs);
        if tainted.steps.is_empty() {
            return;
        }
        for step in steps {
            let id = step.id.clone();
            match &mut step.inputs {
                StepInputs::Files(files) => {
                    for file in files {
                        file.uses.tainted = tainted.is_read(&id, &file.uses);
                    }
                }
                StepInputs::Named(values) => {
                    let given = values.iter().filter(|(_, value)| tainted.is_read(&id, &value.uses));
                    let given: BTreeSet<String> = given.map(|(name, _)| name.clone()).collect();
                    if let Action::Workflow(run) = &mut step.action
                        && !given.is_empty()
                    {
                        self.give(&id, run, given, taints);
                    }
                }
            }
            if let Action::Shell(shell) = &mut step.action
                && let Program::Script { parts, .. } = &mut shell.program
            {
                for part in parts {
                    if let ScriptPart::Value { expression, .. } = part {
                        expression.uses.tainted = tainted.is_read(&id, &expression.uses);
                    }
                }
            }
        }
        for PendingTrust { span, step, uses, trust } in std::mem::take(&mut self.trusted) {
            if !tainted.is_read(&step, &uses) {
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

impl Lowering<'_, '_> {
    /// Gives a run what an agent wrote.
    fn give(&mut self, step: &StepId, run: &mut SubWorkflow, given: BTreeSet<String>, taints: &Taints) {
        let symbols = self.resolver.symbols;
        let node = symbols.position(step.as_str()).map(|position| symbols.steps[position].node);
        let names: Vec<String> = given.iter().map(|name| format!("`{name}`")).collect();
        let entry = node.and_then(|node| node.get("inputs")?.entry(given.first()?));
        match taints.given(run, given) {
            Ok(tainted) => *run = tainted,
            Err(unfit) => {
                let message = format!("what an agent wrote is given as {}: {}", names.join(", "), unfit.message);
                let at = entry.map_or(0..0, |entry| entry.value.head());
                let help = "inside the run it is an agent's word too: data, and neither code nor a host nor a free part of a path";
                self.report().error(unfit.code, at, message, unfit.help.unwrap_or_else(|| help.to_owned()));
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

/// Who has a say in which values.
struct Tainted<'a> {
    /// The agents' steps, and every step that reads of one of them.
    steps: BTreeSet<StepId>,
    /// The inputs of the workflow that hold an agent's words.
    inputs: &'a BTreeSet<String>,
    /// The steps whose items do.
    of_items: BTreeSet<StepId>,
}

impl<'a> Tainted<'a> {
    fn of(steps: &[Step], inputs: &'a BTreeSet<String>) -> Self {
        let mut tainted = Self { steps: tainted_steps(steps, inputs), inputs, of_items: BTreeSet::new() };
        let of_items = steps
            .iter()
            .filter(|step| step.foreach.as_ref().is_some_and(|foreach| tainted.is_read(&step.id, &foreach.items.uses)));
        tainted.of_items = of_items.map(|step| step.id.clone()).collect();
        tainted
    }

    /// Whether a text of a step reads what an agent wrote.
    fn is_read(&self, step: &StepId, uses: &Uses) -> bool {
        uses.steps.iter().any(|step| self.steps.contains(step))
            || reads(&uses.inputs, self.inputs)
            || (uses.item && self.of_items.contains(step))
    }
}

fn reads(names: &Names, inputs: &BTreeSet<String>) -> bool {
    inputs.iter().any(|input| names.contains(input))
}

/// The steps in which an agent has a say, and every step that reads of one of them.
fn tainted_steps(steps: &[Step], inputs: &BTreeSet<String>) -> BTreeSet<StepId> {
    let mut waiting: Vec<&StepId> = steps
        .iter()
        .filter(|step| asks_agent(step) || reads(&step.inputs_read(), inputs))
        .map(|step| &step.id)
        .collect();
    if waiting.is_empty() {
        return BTreeSet::new();
    }
    let mut readers: BTreeMap<StepId, Vec<&StepId>> = BTreeMap::new();
    for step in steps {
        for read in step.steps_read() {
            readers.entry(read).or_default().push(&step.id);
        }
        // Nobody knows yet what the file reads.
        if matches!(&step.action, Action::Template(TextTemplate { text: TextSource::File(_), .. })) {
            waiting.push(&step.id);
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
