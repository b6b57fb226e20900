//! Templates, expressions and commands: parsed, their names looked up, their mistakes put in their places.

use std::{cell::OnceCell, ops::Range};

use ratchet_core::{
    ids::StepId,
    workflow::{Expression, Program, ScriptPart, Template, Uses},
};

use super::{Lowering, PendingTrust};
use crate::{
    check::references::{Context, Meaning},
    mistake::Mistake,
    parse,
    parsed::{Interpreter, Parsed, Reference, Trusted},
    yaml::{Kind, Node, Positions},
};

/// The most ways in which the choices of all commands of a file may fall out: each is parsed.
const VARIANTS_MAX: usize = 5_000;

impl<'tree> Lowering<'_, 'tree> {
    /// A template.
    pub(super) fn template(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Template> {
        self.template_of(node, &node.scalar()?.text, context)
    }

    /// A template that stands for a node, each character of it in the place of one of the node's text.
    pub(super) fn template_of(&mut self, node: &'tree Node, text: &str, context: Context<'tree>) -> Option<Template> {
        let Parsed { mut value, references, warnings, .. } = self.parsed(node, parse::template(text))?;
        self.settle(node, &references, warnings, context, &mut value.uses);
        Some(value)
    }

    /// An expression.
    pub(super) fn expression(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<Expression> {
        let scalar = node.scalar()?;
        let constant = node.to_json().to_string();
        let text = if scalar.kind == Kind::Text { scalar.text.as_str() } else { constant.as_str() };
        self.expression_of(node, text, context)
    }

    /// An expression that stands for a node without being its text.
    pub(super) fn expression_of(
        &mut self,
        node: &'tree Node,
        text: &str,
        context: Context<'tree>,
    ) -> Option<Expression> {
        let Parsed { mut value, references, warnings, .. } = self.parsed(node, parse::expression(text))?;
        self.settle(node, &references, warnings, context, &mut value.uses);
        Some(value)
    }

    /// A script for a shell, which may have been parsed before.
    pub(super) fn script(
        &mut self,
        node: &'tree Node,
        interpreter: Interpreter,
        parsed: Option<Result<Parsed<Program>, Vec<Mistake>>>,
        context: Context<'tree>,
    ) -> Option<Program> {
        let text = &node.scalar()?.text;
        if self.variants > VARIANTS_MAX && text.contains("{%") {
            let message = format!("the choices of the file's commands fall out in more than {VARIANTS_MAX} ways");
            self.report().error("RT-0102", node.head(), message, "choose with `when` on two steps".to_owned());
            return None;
        }
        let parsed = parsed.unwrap_or_else(|| parse::command(text, &interpreter));
        let Parsed { mut value, references, warnings, trusted } = self.parsed(node, parsed)?;
        match &mut value {
            Program::Script { parts, uses, .. } => {
                self.variants += variants(parts);
                self.settle(node, &references, warnings, context, uses);
                for part in parts {
                    match part {
                        ScriptPart::Value { expression, .. } => restrict(&mut expression.uses, uses),
                        ScriptPart::Choice(branches) => branches
                            .iter_mut()
                            .filter_map(|(condition, _)| condition.as_mut())
                            .for_each(|condition| restrict(&mut condition.uses, uses)),
                        ScriptPart::Code(_) => {}
                    }
                }
            }
            Program::Words(words) => {
                let mut uses = Uses::default();
                self.settle(node, &references, warnings, context, &mut uses);
                for word in words {
                    restrict(&mut word.uses, &uses);
                }
            }
        }
        self.trust(node, &value, trusted, context);
        Some(value)
    }

    /// Keeps the values that must not be an agent's for when it is known which values are.
    fn trust(&mut self, node: &Node, program: &Program, trusted: Vec<Trusted>, context: Context<'tree>) {
        let (Some(step), Program::Script { uses: whole, .. }) = (context.step, program) else { return };
        if trusted.is_empty() {
            return;
        }
        let step = StepId::new(self.resolver.symbols.steps[step].id);
        let positions = Positions::of(node, self.file);
        for Trusted { span, mut uses, trust } in trusted {
            restrict(&mut uses, whole);
            self.trusted.push(PendingTrust { span: positions.locate(&span), step: step.clone(), uses, trust });
        }
    }

    /// The words of a command that is a list.
    pub(super) fn words(&mut self, nodes: &'tree [Node], context: Context<'tree>) -> Vec<Template> {
        let scalars: Vec<(&Node, &str)> =
            nodes.iter().filter_map(|node| Some((node, node.scalar()?.text.as_str()))).collect();
        let texts: Vec<&str> = scalars.iter().map(|(_, text)| *text).collect();
        let mut words = Vec::with_capacity(texts.len());
        for ((node, _), parsed) in scalars.into_iter().zip(parse::command_words(&texts)) {
            if let Some(Parsed { mut value, references, warnings, .. }) = self.parsed(node, parsed) {
                self.settle(node, &references, warnings, context, &mut value.uses);
                words.push(value);
            }
        }
        words
    }

    pub(super) fn parsed<T>(&mut self, node: &Node, parsed: Result<Parsed<T>, Vec<Mistake>>) -> Option<Parsed<T>> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(mistakes) => {
                self.place(node, mistakes);
                None
            }
        }
    }

    /// Puts mistakes in a text in their places in the file.
    fn place(&mut self, node: &Node, mistakes: Vec<Mistake>) {
        if mistakes.is_empty() {
            return;
        }
        let positions = Positions::of(node, self.file);
        for mistake in mistakes {
            let span = positions.locate(&mistake.span);
            self.report().add(Mistake { span, ..mistake });
        }
    }

    /// Looks up what was read, and leaves in `uses` the steps among it.
    fn settle(
        &mut self,
        node: &'tree Node,
        references: &[Reference],
        warnings: Vec<Mistake>,
        context: Context<'tree>,
        uses: &mut Uses,
    ) {
        let positions: OnceCell<Positions> = OnceCell::new();
        let file = self.file;
        let at = |span: &Range<usize>| positions.get_or_init(|| Positions::of(node, file)).locate(span);
        let mut steps = Vec::with_capacity(references.len());
        for reference in references {
            match self.resolver.resolve(reference, context, &at) {
                Meaning::Step { id, file } => {
                    steps.push(StepId::new(id));
                    uses.files |= file;
                }
                Meaning::Value { file } => uses.files |= file,
                Meaning::Unknown => {}
            }
        }
        uses.steps = steps.into_iter().collect();
        let Uses { steps, outputs, .. } = uses;
        outputs.retain(|step| steps.contains(step));
        self.place(node, warnings);
    }
}

/// In how many ways the choices of a script fall out.
fn variants(parts: &[ScriptPart]) -> usize {
    let choices = parts.iter().filter_map(|part| match part {
        ScriptPart::Choice(branches) => Some(branches.len()),
        ScriptPart::Code(_) | ScriptPart::Value { .. } => None,
    });
    let ways: usize = choices.product();
    ways - 1
}

/// A part of a command reads no more than what all of it reads.
fn restrict(part: &mut Uses, whole: &Uses) {
    part.steps.retain(|step| whole.steps.contains(step));
    part.outputs.retain(|step| whole.steps.contains(step));
    part.files |= whole.files;
}
