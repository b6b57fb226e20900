//! Templates and expressions compiled once for the whole process.
//!
//! Before it is compiled, every path in the code is put through a filter that refuses what is undefined (the template engine lets it pass in
//! comparisons) and notes what was read.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use minijinja::{
    Error, Expression, Value,
    machinery::{
        ast::{Expr, Stmt},
        parse_expr,
    },
};

use super::{engine, names::Names};
use crate::{
    expression::readings::{self, Findings, Stance},
    template,
};

/// Entries before everything is forgotten: more texts than the workflows that one process runs have.
const ENTRIES_MAX: usize = 8_192;

/// An expression, ready to be evaluated.
pub(super) struct CompiledExpression {
    expression: Expression<'static, 'static>,
    /// `a if b` without an `else` may give nothing.
    may_be_undefined: bool,
}

impl CompiledExpression {
    /// The value in a scope.
    pub(super) fn evaluate(&self, names: &Arc<Names>) -> Result<Value, Error> {
        let value = self.expression.eval(Value::from_dyn_object(Arc::clone(names)))?;
        if value.is_undefined() {
            if self.may_be_undefined {
                return Ok(Value::from(()));
            }
            return Err(super::Reason::undefined("the value").into());
        }
        Ok(value)
    }
}

/// A template, ready to be rendered.
pub(super) enum CompiledTemplate {
    /// One `{{ … }}` and nothing else.
    Value(CompiledExpression),
    /// Text with values in it.
    Segments(Vec<Segment>),
    /// With statements: the guarded source.
    Statements(String),
}

/// A part of a template.
pub(super) enum Segment {
    /// As it stands.
    Text(String),
    /// A value.
    Value(CompiledExpression),
}

struct Cache<T> {
    entries: Mutex<HashMap<String, Arc<T>>>,
}

impl<T> Cache<T> {
    fn get(&self, source: &str, make: impl FnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        if let Some(known) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(source) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(source.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// The compiled form of an expression's code.
pub(super) fn expression(code: &str) -> Result<Arc<CompiledExpression>, Error> {
    static CACHE: LazyLock<Cache<CompiledExpression>> = LazyLock::new(|| Cache { entries: Mutex::default() });
    CACHE.get(code, || {
        let tree = parse_expr(code)?;
        compile(code, &readings::of_expression(code, &tree), &tree, 0, code.len())
    })
}

/// The compiled form of a template.
pub(super) fn template(source: &str) -> Result<Arc<CompiledTemplate>, Error> {
    static CACHE: LazyLock<Cache<CompiledTemplate>> = LazyLock::new(|| Cache { entries: Mutex::default() });
    CACHE.get(source, || compile_template(source))
}

fn compile_template(source: &str) -> Result<CompiledTemplate, Error> {
    let tree = template::tree(source)?;
    let findings = readings::of_template(source, &tree);
    let Stmt::Template(root) = &tree else {
        return Ok(CompiledTemplate::Statements(guarded(source, &findings, 0, source.len())));
    };
    let mut variables = template::variables(source).into_iter();
    let mut only_braces = false;
    let mut segments = Vec::with_capacity(root.children.len());
    for child in &root.children {
        segments.push(match child {
            Stmt::EmitRaw(text) => Segment::Text(text.raw.to_owned()),
            Stmt::EmitExpr(emit) if let Some((inside, braces)) = variables.next() => {
                only_braces = braces == (0..source.len());
                Segment::Value(compile(source, &findings, &emit.expr, inside.start, inside.end)?)
            }
            _ => return Ok(CompiledTemplate::Statements(guarded(source, &findings, 0, source.len()))),
        });
    }
    Ok(match segments.pop() {
        Some(Segment::Value(only)) if segments.is_empty() && only_braces => CompiledTemplate::Value(only),
        last => {
            segments.extend(last);
            CompiledTemplate::Segments(segments)
        }
    })
}

fn compile(
    source: &str,
    findings: &Findings,
    tree: &Expr<'_>,
    start: usize,
    end: usize,
) -> Result<CompiledExpression, Error> {
    let may_be_undefined = matches!(tree, Expr::IfExpr(choice) if choice.false_expr.is_none());
    let expression = engine::compile(guarded(source, findings, start, end))?;
    Ok(CompiledExpression { expression, may_be_undefined })
}

/// The code between two positions, every path in it put through the filter that guards it.
fn guarded(source: &str, findings: &Findings, start: usize, end: usize) -> String {
    let mut opens: Vec<usize> = Vec::new();
    let mut closes: Vec<(usize, usize, String)> = Vec::new();
    for reading in findings.readings.iter().filter(|reading| reading.span.start >= start && reading.span.end <= end) {
        opens.push(reading.span.start);
        // Of a filter's value no slice can be taken, unless it stands in parentheses.
        let outer = if reading.stance == Stance::Sliced {
            opens.push(reading.span.start);
            ")"
        } else {
            ""
        };
        let label = serde_json::Value::from(reading.label.as_str());
        let text = if reading.stance == Stance::Concatenated { "|string" } else { "" };
        let mark = format!(
            ")|{}({label},{},{}){text}{outer}",
            engine::READ,
            reading.stance == Stance::Tolerant,
            reading.local
        );
        closes.push((reading.span.end, reading.span.start, mark));
    }
    // Where several paths end at one place, the innermost, which begins last, is closed first.
    closes.sort_by_key(|(end, start, _)| (*end, std::cmp::Reverse(*start)));
    let mut code = String::with_capacity(end - start + closes.len() * 40);
    let mut at = start;
    let (mut open, mut close) = (opens.into_iter().peekable(), closes.into_iter().peekable());
    loop {
        let next = match (open.peek(), close.peek()) {
            (Some(opened), Some((closed, ..))) => *opened.min(closed),
            (Some(opened), None) => *opened,
            (None, Some((closed, ..))) => *closed,
            (None, None) => break,
        };
        code.push_str(&source[at..next]);
        at = next;
        while let Some((_, _, mark)) = close.next_if(|(closed, ..)| *closed == at) {
            code.push_str(&mark);
        }
        while open.next_if_eq(&at).is_some() {
            code.push('(');
        }
    }
    code.push_str(&source[at..end]);
    code
}
