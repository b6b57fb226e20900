//! What a step does: the fields of its type.

use ratchet_core::workflow::{
    Action, Approval, Assert, Condition, Program, SecurityProfile, Shell, Template, TextSource, TextTemplate, Uses,
    Wait,
};

use super::{
    Lowering,
    ahead::{Ahead, script_of},
    fields,
};
use crate::{
    check::{effects, references::Context},
    duration::duration_or_seconds,
    yaml::{Node, Positions},
};

impl<'tree> Lowering<'_, 'tree> {
    pub(super) fn action(&mut self, node: &'tree Node, context: Context<'tree>, ahead: &Ahead<'_>) -> Option<Action> {
        match node.get("type")?.text()? {
            "shell" => self.shell(node, context, ahead).map(Action::Shell),
            "claude_code" => self.claude_code(node, context).map(|agent| Action::ClaudeCode(Box::new(agent))),
            "assert" => self.assert(node, context).map(Action::Assert),
            "template" => self.text_template(node, context).map(Action::Template),
            "webhook" => self.webhook(node, context).map(|webhook| Action::Webhook(Box::new(webhook))),
            "wait" => self.wait(node, context).map(Action::Wait),
            "approval" => self.approval(node, context).map(Action::Approval),
            name => self.referred(name, node, context),
        }
    }

    fn shell(&mut self, node: &'tree Node, context: Context<'tree>, ahead: &Ahead<'_>) -> Option<Shell> {
        let command = node.get("command")?;
        self.warn_of_effects(node, command);
        let program = match (command.text(), node.get("shell")) {
            (None, shell) => {
                if let Some(shell) = shell {
                    let message = "a command that is a list runs without a shell";
                    let help = "remove `shell`, or write the command as text".to_owned();
                    self.report().error("RT-0021", shell.head(), message, help);
                }
                Program::Words(self.words(command.items(), context))
            }
            (Some(script), Some(shell)) if !shell.items().is_empty() => self.other_program(command, script, shell)?,
            (Some(_), _) => {
                let (_, interpreter) = script_of(node)?;
                let parsed = context.step.and_then(|step| ahead.take(step));
                self.script(command, interpreter, parsed, context)?
            }
        };
        let allow_exit_codes = fields::exit_codes(node, "allow_exit_codes");
        Some(Shell { source: source_of(command), program, allow_exit_codes, security_profile: profile(node) })
    }

    /// A script for a program that is no shell. A value in it would be code there.
    fn other_program(&mut self, command: &Node, script: &str, shell: &Node) -> Option<Program> {
        for opening in ["{{", "{%", "{#"] {
            if let Some(at) = script.find(opening) {
                let message =
                    format!("a script for a program of your own cannot hold `{opening}`: it would become code");
                let help = "pass the value in `environment` and read it from there".to_owned();
                let at = Positions::of(command, self.file).locate(&(at..at + opening.len()));
                self.report().error("RT-0025", at, message, help);
                return None;
            }
        }
        let literal = |text: &str| Template { source: text.to_owned(), uses: Uses::default() };
        let mut words: Vec<Template> =
            shell.items().iter().filter_map(Node::scalar).map(|word| literal(&word.text)).collect();
        words.push(literal(script));
        Some(Program::Words(words))
    }

    pub(super) fn warn_of_effects(&mut self, node: &Node, command: &Node) {
        if node.get("on_lost").is_some() {
            return;
        }
        let found = if let Some(script) = command.text() {
            effects::find(script).map(|(words, at)| {
                let end = at + script[at..].find(char::is_whitespace).unwrap_or(script.len() - at);
                (words, Positions::of(command, self.file).locate(&(at..end)))
            })
        } else {
            let words: Vec<&str> = command.items().iter().filter_map(Node::text).collect();
            effects::of_words(&words).map(|words| (words, command.head()))
        };
        if let Some((words, at)) = found {
            let message = format!("`{words}` may be done twice: after a crash nobody knows whether it was done");
            let help = "add `on_lost: pause`, so that a person decides, or `on_lost: rerun` where twice does no harm";
            self.report().warning("RT-0061", at, message, help);
        }
    }

    fn assert(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Assert> {
        let message = node.get("message").and_then(|message| self.template(message, context));
        let conditions = match (node.get("condition"), node.get("conditions")) {
            (Some(condition), None) => {
                vec![Condition { expression: self.expression(condition, context)?, message: None }]
            }
            (None, Some(list)) => list.items().iter().filter_map(|item| self.condition(item, context)).collect(),
            (Some(_), Some(list)) => {
                let message = "an assertion has a `condition` or `conditions`, not both";
                self.report().error("RT-0021", list.head(), message, "move the condition into the list".to_owned());
                return None;
            }
            (None, None) => {
                let message = "a step of type `assert` needs a field `condition`";
                let help = "write what must be true, as in `condition: \"build.outputs.size < 100\"`".to_owned();
                self.report().error("RT-0011", node.head(), message, help);
                return None;
            }
        };
        Some(Assert { conditions, message })
    }

    fn condition(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Condition> {
        if node.scalar().is_some() {
            return Some(Condition { expression: self.expression(node, context)?, message: None });
        }
        let message = node.get("message").and_then(|message| self.template(message, context));
        Some(Condition { expression: self.expression(node.get("condition")?, context)?, message })
    }

    fn text_template(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<TextTemplate> {
        let output = node.get("output").and_then(|path| self.path(path, context));
        let text = match (node.get("template"), node.get("template_file")) {
            (Some(text), None) => TextSource::Inline(self.template(text, context)?),
            (None, Some(path)) => {
                let mut path = self.path(path, context)?;
                path.uses.files = true;
                TextSource::File(path)
            }
            (Some(_), Some(file)) => {
                let message = "a step of type `template` has a `template` or a `template_file`, not both";
                self.report().error("RT-0021", file.head(), message, "remove one of the two".to_owned());
                return None;
            }
            (None, None) => {
                let message = "a step of type `template` needs a field `template`";
                let help = "write the text that is filled in, or name its file: `template_file: notes.md`".to_owned();
                self.report().error("RT-0011", node.head(), message, help);
                return None;
            }
        };
        Some(TextTemplate { text, output })
    }

    fn wait(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Wait> {
        self.refuse_fields(node, &["timeout", "outputs", "on_lost"], "wait");
        let (time, is_span) = match (node.get("for"), node.get("until")) {
            (Some(span), None) => (span, true),
            (None, Some(moment)) => (moment, false),
            (Some(_), Some(moment)) => {
                let message = "a wait has a `for` or an `until`, not both";
                self.report().error("RT-0021", moment.head(), message, "remove one of the two".to_owned());
                return None;
            }
            (None, None) => {
                let message = "a step of type `wait` needs a field `for`";
                let help =
                    "write how long, as in `for: 15m`, or a moment, as in `until: 2026-03-01T09:00:00Z`".to_owned();
                self.report().error("RT-0011", node.head(), message, help);
                return None;
            }
        };
        let text = &time.scalar()?.text;
        let is_constant = !text.contains("{{");
        if is_constant && is_span && duration_or_seconds(text).is_none() {
            let help = "write seconds as a number, or a number and its unit: `90s`, `15m`, `1h30m`, `7d`".to_owned();
            self.report().error("RT-0014", time.head(), "`for` is not a duration of at most a year", help);
        }
        if is_constant && !is_span && text.trim().parse::<jiff::Timestamp>().is_err() {
            let help =
                "write it with its offset from UTC: `2026-03-01T09:00:00Z`, `2026-03-01T09:00:00+01:00`".to_owned();
            self.report().error("RT-0014", time.head(), "`until` is not a moment", help);
        }
        let time = self.template(time, context)?;
        Some(if is_span { Wait::For(time) } else { Wait::Until(time) })
    }

    fn approval(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Approval> {
        self.refuse_fields(node, &["outputs", "on_lost", "retry"], "approval");
        let approvers = node.get("approvers").map(Node::items).unwrap_or_default();
        let approvers = approvers.iter().filter_map(|approver| self.template(approver, context)).collect();
        Some(Approval { message: self.template(node.get("message")?, context)?, approvers })
    }

    /// Fields of every step that mean nothing for a type.
    pub(super) fn refuse_fields(&mut self, node: &Node, fields: &[&str], step_type: &str) {
        for entry in fields.iter().filter_map(|field| node.entry(field)) {
            let message = format!("`{}` means nothing for a step of type `{step_type}`", entry.key.text);
            self.report().error("RT-0021", entry.key.span.clone(), message, "remove it".to_owned());
        }
    }
}

/// A command as its author wrote it.
pub(super) fn source_of(command: &Node) -> String {
    let words = || command.items().iter().filter_map(Node::scalar).map(|scalar| scalar.text.as_str());
    command.text().map_or_else(|| words().collect::<Vec<_>>().join(" "), str::to_owned)
}

/// The profile that a step names.
pub(super) fn profile(node: &Node) -> Option<SecurityProfile> {
    node.get("security_profile").and_then(Node::text).and_then(SecurityProfile::of_word)
}
