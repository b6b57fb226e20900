//! The names that texts read: whether they are there, and whether they have a value in time.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    check::{
        kinds::{self, Kind},
        reach::Reach,
        report::Report,
        structure::shown,
        symbols::{DeclaredOutputs, Symbols},
    },
    parsed::{Name, Reference},
};

/// Where a text stands, which decides what it can read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'tree> {
    /// The position of the step; `None` for the outputs of the workflow, which are read when all is done.
    pub(crate) step: Option<usize>,
    /// Whether `item` and `index` are there.
    pub(crate) item: bool,
    /// For an output of a step: the step's outputs, and how many of them stand above it. With them come what the process gave.
    pub(crate) own_outputs: Option<(&'tree DeclaredOutputs<'tree>, usize)>,
    /// Whether no step has run yet, as for the variables of the workflow.
    pub(crate) before_steps: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning<'tree> {
    /// A step. `file` says whether it is a file that is read.
    Step { id: &'tree str, file: bool },
    /// An input or an output of the same step; `file` as above.
    Value { file: bool },
    /// Nothing that is known. It is reported.
    Unknown,
}

/// What a step's state has besides its outputs.
const STEP_FIELDS: &[&str] = &["outputs", "status", "exit_code", "duration", "attempts", "cached"];

/// What is known of a run.
const EXECUTION_FIELDS: &[&str] = &["id", "workflow", "version", "started_at"];

/// Names that stand for what a step's process gave.
const PROCESS_NAMES: &[&str] = &["stdout", "stderr", "exit_code", "response", "json", "outputs"];

/// Looks names up.
pub(crate) struct Resolver<'check, 'tree> {
    pub(crate) symbols: &'tree Symbols<'tree>,
    /// `None` where the steps make no graph: then their order is not looked at.
    pub(crate) reach: Option<&'check Reach<'tree>>,
    pub(crate) report: &'check mut Report,
    /// The inputs that something reads.
    pub(crate) inputs_read: BTreeSet<&'tree str>,
}

impl<'tree> Resolver<'_, 'tree> {
    /// What a path stands for. `at` gives the place in the file of a part of the text.
    pub(crate) fn resolve(
        &mut self,
        reference: &Reference,
        context: Context<'tree>,
        at: &dyn Fn(&Range<usize>) -> Range<usize>,
    ) -> Meaning<'tree> {
        let names = &reference.names;
        let root = names[0].text.as_str();
        self.check_members(reference, context, at);
        let root_at = || at(&names[0].span);
        let second = names.get(1);
        if let Some((outputs, above)) = context.own_outputs {
            if let Some(file) = outputs.is_file(root, above) {
                return Meaning::Value { file };
            }
            if root == "outputs"
                && let Some(name) = second
            {
                if let Some(file) = outputs.is_file(&name.text, above) {
                    return Meaning::Value { file };
                }
                let message = format!("no output `{}` stands above this one", shown(&name.text));
                let help = self.report.nearest.help(&name.text, outputs.names.iter().take(above).copied());
                self.report.error("RT-0036", at(&name.span), message, help);
                return Meaning::Unknown;
            }
        }
        match root {
            "inputs" => self.input(second, at),
            "env" if second.is_some_and(|name| self.symbols.secret_variables.contains(&name.text.as_str())) => {
                let message = "this variable holds a secret, which no template can read";
                let help = "read it in the process of a `shell` step, as a variable of its environment";
                self.report.error("RT-0039", root_at(), message, help.to_owned());
                Meaning::Unknown
            }
            // A variable that nobody set is empty, as in a shell.
            "env" | "trigger" | "loop" => Meaning::Value { file: false },
            "execution" => {
                if let Some(name) = second
                    && !EXECUTION_FIELDS.contains(&name.text.as_str())
                {
                    let help = self.report.nearest.help(&name.text, EXECUTION_FIELDS.iter().copied());
                    let message = format!("`execution` has no `{}`", shown(&name.text));
                    self.report.error("RT-0037", at(&name.span), message, help);
                }
                Meaning::Value { file: false }
            }
            "item" | "index" if context.item => Meaning::Value { file: false },
            "item" | "index" => {
                let message = format!("`{root}` is there only in a step with `foreach`");
                self.report.error("RT-0039", root_at(), message, None);
                Meaning::Unknown
            }
            "secrets" => {
                let message = "a secret can be read only in `environment` and in the `headers` of a webhook, as `{{ secrets.NAME }}` and nothing more";
                let help = "give it to the process: `secrets: [NAME]` in the step, and read `$NAME` there";
                self.report.error("RT-0039", root_at(), message, help.to_owned());
                Meaning::Unknown
            }
            _ if PROCESS_NAMES.contains(&root) => {
                if context.own_outputs.is_none() {
                    let message = format!("`{root}` is there only in the `from` of a step's own output");
                    let help = format!(
                        "declare an output of the step that gives it, as `outputs: {{x: {{type: string, from: {root}}}}}`, \
                         and read `<step>.outputs.x`"
                    );
                    self.report.error("RT-0039", root_at(), message, help);
                    return Meaning::Unknown;
                }
                Meaning::Value { file: false }
            }
            _ => self.step(reference, context, at),
        }
    }

    /// A name after a value that has none.
    fn check_members(
        &mut self,
        reference: &Reference,
        context: Context<'tree>,
        at: &dyn Fn(&Range<usize>) -> Range<usize>,
    ) {
        let path = reference.path();
        let length = kinds::length_of_value(self.symbols, path[0]);
        let Some((member, value)) = reference.names.get(length).zip(path.get(..length)) else { return };
        let Some(kind) = kinds::of_path(self.symbols, context, value).filter(|kind| !kind.has_members()) else {
            return;
        };
        let message = format!("`{}` is {}, and has no `{}`", value.join("."), kind.described(), shown(&member.text));
        let help = match kind {
            Kind::List => format!("name one of its values first: `{}[0].{}`", value.join("."), shown(&member.text)),
            Kind::File => {
                "read it first, with `file_content(…)`, `json_parse(file_content(…))` or `parse_coverage(…)`".to_owned()
            }
            Kind::Text(_) => format!("parse it first: `json_parse({}).{}`", value.join("."), shown(&member.text)),
            Kind::Number | Kind::Boolean | Kind::Map => "remove it".to_owned(),
        };
        self.report.error("RT-0044", at(&member.span), message, help);
    }

    fn input(&mut self, name: Option<&Name>, at: &dyn Fn(&Range<usize>) -> Range<usize>) -> Meaning<'tree> {
        let Some(Name { text: name, span }) = name else {
            self.inputs_read.extend(self.symbols.inputs.keys());
            return Meaning::Value { file: self.symbols.inputs.values().any(|input| input.is_file) };
        };
        if let Some((name, input)) = self.symbols.inputs.get_key_value(name.as_str()) {
            self.inputs_read.insert(name);
            return Meaning::Value { file: input.is_file };
        }
        let help = self.report.nearest.help(name, self.symbols.inputs.keys().copied());
        let help = help.unwrap_or_else(|| "declare it under `inputs` of the workflow".to_owned());
        self.report.error("RT-0035", at(span), format!("the workflow has no input `{}`", shown(name)), help);
        Meaning::Unknown
    }

    fn step(
        &mut self,
        reference: &Reference,
        context: Context<'tree>,
        at: &dyn Fn(&Range<usize>) -> Range<usize>,
    ) -> Meaning<'tree> {
        let names = &reference.names;
        let root = &names[0];
        let Some(position) = self.symbols.position(&root.text) else {
            self.unknown_name(&root.text, context, at(&root.span));
            return Meaning::Unknown;
        };
        let step = &self.symbols.steps[position];
        self.check_order(position, context, &|| at(&root.span));
        let mut file = false;
        if let Some(field) = names.get(1) {
            if !STEP_FIELDS.contains(&field.text.as_str()) {
                let message = format!("a step has no `{}`", shown(&field.text));
                let help = if step.has_output(&field.text) {
                    Some(format!("write `{}.outputs.{}`", step.id, field.text))
                } else {
                    self.report.nearest.help(&field.text, STEP_FIELDS.iter().copied())
                };
                self.report.error("RT-0037", at(&field.span), message, help);
            } else if field.text == "outputs"
                && let Some(output) = names.get(2)
            {
                // Of a step whose type nobody knows, nobody knows what it gives.
                if step.step_type.is_some() && !step.has_output(&output.text) {
                    let message = format!("the step `{}` has no output `{}`", step.id, shown(&output.text));
                    let help = self.report.nearest.help(&output.text, step.gives());
                    let help = help.unwrap_or_else(|| format!("declare it under `outputs` of `{}`", step.id));
                    self.report.error("RT-0036", at(&output.span), message, help);
                }
                file = step.gives_file(&output.text);
            }
        }
        Meaning::Step { id: step.id, file }
    }

    fn unknown_name(&mut self, name: &str, context: Context<'tree>, at: Range<usize>) {
        let message = format!("nothing is named `{}` here", shown(name));
        let help = if self.symbols.inputs.contains_key(name) {
            Some(format!("write `inputs.{name}`"))
        } else if self.report.nearest.is_spent() {
            None
        } else if let [giver] = self.symbols.givers(name)[..] {
            Some(format!("write `{}.outputs.{name}`", giver.id))
        } else {
            let own = context.own_outputs.map_or(&[][..], |(outputs, above)| &outputs.names[..above]).iter().copied();
            let known: Vec<&str> = self.symbols.ids().chain(own).chain(["inputs", "env", "execution"]).collect();
            self.report.nearest.help(name, known)
        };
        self.report.error("RT-0034", at, message, help);
    }

    /// Reports a step that may not be done when the reader of the context begins.
    pub(crate) fn check_order(&mut self, position: usize, context: Context<'tree>, at: &dyn Fn() -> Range<usize>) {
        let read = self.symbols.steps[position].id;
        if context.before_steps {
            let message = format!("`{read}` has not run yet when this is read");
            let help = "read it in a field of a step that comes after".to_owned();
            self.report.error("RT-0038", at(), message, help);
            return;
        }
        let Some(reader) = context.step.map(|step| &self.symbols.steps[step]) else { return };
        if reader.id == read {
            let message = format!("`{read}` reads itself before it has run");
            let help = "what a step gave is there in the steps after it, and in the `from` of its own outputs, as `stdout` and the like";
            self.report.error("RT-0038", at(), message, help.to_owned());
            return;
        }
        let Some(reach) = self.reach else { return };
        if !reach.comes_before(read, reader.id) {
            let message = format!("`{}` reads `{read}`, which may not be done by then", reader.id);
            let help = match reader.node.get("needs") {
                Some(_) if self.symbols.steps[position].place == reader.place => {
                    format!("add `{read}` to the `needs` of `{}`", reader.id)
                }
                _ => format!("move `{}` below `{read}`", reader.id),
            };
            self.report.error("RT-0038", at(), message, help);
        }
    }
}
