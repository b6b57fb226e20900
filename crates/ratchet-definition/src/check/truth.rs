//! Conditions that are false whatever the run is given.

use minijinja::machinery::{
    ast::{BinOpKind, CompareOpKind, Expr, UnaryOpKind},
    parse_expr,
};
use minijinja::value::{Value, ValueKind};

use crate::check::{
    kinds::{self, Kind},
    references::Context,
    symbols::Symbols,
};

/// What a condition always is, and why, where there is more to say than that it is a constant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truth {
    /// True or false.
    pub(crate) holds: bool,
    /// Why, as a sentence.
    pub(crate) reason: Option<String>,
}

/// What an expression always is, if it always is the same.
pub(crate) fn of(code: &str, symbols: &Symbols<'_>, context: Context<'_>) -> Option<Truth> {
    let tree = parse_expr(code).ok()?;
    Fold { code, symbols, context }.truth(&tree)
}

struct Fold<'a, 'tree> {
    code: &'a str,
    symbols: &'a Symbols<'tree>,
    context: Context<'tree>,
}

fn plain(holds: bool) -> Truth {
    Truth { holds, reason: None }
}

impl Fold<'_, '_> {
    fn truth(&self, expression: &Expr<'_>) -> Option<Truth> {
        match expression {
            Expr::Const(constant) => Some(plain(constant.value.is_true())),
            Expr::List(list) if list.items.is_empty() => Some(plain(false)),
            Expr::UnaryOp(not) if matches!(not.op, UnaryOpKind::Not) => {
                let inner = self.truth(&not.expr)?;
                Some(Truth { holds: !inner.holds, ..inner })
            }
            Expr::BinOp(operation) => {
                if let (Expr::Const(left), Expr::Const(right)) = (&operation.left, &operation.right)
                    && let Some(operator) = comparison(operation.op)
                {
                    return (!holds(&left.value, operator, &right.value)).then(|| plain(false));
                }
                let sides = (self.truth(&operation.left), self.truth(&operation.right));
                match (operation.op, sides) {
                    (BinOpKind::ScAnd, (Some(side), _) | (_, Some(side))) if !side.holds => Some(side),
                    (BinOpKind::ScAnd, (Some(_), Some(right))) => Some(right),
                    (BinOpKind::ScOr, (Some(side), _) | (_, Some(side))) if side.holds => Some(side),
                    (BinOpKind::ScOr, (Some(left), Some(right))) => {
                        Some(left.reason.map_or(right, |reason| Truth { holds: false, reason: Some(reason) }))
                    }
                    (BinOpKind::Eq, _) => self.equal(&operation.left, &operation.right),
                    _ => None,
                }
            }
            Expr::Compare(comparison) => {
                let mut left = &comparison.expr;
                for next in &comparison.ops {
                    if let (Expr::Const(left), Expr::Const(right)) = (left, &next.expr)
                        && !holds(&left.value, next.op, &right.value)
                    {
                        return Some(plain(false));
                    }
                    if matches!(next.op, CompareOpKind::Eq)
                        && let Some(truth) = self.equal(left, &next.expr).filter(|truth| !truth.holds)
                    {
                        return Some(truth);
                    }
                    left = &next.expr;
                }
                None
            }
            _ => None,
        }
    }

    /// Whether two sides can be equal: only that they cannot is ever known.
    fn equal(&self, left: &Expr<'_>, right: &Expr<'_>) -> Option<Truth> {
        let (left_kind, right_kind) = (self.kind(left)?, self.kind(right)?);
        let shown = |side: &Expr<'_>| {
            let span = side.span();
            self.code.get(span.start_offset as usize..span.end_offset as usize).unwrap_or("a side").to_owned()
        };
        let reason = match (&left_kind, &right_kind) {
            (Kind::Text(left_texts), Kind::Text(right_texts)) => {
                let apart = !left_texts.is_empty()
                    && !right_texts.is_empty()
                    && left_texts.iter().all(|text| !right_texts.contains(text));
                // The side that is a constant has one text: the other says what it can be.
                let (known, texts) = if left_texts.len() > 1 { (left, left_texts) } else { (right, right_texts) };
                apart.then(|| format!("`{}` is one of: {}", shown(known), texts.join(", ")))
            }
            // A file given from outside may be its path, and a truth may be a number.
            (Kind::File, _) | (_, Kind::File) | (Kind::Boolean, Kind::Number) | (Kind::Number, Kind::Boolean) => None,
            _ if std::mem::discriminant(&left_kind) == std::mem::discriminant(&right_kind) => None,
            _ => Some(format!(
                "`{}` is {}, and `{}` is {}",
                shown(left),
                word(&left_kind),
                shown(right),
                word(&right_kind)
            )),
        };
        reason.map(|reason| Truth { holds: false, reason: Some(reason) })
    }

    fn kind(&self, expression: &Expr<'_>) -> Option<Kind> {
        match expression {
            Expr::Const(constant) => match constant.value.kind() {
                ValueKind::String => Some(Kind::Text(vec![constant.value.as_str()?.to_owned()])),
                ValueKind::Number => Some(Kind::Number),
                ValueKind::Bool => Some(Kind::Boolean),
                _ => None,
            },
            Expr::List(_) => Some(Kind::List),
            Expr::Map(_) => Some(Kind::Map),
            _ => {
                let mut path = Vec::new();
                path_of(expression, &mut path)?;
                kinds::of_path(self.symbols, self.context, &path)
            }
        }
    }
}

/// The comparison that an operator is, where it is one.
fn comparison(operator: BinOpKind) -> Option<CompareOpKind> {
    Some(match operator {
        BinOpKind::Eq => CompareOpKind::Eq,
        BinOpKind::Ne => CompareOpKind::Ne,
        BinOpKind::Lt => CompareOpKind::Lt,
        BinOpKind::Lte => CompareOpKind::Lte,
        BinOpKind::Gt => CompareOpKind::Gt,
        BinOpKind::Gte => CompareOpKind::Gte,
        _ => return None,
    })
}

/// Whether two constants compare so; true where that is not known here.
fn holds(left: &Value, operator: CompareOpKind, right: &Value) -> bool {
    match operator {
        CompareOpKind::Eq => left == right,
        CompareOpKind::Ne => left != right,
        CompareOpKind::Lt => left < right,
        CompareOpKind::Lte => left <= right,
        CompareOpKind::Gt => left > right,
        CompareOpKind::Gte => left >= right,
        CompareOpKind::In | CompareOpKind::NotIn => true,
    }
}

/// What a side is: `true` itself is better not said to be `true` or `false`.
fn word(kind: &Kind) -> &'static str {
    if *kind == Kind::Boolean { "a boolean" } else { kind.described() }
}

/// The kind of the value that an expression is, where it is a path and nothing else.
pub(crate) fn kind_of(code: &str, symbols: &Symbols<'_>, context: Context<'_>) -> Option<Kind> {
    let tree = parse_expr(code).ok()?;
    Fold { code, symbols, context }.kind(&tree)
}

/// The names of a path of attributes and constant subscripts.
fn path_of<'tree>(expression: &'tree Expr<'tree>, path: &mut Vec<&'tree str>) -> Option<()> {
    match expression {
        Expr::Var(name) => path.push(name.id),
        Expr::GetAttr(attribute) => {
            path_of(&attribute.expr, path)?;
            path.push(attribute.name);
        }
        Expr::GetItem(item) => {
            path_of(&item.expr, path)?;
            let Expr::Const(key) = &item.subscript_expr else { return None };
            path.push(key.value.as_str()?);
        }
        _ => return None,
    }
    Some(())
}
