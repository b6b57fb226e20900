//! What is known of values and conditions before anything runs.

use ratchet_core::workflow::{Action, Expression, OnFailure, Place, Step, ValueType};

use super::Lowering;
use crate::{
    check::{kinds::Kind, references::Context, truth, values::described},
    yaml::Node,
};

/// More steps than this are not named one by one.
const NAMED_MAX: usize = 5;
/// Of more assertions than this nobody asks what is never reached.
const FAILING_MAX: usize = 10;

impl<'tree> Lowering<'_, 'tree> {
    /// A `when` is not always false.
    pub(super) fn check_when(&mut self, node: &Node, when: &Expression, context: Context<'tree>) {
        if let Some(truth) = truth::of(&when.code, self.resolver.symbols, context).filter(|truth| !truth.holds) {
            let message = "this step never runs: its `when` is always false";
            let help = truth.reason.unwrap_or_else(|| "remove the step, or say when it runs".to_owned());
            self.report().warning("RT-0062", node.head(), message, help);
        }
    }

    /// What stands under `foreach` gives a list.
    pub(super) fn check_items(&mut self, node: &Node, items: &Expression, context: Context<'tree>) {
        let kind = truth::kind_of(&items.code, self.resolver.symbols, context);
        if let Some(kind) = kind.filter(|kind| *kind != Kind::List) {
            let message = format!("`foreach` needs a list, and this is {}", kind.described());
            let help = match kind {
                Kind::Text(_) => format!("make a list of it: `{} | lines`, or `… | split(',')`", items.source.trim()),
                Kind::File => "read the list from it: `file_content(…) | lines`".to_owned(),
                _ => "write an expression that gives a list".to_owned(),
            };
            self.report().error("RT-0044", node.head(), message, help);
        }
    }

    /// Whether what an expression gives can be of the declared type at all.
    pub(super) fn check_type(
        &mut self,
        node: &Node,
        expression: &Expression,
        value_type: ValueType,
        context: Context<'tree>,
    ) {
        let kind = truth::kind_of(&expression.code, self.resolver.symbols, context);
        if let Some(kind) = kind.filter(|kind| !kind.fits(value_type)) {
            let message =
                format!("the value is {}, and the declared type is {}", kind.described(), described(value_type));
            let help = match (kind, value_type) {
                (Kind::List | Kind::Map, ValueType::String) => "write it as text: `… | json`",
                (Kind::File, _) => "read a value from it, as in `file_content(…)`, or declare the type `file`",
                _ => "declare the type that the value has",
            };
            self.report().error("RT-0044", node.head(), message, help.to_owned());
        }
    }

    /// Assertions that always fail, and what is never reached because of them.
    pub(super) fn check_assertions(&mut self, steps: &[Step]) {
        let mut failing = 0;
        for step in steps.iter().filter(|step| step.when.is_none()) {
            let Action::Assert(assert) = &step.action else { continue };
            let Some(position) = self.resolver.symbols.position(step.id.as_str()) else { continue };
            let context =
                Context { step: Some(position), item: step.foreach.is_some(), own_outputs: None, before_steps: false };
            let false_one = assert
                .conditions
                .iter()
                .filter_map(|condition| truth::of(&condition.expression.code, self.resolver.symbols, context))
                .find(|truth| !truth.holds);
            let Some(truth) = false_one else { continue };
            let node = self.resolver.symbols.steps[position].node;
            let at = node.get("condition").or_else(|| node.get("conditions")).map_or_else(|| node.head(), Node::head);
            let help = truth.reason.unwrap_or_else(|| "write a condition that can be true".to_owned());
            self.report().warning("RT-0062", at.clone(), "this assertion always fails", help);
            if step.on_failure != OnFailure::Fail || step.place != Place::Work || step.foreach.is_some() {
                continue;
            }
            failing += 1;
            let Some(reach) = self.resolver.reach.filter(|_| failing <= FAILING_MAX) else { continue };
            let unreached: Vec<&str> = steps
                .iter()
                .filter(|other| other.place == Place::Work && reach.comes_before(step.id.as_str(), other.id.as_str()))
                .filter(|other| !other.when.as_ref().is_some_and(|when| when.uses.handles_failure))
                .map(|other| other.id.as_str())
                .collect();
            if !unreached.is_empty() {
                let mut names: Vec<String> = unreached.iter().take(NAMED_MAX).map(|id| format!("`{id}`")).collect();
                if unreached.len() > NAMED_MAX {
                    names.push(format!("and {} more", unreached.len() - NAMED_MAX));
                }
                let message = format!("`{}` always fails, so these are never reached: {}", step.id, names.join(", "));
                let help = "put the condition right, or let the steps go on with `when: always()`";
                self.report().warning("RT-0063", at, message, help);
            }
        }
    }
}
