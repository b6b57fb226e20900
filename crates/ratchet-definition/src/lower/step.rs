//! A step: the fields of every type.

use std::{collections::BTreeMap, ops::Range};

use ratchet_core::{
    cached::CacheScope,
    ids::StepId,
    retry::RetryPolicy,
    workflow::{
        CachePolicy, Expression, ForEach, OnFailure, OnLost, OutputSource, Place, Step, StepInputs, StepOutput,
        Template, Uses, ValueType,
    },
};

use super::{Lowering, ahead::Ahead, fields};
use crate::{
    check::{references::Context, symbols::DeclaredOutputs, values::value_type},
    template::variables,
    yaml::{Content, Entry, Kind, Node},
};

/// Fields that mean nothing in a step without `foreach`.
const FOREACH_FIELDS: &[&str] = &["max_parallel", "fail_fast", "tolerated_failures"];

impl<'tree> Lowering<'_, 'tree> {
    /// The step at a position. All of its texts are looked at, also where it comes to nothing.
    pub(super) fn step(&mut self, position: usize, ahead: &Ahead<'_>) -> Option<Step> {
        let symbols = self.resolver.symbols;
        let symbol = &symbols.steps[position];
        let (node, id, place) = (symbol.node, symbol.id, symbol.place);
        let outside = Context { step: Some(position), item: false, own_outputs: None, before_steps: false };
        let context = Context { item: symbol.fans_out, ..outside };

        let when = node.get("when").and_then(|when| self.when(when, context));
        let foreach = self.foreach(node, outside);
        let environment = self.environment(node, context);
        let secrets = self.secrets(node, context);
        let secret_files = self.secret_files(node);
        let working_directory = node.get("working_directory").and_then(|path| self.path(path, context));
        let cache = self.cache(node, context);
        let inputs = self.inputs(node, context);
        let outputs = self.outputs(node, context, &symbol.outputs);
        let on_lost = match node.get("on_lost").and_then(Node::text) {
            Some("pause") => OnLost::Pause,
            _ => OnLost::Rerun,
        };
        let on_failure = self.on_failure(node, place);
        let resources = self.resources(node, context);
        let action = self.action(node, context, ahead);
        self.check_retry(node);
        if node.get("type").and_then(Node::text) == Some("webhook") {
            self.check_webhook_outputs(node, &outputs);
        }
        Some(Step {
            id: StepId::new(id),
            name: fields::text(node, "name"),
            description: fields::text(node, "description"),
            place,
            when,
            foreach,
            environment,
            secrets,
            secret_files,
            working_directory,
            timeout: fields::duration(node, "timeout"),
            retry: fields::retry(node).or_else(|| self.retry.clone()).unwrap_or(RetryPolicy::ONCE),
            on_lost,
            on_failure,
            cache,
            inputs,
            outputs,
            resources,
            action: action?,
        })
    }

    fn when(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Expression> {
        let when = self.expression(node, context)?;
        self.check_when(node, &when, context);
        Some(when)
    }

    fn foreach(&mut self, of: &'tree Node, context: Context<'tree>) -> Option<ForEach> {
        let Some(node) = of.get("foreach") else {
            for entry in FOREACH_FIELDS.iter().filter_map(|field| of.entry(field)) {
                let message = format!("`{}` means nothing without `foreach`", entry.key.text);
                self.report().error("RT-0021", entry.key.span.clone(), message, None);
            }
            return None;
        };
        let items = match &node.content {
            Content::List(items) => {
                for item in items.iter().filter(|item| item.text().is_some_and(|text| text.contains("{{"))) {
                    let message = "a list under `foreach` holds constants, and this is a template";
                    let help = "write the whole list as an expression: foreach: \"[inputs.a, inputs.b]\"".to_owned();
                    self.report().error("RT-0021", item.head(), message, help);
                }
                self.expression_of(node, &node.to_json().to_string(), context)?
            }
            Content::Scalar(_) | Content::Map(_) => self.expression(node, context)?,
        };
        self.check_items(node, &items, context);
        Some(ForEach {
            items,
            max_parallel: fields::count(of, "max_parallel"),
            fail_fast: fields::boolean(of, "fail_fast").unwrap_or(false),
            tolerated_failures: fields::integer(of, "tolerated_failures")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
        })
    }

    /// The numbers of `retry.on` are what the step's type ends with.
    fn check_retry(&mut self, node: &Node) {
        let Some(on) = node.get("retry").and_then(|retry| retry.get("on")) else { return };
        let (range, what) = match node.get("type").and_then(Node::text) {
            Some("webhook") => (100..=599, "a status code of a reply is"),
            _ => (1..=255, "an exit code of a process is"),
        };
        for item in on.items().iter().filter(|item| item.to_json().as_i64().is_some_and(|code| !range.contains(&code)))
        {
            let message = format!("{what} from {} to {}", range.start(), range.end());
            self.report().error("RT-0016", item.head(), message, None);
        }
    }

    fn on_failure(&mut self, node: &Node, place: Place) -> OnFailure {
        match node.get("on_failure").map(|word| (word.text(), word)) {
            Some((Some("continue"), _)) => OnFailure::Continue,
            Some((Some(text @ ("warn" | "succeed")), word)) => {
                if node.get("type").and_then(Node::text) != Some("assert") {
                    let message = format!("`{text}` is for assertions: other steps fail, or the run continues");
                    self.report().error("RT-0021", word.head(), message, "write `continue`".to_owned());
                }
                if text == "succeed" && place != Place::Work && node.get("foreach").is_none() {
                    let message = "`succeed` ends the work, and this step runs after it";
                    self.report().error("RT-0021", word.head(), message, "write `warn` or `continue`".to_owned());
                }
                if text == "warn" { OnFailure::Warn } else { OnFailure::Succeed }
            }
            _ => OnFailure::Fail,
        }
    }

    fn cache(&mut self, node: &'tree Node, context: Context<'tree>) -> CachePolicy {
        let own = node.get("cache");
        let (key, inner) = (node.get("cache_key"), own.and_then(|cache| cache.get("key")));
        if let (Some(_), Some(inner)) = (key, inner) {
            let message = "`cache_key` and the `key` of `cache` are the same";
            self.report().error("RT-0021", inner.head(), message, "remove one of the two".to_owned());
        }
        let asked = fields::boolean(node, "use_cache").unwrap_or(key.is_some() || own.is_some());
        CachePolicy {
            enabled: asked && self.cache_enabled,
            key: key.or(inner).and_then(|key| self.template(key, context)),
            ttl: own.and_then(|cache| fields::duration(cache, "ttl")).or(self.cache.ttl),
            version: own.and_then(|cache| fields::text(cache, "version")).or_else(|| self.cache.version.clone()),
            scope: match own.and_then(|cache| fields::text(cache, "scope")).as_deref() {
                Some("shared") => CacheScope::Shared,
                _ => CacheScope::Workflow,
            },
        }
    }

    fn inputs(&mut self, of: &'tree Node, context: Context<'tree>) -> StepInputs {
        if let Some(named) = of.get("inputs").filter(|inputs| matches!(inputs.content, Content::Map(_))) {
            return StepInputs::Named(self.named_inputs(of, named, context));
        }
        let files = of.get("inputs").map(Node::items).unwrap_or_default();
        StepInputs::Files(files.iter().filter_map(|file| self.file_pattern(file, context)).collect())
    }

    /// Values by name: only what runs another workflow, or a program of its own protocol, has somebody to give them to.
    fn named_inputs(
        &mut self,
        of: &'tree Node,
        named: &'tree Node,
        context: Context<'tree>,
    ) -> BTreeMap<String, Template> {
        if let Some(kind @ ("shell" | "claude_code" | "assert" | "template")) = of.get("type").and_then(Node::text) {
            let message =
                format!("the `inputs` of a step of type `{kind}` are files: nobody would read values by name");
            let help = match kind {
                "shell" => "write the files as a list; values go into `environment`, or into the command as `{{ … }}`",
                _ => "write the files as a list; values go where they are used, as `{{ … }}`",
            };
            self.report().error("RT-0021", named.head(), message, help.to_owned());
        }
        named
            .entries()
            .iter()
            .filter_map(|entry| Some((entry.key.text.clone(), self.any_value(&entry.value, context)?)))
            .collect()
    }

    /// A value of any kind: a text is a template, and everything else is a constant.
    pub(super) fn any_value(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Template> {
        if node.text().is_some() {
            return self.template(node, context);
        }
        if let Some(at) = first_template(node) {
            let message = "a list or map here holds constants, and this is a template";
            let help = "write all of it as one expression: \"{{ [inputs.a, inputs.b] }}\"".to_owned();
            self.report().error("RT-0021", at, message, help);
            return None;
        }
        Some(Template { source: format!("{{{{ {} }}}}", constant(&node.to_json())), uses: Uses::default() })
    }

    fn file_pattern(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Template> {
        let text = node.text()?;
        if !text.contains("{{")
            && let Err(error) = globset::Glob::new(text)
        {
            let message = format!("this is neither a file nor a glob: {}", error.kind());
            self.report().error("RT-0045", node.head(), message, None);
        }
        self.template(node, context)
    }

    /// A path of the workspace. A template is looked at when it has its value.
    pub(super) fn path(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Template> {
        let text = literally(node.text()?);
        let leaves = text.starts_with('/') || text.starts_with('~') || text.split('/').any(|part| part == "..");
        if leaves || text.trim().is_empty() {
            let message = if leaves { "this path leaves the workspace" } else { "this path is empty" };
            let help = "write a path relative to the workspace's root, such as `./coverage.xml`".to_owned();
            self.report().error("RT-0022", node.head(), message, help);
        }
        self.template(node, context)
    }

    fn outputs(
        &mut self,
        of: &'tree Node,
        context: Context<'tree>,
        declared: &'tree DeclaredOutputs<'tree>,
    ) -> Vec<StepOutput> {
        let entries = of.get("outputs").map(Node::entries).unwrap_or_default();
        let mut outputs = Vec::with_capacity(entries.len());
        for (position, entry) in entries.iter().enumerate() {
            let own_outputs = Some((declared, position));
            outputs.extend(self.step_output(entry, context, Context { own_outputs, ..context }));
        }
        outputs
    }

    /// A run makes one version of a name: of two there would be no telling which one the name of the run means.
    fn check_artifact_name(&mut self, entry: &'tree Entry, context: Context<'tree>) {
        let Some(step) = context.step.map(|position| self.resolver.symbols.steps[position].id) else { return };
        match self.artifacts.get(entry.key.text.as_str()) {
            Some(other) if *other != step => {
                let name = &entry.key.text;
                let message = format!("the steps `{other}` and `{step}` both keep an artifact `{name}`");
                let help = format!(
                    "give one of the outputs another name; or keep neither, and declare an output `{name}` of the workflow, of type `artifact`, whose `from` says which of them it is"
                );
                self.report().error("RT-0048", entry.key.span.clone(), message, help);
            }
            Some(_) => {}
            None => {
                self.artifacts.insert(&entry.key.text, step);
            }
        }
    }

    fn step_output(&mut self, entry: &'tree Entry, outer: Context<'tree>, inner: Context<'tree>) -> Option<StepOutput> {
        let (name, node) = (entry.key.text.clone(), &entry.value);
        if node.text().is_some() {
            let source = OutputSource::File(self.path(node, outer)?);
            return Some(StepOutput { name, source, description: None, artifact: false });
        }
        if node.scalar().is_some_and(|scalar| scalar.kind == Kind::Null) {
            return None;
        }
        let source = match (node.get("path"), node.get("from")) {
            (Some(path), None) => {
                if let Some(kind) = node.entry("type").filter(|kind| !is_file(kind.value.text())) {
                    let message = "a `path` is a file, whatever the `type` says";
                    let help = "remove the `type`, or read a value from the file with `from`".to_owned();
                    self.report().error("RT-0021", kind.key.span.clone(), message, help);
                }
                OutputSource::File(self.path(path, outer)?)
            }
            (None, Some(from)) => {
                let expression = self.expression(from, inner);
                let Some(kind) = node.get("type") else {
                    let message = "an output with `from` needs a field `type`";
                    let help = "write the type that the value has, such as `type: string`".to_owned();
                    self.report().error("RT-0011", node.head(), message, help);
                    return None;
                };
                let expression = expression?;
                let value_type = kind.text().and_then(value_type).unwrap_or(ValueType::String);
                self.check_type(from, &expression, value_type, inner);
                OutputSource::From { expression, value_type }
            }
            (Some(_), Some(from)) => {
                let message = "an output has a `path` or a `from`, not both";
                self.report().error("RT-0021", from.head(), message, "remove one of the two".to_owned());
                return None;
            }
            (None, None) => {
                let message = format!("nothing says where the output `{name}` comes from");
                let help = "write `from: stdout`, or a `path`".to_owned();
                self.report().error("RT-0011", entry.key.span.clone(), message, help);
                return None;
            }
        };
        let artifact = fields::boolean(node, "artifact")
            .unwrap_or_else(|| node.get("type").and_then(Node::text) == Some("artifact"));
        if let (Some(asked), OutputSource::From { value_type, .. }) = (node.entry("artifact"), &source)
            && artifact
            && !matches!(value_type, ValueType::File | ValueType::Artifact)
        {
            let message = "only a file is kept as an artifact, and this output is a value";
            let help = "write `path` and the file in place of `from` and `type`, or remove `artifact`".to_owned();
            self.report().error("RT-0021", asked.key.span.clone(), message, help);
        }
        if artifact {
            self.check_artifact_name(entry, outer);
        }
        Some(StepOutput { name, source, description: fields::text(node, "description"), artifact })
    }
}

/// The text of a template with a letter in place of each value.
fn literally(text: &str) -> String {
    let mut literal = text.to_owned();
    for (_, braces) in variables(text).into_iter().rev() {
        literal.replace_range(braces, "x");
    }
    literal
}

/// Where a text with a template in it stands within a list or map.
fn first_template(node: &Node) -> Option<Range<usize>> {
    match &node.content {
        Content::Scalar(_) => node.text().filter(|text| text.contains("{{")).map(|_| node.head()),
        Content::List(items) => items.iter().find_map(first_template),
        Content::Map(entries) => entries.iter().find_map(|entry| first_template(&entry.value)),
    }
}

/// A constant as an expression. Its strings are those of JSON; nothing has another name.
fn constant(value: &serde_json::Value) -> String {
    use serde_json::Value::{Array, Null, Object};
    match value {
        Null => "none".to_owned(),
        Array(items) => format!("[{}]", items.iter().map(constant).collect::<Vec<_>>().join(", ")),
        Object(members) => {
            let member = |(name, value)| format!("{}: {}", serde_json::Value::from(name), constant(value));
            format!("{{{}}}", members.iter().map(|(n, v)| member((n.as_str(), v))).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn is_file(kind: Option<&str>) -> bool {
    matches!(kind, Some("file" | "artifact"))
}
