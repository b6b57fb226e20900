//! What the workflow says for all steps of a type is put into the steps that do not say it themselves.

use std::collections::BTreeSet;

use crate::{
    check::report::Report,
    yaml::{Content, Entry, Limits, Node},
};

/// Puts the defaults into the steps. What they stand for is limited as what aliases stand for is.
pub(crate) fn apply(root: &mut Node, limits: Limits, report: &mut Report) {
    let Content::Map(fields) = &mut root.content else { return };
    let Some(position) = fields.iter().position(|entry| entry.key.text == "defaults") else { return };
    let defaults = fields.remove(position);
    let mut budget = Budget { values: limits.values, bytes: limits.alias_bytes };
    let mut needed = BTreeSet::new();
    for list in lists_of(fields) {
        let Content::List(steps) = &mut list.content else { continue };
        for step in steps {
            let name = step.get("type").and_then(Node::text);
            let Some(position) =
                name.and_then(|name| defaults.value.entries().iter().position(|entry| entry.key.text == name))
            else {
                continue;
            };
            needed.insert(position);
            let of_type = &defaults.value.entries()[position].value;
            if !add(step, of_type.entries(), &mut budget) {
                let message = "the defaults stand for too much in the steps that get them";
                let help = "write what is large in the steps that need it".to_owned();
                report.error("RT-0004", defaults.key.span.clone(), message, help);
                return;
            }
        }
    }
    for (position, entry) in defaults.value.entries().iter().enumerate() {
        if !needed.contains(&position) {
            let message = format!("no step of type `{}` gets these defaults", entry.key.text);
            report.warning("RT-0069", entry.key.span.clone(), message, "remove them");
        }
    }
}

/// The lists of steps: the workflow's own, and those of its step types.
fn lists_of(fields: &mut [Entry]) -> Vec<&mut Node> {
    let mut lists = Vec::new();
    for Entry { key, value } in fields {
        if matches!(key.text.as_str(), "steps" | "on_failure" | "finally") {
            lists.push(value);
        } else if let (Content::Map(types), "step_types") = (&mut value.content, key.text.as_str()) {
            for step_type in types {
                if let Content::Map(fields) = &mut step_type.value.content {
                    lists.extend(lists_of(fields));
                }
            }
        }
    }
    lists
}

/// Adds the fields that a step does not have, and the variables that its environment does not have. False where the budget is spent.
fn add(step: &mut Node, defaults: &[Entry], budget: &mut Budget) -> bool {
    let Content::Map(fields) = &mut step.content else { return true };
    for default in defaults {
        let name = default.key.text.as_str();
        let own = fields.iter_mut().find(|field| field.key.text == name);
        match own.map(|own| &mut own.value.content) {
            None => {
                if !budget.spend(default) {
                    return false;
                }
                fields.push(default.clone());
            }
            Some(Content::Map(variables)) if name == "environment" => {
                for variable in default.value.entries() {
                    if variables.iter().all(|own| own.key.text != variable.key.text) {
                        if !budget.spend(variable) {
                            return false;
                        }
                        variables.push(variable.clone());
                    }
                }
            }
            Some(_) => {}
        }
    }
    true
}

/// What copies may still hold.
struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, entry: &Entry) -> bool {
        self.spend_on(&entry.value)
    }

    fn spend_on(&mut self, node: &Node) -> bool {
        let Some(values) = self.values.checked_sub(1) else { return false };
        self.values = values;
        match &node.content {
            Content::Scalar(scalar) => match self.bytes.checked_sub(scalar.text.len()) {
                Some(bytes) => {
                    self.bytes = bytes;
                    true
                }
                None => false,
            },
            Content::List(items) => items.iter().all(|item| self.spend_on(item)),
            Content::Map(entries) => entries.iter().all(|entry| self.spend(entry)),
        }
    }
}
