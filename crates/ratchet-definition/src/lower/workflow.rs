//! The workflow itself: its inputs, its outputs and its variables.

use std::{ops::Range, time::Duration};

use ratchet_core::{
    few::FewMap,
    graph::Graph,
    workflow::{Expression, InputDeclaration, InputValidation, OutputDeclaration, Step, Template, ValueType, Workflow},
};
use regex::Regex;

use super::{Lowering, ahead::Ahead, fields, secrets::reads_secret};
use crate::{
    check::{
        references::Context,
        values::{described, is_of_type, value_type, violation},
    },
    command::variables,
    link::Taints,
    yaml::{Entry, Node},
};

/// How long `finally` may take where the file does not say.
const FINALLY_TIMEOUT: Duration = Duration::from_mins(1);

impl<'tree> Lowering<'_, 'tree> {
    pub(super) fn workflow(&mut self, root: &'tree Node, graph: Option<&Graph>, taints: &Taints) -> Option<Workflow> {
        let before = Context { step: None, item: false, own_outputs: None, before_steps: true };
        let after = Context { before_steps: false, ..before };
        let entries = |field: &str| root.get(field).map(Node::entries).unwrap_or_default();
        let inputs = entries("inputs").iter().filter_map(|entry| self.input(entry)).collect();
        let environment = self.environment(root, before);
        self.secrets_of_workflow(root, before);
        if let Some(cache) = root.get("cache") {
            self.cache_enabled = fields::boolean(cache, "enabled").unwrap_or(true);
            self.cache.ttl = fields::duration(cache, "ttl");
            self.cache.version = fields::text(cache, "version");
        }
        self.retry = fields::retry(root);
        let budget = self.budget(root);
        let concurrency = self.concurrency(root, before);
        let symbols = self.resolver.symbols;
        let ahead = Ahead::of(symbols);
        let mut steps: Vec<Step> =
            ahead.during(|| (0..symbols.steps.len()).filter_map(|position| self.step(position, &ahead)).collect());
        self.taint(&mut steps, taints);
        self.check_assertions(&steps);
        let outputs = entries("outputs").iter().filter_map(|entry| self.output(entry, after)).collect();
        let triggers = self.triggers(root);
        let workspace = self.workspace(root, before);
        if budget.is_none() {
            self.check_agents_of_triggers(root, &steps);
        }
        self.check_practice(root);
        Some(Workflow {
            name: fields::text(root, "name")?,
            version: fields::text(root, "version")?,
            description: fields::text(root, "description"),
            inputs,
            outputs,
            environment,
            secret_environment: self.workflow_secrets.keys().cloned().collect(),
            triggers,
            timeout: fields::duration(root, "timeout"),
            finally_timeout: fields::duration(root, "finally_timeout").unwrap_or(FINALLY_TIMEOUT),
            concurrency,
            budget,
            by_hand: Self::by_hand(root),
            artifacts: Self::artifacts(root),
            workspace: workspace.unwrap_or_default(),
            steps,
            graph: graph?.clone(),
        })
    }

    /// Variables of processes.
    pub(super) fn environment(&mut self, of: &'tree Node, context: Context<'tree>) -> FewMap<String, Template> {
        let entries = of.get("environment").map(Node::entries).unwrap_or_default();
        for entry in entries.iter().filter(|entry| variables::is_code(&entry.key.text)) {
            if entry.value.text().is_some_and(|text| text.contains("{{") || text.contains("{%")) {
                let name = &entry.key.text;
                let message = format!("a value cannot be put into `{name}`: what stands there may be run");
                let help = "write the text itself, or use a name of your own".to_owned();
                self.report().error("RT-0116", entry.value.head(), message, help);
            }
        }
        // What holds a secret is filled in where a process starts.
        entries
            .iter()
            .filter(|entry| !reads_secret(entry))
            .filter_map(|entry| Some((entry.key.text.clone(), self.template(&entry.value, context)?)))
            .collect()
    }

    pub(super) fn input(&mut self, entry: &'tree Entry) -> Option<InputDeclaration> {
        let node = &entry.value;
        let kind = node.get("type").and_then(Node::text).and_then(value_type)?;
        let validation = node.get("validation").map(|rules| self.validation(rules, kind)).unwrap_or_default();
        let default = node.get("default").map(|default| {
            let value = default.to_json();
            self.check_default(default, &value, kind, &validation);
            value
        });
        Some(InputDeclaration {
            name: entry.key.text.clone(),
            value_type: kind,
            required: fields::boolean(node, "required").unwrap_or(false),
            default: default.filter(|value| !value.is_null()),
            description: fields::text(node, "description"),
            validation,
            sensitive: fields::boolean(node, "sensitive").unwrap_or(false),
        })
    }

    fn check_default(&mut self, node: &Node, value: &serde_json::Value, kind: ValueType, validation: &InputValidation) {
        if node.is_null() {
            return;
        }
        if !is_of_type(value, kind) {
            let message = format!("the default is {}, and the input is {}", node.described(), described(kind));
            let quoted = node.scalar().map(|scalar| format!("put it in quotes: \"{}\"", scalar.text));
            let help = quoted.filter(|_| matches!(kind, ValueType::String | ValueType::File | ValueType::Artifact));
            self.report().error("RT-0040", node.head(), message, help);
        } else if let Some(reason) = violation(value, validation) {
            self.report().error("RT-0040", node.head(), format!("the default is no valid value: {reason}"), None);
        }
    }

    fn validation(&mut self, node: &'tree Node, kind: ValueType) -> InputValidation {
        let is_text = matches!(kind, ValueType::String | ValueType::File | ValueType::Artifact);
        let is_number = matches!(kind, ValueType::Number | ValueType::Integer);
        let mut wrong = |at: Range<usize>, message: String, help: &str| {
            self.report().error("RT-0042", at, message, (!help.is_empty()).then(|| help.to_owned()));
        };
        if let Some(pattern) = node.get("pattern") {
            if !is_text {
                wrong(pattern.head(), format!("a pattern is for text, and the input is {}", described(kind)), "");
            } else if let Err(error) = Regex::new(pattern.text().unwrap_or_default()) {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                wrong(pattern.head(), format!("this is no regular expression: {reason}"), "");
            }
        }
        let (min, max) = (fields::number(node, "min"), fields::number(node, "max"));
        for bound in ["min", "max"].into_iter().filter_map(|name| node.get(name)) {
            if !is_text && !is_number {
                let message = format!("`min` and `max` are for numbers and text, and the input is {}", described(kind));
                wrong(bound.head(), message, "");
            }
        }
        if let (Some(least), Some(most), Some(at)) = (min, max, node.get("min"))
            && least > most
        {
            wrong(at.head(), format!("nothing is at least {least} and at most {most}"), "");
        }
        let mut allowed = Vec::new();
        for item in node.get("enum").map(Node::items).unwrap_or_default() {
            let value = item.to_json();
            if is_of_type(&value, kind) {
                allowed.push(value);
            } else {
                let message = format!("this value is {}, and the input is {}", item.described(), described(kind));
                wrong(item.head(), message, "every value under `enum` is of the input's type");
            }
        }
        InputValidation { pattern: fields::text(node, "pattern"), min, max, allowed }
    }

    fn output(&mut self, entry: &'tree Entry, context: Context<'tree>) -> Option<OutputDeclaration> {
        let node = &entry.value;
        let declared = node.get("type").and_then(Node::text).and_then(value_type);
        let from = match node.get("from") {
            Some(from) => {
                let expression = self.expression(from, context)?;
                if let Some(declared) = declared {
                    self.check_type(from, &expression, declared, context);
                }
                Some(expression)
            }
            None if node.is_null() => None,
            None => self.output_of_this_name(entry, context),
        };
        Some(OutputDeclaration {
            name: entry.key.text.clone(),
            value_type: declared?,
            description: fields::text(node, "description"),
            from,
        })
    }

    /// The value of the only step output that has the name of the workflow's.
    fn output_of_this_name(&mut self, entry: &'tree Entry, context: Context<'tree>) -> Option<Expression> {
        let name = &entry.key.text;
        let givers: Vec<&str> = self.resolver.symbols.givers(name).iter().map(|step| step.id).collect();
        match givers[..] {
            [giver] => self.expression_of(&entry.value, &format!("{giver}.outputs.{name}"), context),
            [] => {
                let help = format!(
                    "add `from: <step>.outputs.<name>`, or declare an output `{name}` of a step; as it is, it is null"
                );
                self.report().warning(
                    "RT-0060",
                    entry.key.span.clone(),
                    format!("nothing sets the output `{name}`"),
                    help,
                );
                None
            }
            [first, second, ..] => {
                let message = format!("more than one step gives an output `{name}`: `{first}` and `{second}`");
                let help = format!("say which one: `from: {first}.outputs.{name}`");
                self.report().error("RT-0041", entry.key.span.clone(), message, help);
                None
            }
        }
    }
}
