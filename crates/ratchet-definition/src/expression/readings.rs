//! What an expression or a template reads and calls, found in its syntax tree.

use std::{collections::BTreeSet, ops::Range};

use minijinja::machinery::{
    Span,
    ast::{BinOp, BinOpKind, Call, CallArg, CallType, Expr, Stmt},
};
use ratchet_core::{
    ids::StepId,
    workflow::{Names, Uses},
};

use super::vocabulary::{FILTERS, FUNCTIONS, TESTS, function};
use crate::{
    mistake::Mistake,
    nearest::Nearest,
    parsed::{Name, Reference, SCOPE_NAMES},
};

/// A path in the text, as far as it is one: `inputs.a`, `f(x).b[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Where it stands.
    pub(crate) span: Range<usize>,
    /// What it is called to people: the text, with the arguments of a call left out.
    pub(crate) label: String,
    /// How it is taken where it stands.
    pub(crate) stance: Stance,
    /// Whether it begins with a name that the text itself sets.
    pub(crate) local: bool,
}

/// How the place where a path stands takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    /// As it is.
    Plain,
    /// It may be undefined: under `default` and `is defined`.
    Tolerant,
    /// It is put together with other text by `~`.
    Concatenated,
    /// A slice is taken of it: `inputs.list[:2]`.
    Sliced,
}

impl Stance {
    fn tolerant(tolerant: bool) -> Self {
        if tolerant { Self::Tolerant } else { Self::Plain }
    }
}

/// What the syntax tree told.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Paths that begin with a name of the scope.
    pub(crate) references: Vec<Reference>,
    /// Every path, local ones and calls included.
    pub(crate) readings: Vec<Reading>,
    /// Whether a function that reads files is called.
    pub(crate) files: bool,
    /// The artifacts that are asked for by a constant reference.
    pub(crate) artifacts: BTreeSet<String>,
    /// Whether `failure()` or `always()` is called.
    pub(crate) handles_failure: bool,
    /// Names that nobody knows.
    pub(crate) mistakes: Vec<Mistake>,
}

impl Findings {
    /// What the text uses, as far as the text alone tells.
    pub(crate) fn uses(&self) -> Uses {
        let mut uses = Uses { files: self.files, handles_failure: self.handles_failure, ..Uses::default() };
        uses.artifacts = self.artifacts.iter().cloned().collect();
        let (mut inputs, mut env, mut trigger) = (Vec::new(), Vec::new(), Vec::new());
        // With each step the name that follows `outputs`, where the text goes on so.
        let mut steps: Vec<(&str, Option<Option<&str>>)> = Vec::new();
        for reference in &self.references {
            let mut names = reference.names.iter().map(|name| name.text.as_str());
            match names.next() {
                Some("inputs") => inputs.push(names.next()),
                Some("env") => env.push(names.next()),
                Some("trigger") => trigger.push(names.next()),
                Some("item" | "index") => uses.item = true,
                Some(root) if !SCOPE_NAMES.contains(&root) => steps.push(match names.next() {
                    Some("outputs") => (root, Some(names.next())),
                    Some(_) => (root, None),
                    None => (root, Some(None)),
                }),
                Some(_) | None => {}
            }
        }
        (uses.inputs, uses.env, uses.trigger) = (these(inputs), these(env), these(trigger));
        steps.sort_unstable();
        uses.steps = steps.iter().map(|(step, _)| StepId::new(*step)).collect();
        let outputs = |of: &[(&str, Option<Option<&str>>)]| {
            let read: Vec<Option<&str>> = of.iter().filter_map(|(_, output)| *output).collect();
            (!read.is_empty()).then(|| (StepId::new(of[0].0), these(read)))
        };
        uses.outputs = steps.chunk_by(|(one, _), (other, _)| one == other).filter_map(outputs).collect();
        uses
    }
}

/// The names that paths go on with; any, where a text does not say it.
fn these(names: Vec<Option<&str>>) -> Names {
    names.into_iter().map(|name| name.map(str::to_owned)).collect::<Option<_>>().map_or(Names::All, Names::These)
}

/// What an expression reads.
pub(crate) fn of_expression(source: &str, expression: &Expr<'_>) -> Findings {
    let mut walk = Walk::new(source);
    walk.expression(expression);
    walk.finish()
}

/// What a template reads.
pub(crate) fn of_template(source: &str, template: &Stmt<'_>) -> Findings {
    let mut walk = Walk::new(source);
    walk.statement(template);
    walk.finish()
}

/// The same as [`of_expression`] without the readings, which only whoever evaluates needs.
pub(crate) fn references_of_expression(source: &str, expression: &Expr<'_>) -> Findings {
    let mut walk = Walk { wants_readings: false, ..Walk::new(source) };
    walk.expression(expression);
    walk.finish()
}

/// The same as [`of_template`] without the readings.
pub(crate) fn references_of_template(source: &str, template: &Stmt<'_>) -> Findings {
    let mut walk = Walk { wants_readings: false, ..Walk::new(source) };
    walk.statement(template);
    walk.finish()
}

struct Walk<'text> {
    source: &'text str,
    locals: Vec<BTreeSet<String>>,
    found: Findings,
    nearest: Nearest,
    wants_readings: bool,
}

/// The text that a function is called with, where that is a constant.
fn constant_text<'call>(call: &'call Call<'_>) -> Option<(&'call str, Span)> {
    let Some(CallArg::Pos(Expr::Const(constant))) = call.args.first() else { return None };
    Some((constant.value.as_str()?, constant.span()))
}

fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

impl<'text> Walk<'text> {
    fn new(source: &'text str) -> Self {
        Self {
            source,
            locals: vec![BTreeSet::new()],
            found: Findings::default(),
            nearest: Nearest::default(),
            wants_readings: true,
        }
    }

    fn finish(mut self) -> Findings {
        self.found.references.sort_by_key(|reference| reference.names[0].span.start);
        self.found.readings.sort_by_key(|reading| reading.span.start);
        self.found.mistakes.sort_by_key(|mistake| mistake.span.start);
        self.found
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|names| names.contains(name))
    }

    /// Names that a statement sets: they are no references from here on.
    fn set(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(name) => {
                if let Some(names) = self.locals.last_mut() {
                    names.insert(name.id.to_owned());
                }
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.set(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.set(item)),
            _ => {}
        }
    }

    fn scoped(&mut self, work: impl FnOnce(&mut Self)) {
        self.locals.push(BTreeSet::new());
        work(self);
        self.locals.pop();
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                self.scoped(|walk| {
                    walk.set(&each.target);
                    walk.locals.last_mut().map(|names| names.insert("loop".to_owned()));
                    each.filter_expr.iter().for_each(|filter| walk.expression(filter));
                    walk.statements(&each.body);
                });
                self.scoped(|walk| walk.statements(&each.else_body));
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => self.scoped(|walk| {
                for (target, value) in &with.assignments {
                    walk.expression(value);
                    walk.set(target);
                }
                walk.statements(&with.body);
            }),
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.set(&set.target);
            }
            Stmt::SetBlock(set) => {
                self.scoped(|walk| walk.statements(&set.body));
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.set(&set.target);
            }
            Stmt::AutoEscape(escape) => {
                self.expression(&escape.enabled);
                self.statements(&escape.body);
            }
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter);
                self.scoped(|walk| walk.statements(&block.body));
            }
            Stmt::Do(statement) => self.call(&statement.call),
        }
    }

    fn expressions<'a, 'tree: 'a>(&mut self, expressions: impl IntoIterator<Item = &'a Expr<'tree>>) {
        for expression in expressions {
            self.expression(expression);
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) {
        match expression {
            Expr::Const(_) => {}
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_) => self.path(expression, Stance::Plain),
            Expr::Slice(slice) => {
                self.operand(&slice.expr, Stance::Sliced);
                self.expressions(slice.start.iter().chain(&slice.stop).chain(&slice.step));
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => {
                let BinOp { left, right, op } = &**operation;
                let stance = if matches!(op, BinOpKind::Concat) { Stance::Concatenated } else { Stance::Plain };
                self.operand(left, stance);
                self.operand(right, stance);
            }
            Expr::Compare(comparison) => {
                self.expression(&comparison.expr);
                self.expressions(comparison.ops.iter().map(|operation| &operation.expr));
            }
            Expr::IfExpr(choice) => {
                self.expressions([&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr));
            }
            Expr::Filter(filter) => {
                if !FILTERS.contains(&filter.name) {
                    self.unknown("RT-0104", "filter", filter.name, range(filter.span()), FILTERS);
                }
                if let Some(operand) = &filter.expr {
                    self.operand(operand, Stance::tolerant(matches!(filter.name, "default" | "d")));
                }
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                if !TESTS.contains(&test.name) && test.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    self.unknown("RT-0105", "test", test.name, range(test.span()), TESTS);
                }
                self.operand(&test.expr, Stance::tolerant(matches!(test.name, "defined" | "undefined")));
                self.arguments(&test.args);
            }
            Expr::List(list) => self.expressions(&list.items),
            Expr::Tuple(tuple) => self.expressions(&tuple.items),
            Expr::Map(map) => self.expressions(map.keys.iter().chain(&map.values)),
        }
    }

    fn operand(&mut self, operand: &Expr<'_>, stance: Stance) {
        match operand {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_) => self.path(operand, stance),
            _ => self.expression(operand),
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    /// A name, attribute, subscript or call: one reading as a whole, with more of them in its subscripts and arguments.
    fn path(&mut self, whole: &Expr<'_>, stance: Stance) {
        let mut names = Vec::new();
        let mut constant = true;
        let mut label_from = None;
        let mut at = whole;
        let (start, root, called) = loop {
            match at {
                Expr::GetAttr(attribute) => {
                    let end = attribute.span().end_offset as usize;
                    names.push(Some((attribute.name.to_owned(), end - attribute.name.len()..end)));
                    at = &attribute.expr;
                }
                Expr::GetItem(item) => {
                    let text = match &item.subscript_expr {
                        Expr::Const(key) => key.value.as_str().map(str::to_owned),
                        _ => None,
                    };
                    names.push(text.map(|text| (text, range(item.subscript_expr.span()))));
                    self.expression(&item.subscript_expr);
                    at = &item.expr;
                }
                Expr::Call(call) => {
                    let CallType::Function(name) = call.identify_call() else {
                        self.call(call);
                        return;
                    };
                    self.call(call);
                    label_from = Some((call.span().end_offset as usize, !call.args.is_empty()));
                    names.clear();
                    constant = false;
                    break (call.expr.span().start_offset as usize, name.to_owned(), true);
                }
                Expr::Var(name) => {
                    break (name.span().start_offset as usize, name.id.to_owned(), false);
                }
                other => {
                    self.expression(other);
                    return;
                }
            }
        };
        let local = self.is_local(&root) || (called && function(&root).is_none());
        if self.wants_readings {
            let span = start..whole.span().end_offset as usize;
            let label = match label_from {
                Some((end, arguments)) => {
                    let mark = if arguments { "(…)" } else { "()" };
                    format!("{root}{mark}{}", &self.source[end.min(span.end)..span.end])
                }
                None => self.source[span.clone()].to_owned(),
            };
            self.found.readings.push(Reading { span, label, stance, local });
        }
        if !constant || local {
            return;
        }
        let root_span = start..start + root.len();
        let rest = names.into_iter().rev().map_while(|name| name).map(|(text, span)| Name { text, span });
        let names = std::iter::once(Name { text: root, span: root_span }).chain(rest).collect();
        self.found.references.push(Reference { names });
    }

    fn call(&mut self, call: &Call<'_>) {
        match call.identify_call() {
            CallType::Function(name) if self.is_local(name) => {}
            CallType::Function(name) => {
                if let Some(function) = function(name) {
                    self.found.files |= function.reads_files;
                    if function.reads_files && !matches!(name, "artifact" | "hash") {
                        self.constant_path(call);
                    }
                    if name == "artifact"
                        && let Some((reference, _)) = constant_text(call)
                    {
                        self.found.artifacts.insert(reference.to_owned());
                    }
                    self.found.handles_failure |= function.handles_failure;
                } else {
                    let start = call.expr.span().start_offset as usize;
                    let known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
                    self.unknown("RT-0103", "function", name, start..start + name.len(), &known);
                }
            }
            CallType::Method(object, name) => {
                if !matches!(object, Expr::Var(variable) if variable.id == "loop") {
                    let end = call.expr.span().end_offset as usize;
                    let span = end - name.len()..end;
                    let help = if FILTERS.contains(&name) {
                        format!("write `… | {name}`")
                    } else {
                        "values have no methods: use a filter, as in `value | replace('a', 'b')`".to_owned()
                    };
                    let mistake = Mistake::error("RT-0106", format!("`.{name}()` is a method call"), span);
                    self.found.mistakes.push(mistake.with_help(help));
                }
                self.expression(object);
            }
            CallType::Object(object) => self.expression(object),
        }
        self.arguments(&call.args);
    }

    /// A path that stands in the text and leaves the workspace. `hash` takes texts that are no paths.
    fn constant_path(&mut self, call: &Call<'_>) {
        let Some((text, span)) = constant_text(call) else { return };
        if text.starts_with(['/', '~']) || text.split('/').any(|part| part == "..") {
            let mistake = Mistake::error("RT-0022", "this path leaves the workspace", range(span));
            let help = "write a path relative to the workspace's root, such as `./coverage.xml`";
            self.found.mistakes.push(mistake.with_help(help));
        }
    }

    fn unknown(&mut self, code: &'static str, kind: &str, name: &str, span: Range<usize>, known: &[&str]) {
        let mut mistake = Mistake::error(code, format!("there is no {kind} `{name}`"), span);
        mistake.help = match self.nearest.find(name, known.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => Some(format!("known: {}", known.join(", "))),
        };
        if name == "raw" {
            mistake = Mistake::error(
                "RT-0108",
                "`raw` means something at the end of braces in a command, and nowhere else",
                mistake.span,
            )
            .with_help("remove `| raw`: here a value is never taken for anything but text");
        }
        self.found.mistakes.push(mistake);
    }
}
