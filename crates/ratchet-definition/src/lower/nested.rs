//! Steps that refer to something: to another workflow, or to a step type that the file declares.

use ratchet_core::workflow::{Action, InputDeclaration, OutputDeclaration};

use super::{Lowering, fields};
use crate::{
    check::{
        references::Context,
        structure::shown,
        truth,
        values::{described, is_of_type, value_type, violation},
    },
    coerce::coerce_text,
    link::{Interface, What},
    parse,
    yaml::{Content, Node},
};

/// Fields that mean nothing for a step that is a run of its own.
const NOT_OF_RUNS: &[&str] =
    &["outputs", "environment", "secrets", "working_directory", "on_lost", "cache_key", "use_cache", "cache"];
/// Fields of a step type that mean nothing for a program.
const NOT_OF_PROGRAMS: &[&str] = &["environment", "secrets", "on_failure", "finally", "finally_timeout"];

impl<'tree> Lowering<'_, 'tree> {
    /// What a step does whose type is none of the language's own, or runs another workflow.
    pub(super) fn referred(&mut self, name: &str, node: &'tree Node, context: Context<'tree>) -> Option<Action> {
        let symbol = &self.resolver.symbols.steps[context.step?];
        let interface = symbol.interface?;
        match interface.what {
            What::Run { .. } => self.refuse_fields(node, NOT_OF_RUNS, name),
            What::Exec(..) => self.refuse_fields(node, &["outputs"], name),
        }
        self.check_given(name, interface, node, context);
        Some(interface.action(name))
    }

    /// What a step hands over, against what is declared to take it.
    fn check_given(&mut self, name: &str, interface: &'tree Interface, node: &'tree Node, context: Context<'tree>) {
        let given = node.get("inputs");
        if let Some(list) = given.filter(|given| matches!(given.content, Content::List(_))) {
            let message = format!("a step of type `{name}` takes values by name, and this is a list");
            let help = "write a map: `inputs: {name: value}`".to_owned();
            self.report().error("RT-0021", list.head(), message, help);
            return;
        }
        let entries = given.map(Node::entries).unwrap_or_default();
        for entry in entries {
            let Some(declared) = interface.inputs.iter().find(|input| input.name == entry.key.text) else {
                let message = format!("a step of type `{name}` takes no input `{}`", shown(&entry.key.text));
                let known = interface.inputs.iter().map(|input| input.name.as_str());
                let help = self.report().nearest.help(&entry.key.text, known);
                self.report().error("RT-0095", entry.key.span.clone(), message, help);
                continue;
            };
            self.check_value(declared, &entry.value, context);
        }
        for input in interface.inputs.iter().filter(|input| input.required && input.default.is_none()) {
            if entries.iter().all(|entry| entry.key.text != input.name) {
                let message = format!("a step of type `{name}` needs the input `{}`", input.name);
                let value = described(input.value_type);
                let help = format!("write `inputs: {{{}: …}}`: it is {value}", input.name);
                let at = given.map_or_else(|| node.get("type").map_or_else(|| node.head(), Node::head), Node::head);
                self.report().error("RT-0096", at, message, help);
            }
        }
    }

    fn check_value(&mut self, declared: &InputDeclaration, node: &'tree Node, context: Context<'tree>) {
        let told = |what: &str| {
            format!("the input `{}` is {}, and this is {what}", declared.name, described(declared.value_type))
        };
        let Some(text) = node.text() else {
            let value = node.to_json();
            if !value.is_null() && !is_of_type(&value, declared.value_type) {
                let message = told(node.described());
                self.report().error("RT-0097", node.head(), message, None);
            } else if let Some(reason) = violation(&value, &declared.validation).filter(|_| !value.is_null()) {
                self.report().error("RT-0097", node.head(), format!("`{}`: {reason}", declared.name), None);
            }
            return;
        };
        if !text.contains("{{") && !text.contains("{%") {
            match coerce_text(declared.value_type, text) {
                Err(_) => self.report().error("RT-0097", node.head(), told("text that is none"), None),
                Ok(ratchet_core::output::Output::Json(value)) => {
                    if let Some(reason) = violation(&value, &declared.validation) {
                        let message = format!("`{}`: {reason}", declared.name);
                        self.report().error("RT-0097", node.head(), message, None);
                    }
                }
                Ok(_) => {}
            }
            return;
        }
        self.check_sensitive(declared, text, node);
        let inner = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
        let Some(inner) = inner.filter(|inner| !inner.contains("{{") && !inner.contains("{%")) else { return };
        let Ok(parsed) = parse::expression(inner.trim()) else { return };
        let kind = truth::kind_of(&parsed.value.code, self.resolver.symbols, context);
        if let Some(kind) = kind.filter(|kind| !kind.fits(declared.value_type)) {
            let message = told(kind.described());
            self.report().error("RT-0097", node.head(), message, None);
        }
    }

    /// A value that must not be seen goes only where it is not shown either.
    fn check_sensitive(&mut self, declared: &InputDeclaration, text: &str, node: &Node) {
        let Some(parsed) = parse::template(text).ok().filter(|_| !declared.sensitive) else { return };
        let inputs = &self.resolver.symbols.inputs;
        let sensitive = parsed.references.iter().find_map(|reference| match reference.path()[..] {
            ["inputs", name, ..] if inputs.get(name).is_some_and(|input| input.is_sensitive) => Some(name.to_owned()),
            _ => None,
        });
        if let Some(name) = sensitive {
            let message = format!("the input `{name}` must not be seen, and `{}` would show it", declared.name);
            let help = format!("add `sensitive: true` to `{}` where it is declared", declared.name);
            self.report().error("RT-0098", node.head(), message, help);
        }
    }

    /// What a step type takes and gives that is a program.
    pub(super) fn exec_interface(&mut self, node: &'tree Node) -> (Vec<InputDeclaration>, Vec<OutputDeclaration>) {
        for entry in NOT_OF_PROGRAMS.iter().filter_map(|field| node.entry(field)) {
            let message = format!("`{}` means nothing for a program", entry.key.text);
            let help = "remove it: a step says these for its own process".to_owned();
            self.report().error("RT-0021", entry.key.span.clone(), message, help);
        }
        let entries = |field: &str| node.get(field).map(Node::entries).unwrap_or_default();
        let inputs = entries("inputs").iter().filter_map(|entry| self.input(entry)).collect();
        let mut outputs = Vec::new();
        for entry in entries("outputs") {
            if let Some(from) = entry.value.entry("from") {
                let message = "what a program gives are fields of the object that it writes";
                let help = "remove `from`: the field has the name of the output".to_owned();
                self.report().error("RT-0021", from.key.span.clone(), message, help);
            }
            let value_type = entry.value.get("type").and_then(Node::text).and_then(value_type);
            outputs.extend(value_type.map(|value_type| OutputDeclaration {
                name: entry.key.text.clone(),
                value_type,
                description: fields::text(&entry.value, "description"),
                from: None,
            }));
        }
        (inputs, outputs)
    }
}
