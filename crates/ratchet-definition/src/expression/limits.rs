//! Bounds on what is parsed: the parser of the template language goes down into its input and must not run out of stack.

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use crate::mistake::Mistake;

/// Brackets in brackets.
const BRACKETS_MAX: usize = 40;
/// Operators, attributes and filters that lean on each other.
const OPERATORS_MAX: usize = 200;
/// Statements in statements.
const BLOCKS_MAX: usize = 40;
/// Branches of one template.
const BRANCHES_MAX: usize = 200;

/// Refuses a text that is longer than anybody writes by hand.
pub(crate) fn check_length(text: &str, length_max: usize) -> Result<(), Vec<Mistake>> {
    if text.len() <= length_max {
        return Ok(());
    }
    let message = format!("this text has {} bytes; the most is {length_max}", text.len());
    Err(vec![Mistake::error("RT-0107", message, 0..0).with_help("put it into a file of the workspace")])
}

/// Refuses code that is nested deeper than anybody reads. What cannot be tokenized is left to the parser to report.
pub(crate) fn check_depth(code: &str, is_expression: bool, syntax: SyntaxConfig) -> Result<(), Mistake> {
    // What is counted takes a byte at least, so a short text cannot have too much of it: nearly all are.
    if code.len() <= OPERATORS_MAX && code.bytes().filter(|byte| b"([{".contains(byte)).count() < BRACKETS_MAX {
        return Ok(());
    }
    // One entry an open bracket: how many operators stand before it on the way down to it.
    let mut above = vec![0_usize];
    let mut operators = 0_usize;
    let mut blocks = 0_usize;
    let mut branches = 0_usize;
    let mut at_block_start = false;
    for (token, span) in tokenize(code, is_expression, syntax).map_while(Result::ok) {
        let first_of_block = std::mem::replace(&mut at_block_start, matches!(token, Token::BlockStart));
        match token {
            Token::TemplateData(_)
            | Token::VariableStart
            | Token::VariableEnd
            | Token::BlockStart
            | Token::BlockEnd => {
                above.truncate(1);
                operators = 0;
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => above.push(operators),
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                operators = if above.len() > 1 { above.pop().unwrap_or(0) + 1 } else { 0 };
            }
            Token::Comma => operators = above.last().copied().unwrap_or(0),
            Token::Ident("if" | "for" | "with" | "macro" | "filter" | "call" | "autoescape" | "set")
                if first_of_block =>
            {
                blocks += 1;
            }
            Token::Ident("elif") if first_of_block => branches += 1,
            Token::Ident(name) if first_of_block && name.starts_with("end") => blocks = blocks.saturating_sub(1),
            Token::Ident("if" | "else" | "not" | "and" | "or" | "in" | "is")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Dot
            | Token::Colon
            | Token::Tilde
            | Token::Assign
            | Token::Pipe
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => operators += 1,
            Token::Ident(_) | Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
            }
        }
        let too_deep = above.len() > BRACKETS_MAX || operators > OPERATORS_MAX;
        if too_deep || blocks > BLOCKS_MAX || branches > BRANCHES_MAX {
            let span = span.start_offset as usize..span.end_offset as usize;
            return Err(Mistake::error("RT-0107", "this is nested too deeply", span)
                .with_help("compute parts of it in steps of their own, and read their outputs here"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded_and_length_of_lists_is_not() {
        let fine = [
            format!("[{}]", "'a', ".repeat(2_000)),
            format!("{}1{}", "f(".repeat(35), ")".repeat(35)),
            format!("{}1", "1 + ".repeat(150)),
        ];
        for code in fine {
            assert_eq!(check_depth(&code, true, SyntaxConfig::default()), Ok(()), "{code}");
        }
        let deep = ["(", "[", "{'a':", "f(", "not ", "-", "1 if x else ", "2 ** ", "a | f | ", "a.b."];
        for piece in deep {
            assert!(check_depth(&piece.repeat(5_000), true, SyntaxConfig::default()).is_err(), "{piece}");
        }
        for piece in ["{% if a %}", "{% if a %}b{% elif c %}{% endif %}", "{% for a in b %}"] {
            assert!(check_depth(&piece.repeat(5_000), false, SyntaxConfig::default()).is_err(), "{piece}");
        }
        assert_eq!(check_depth(&"{% if a %}{{ b }}{% endif %}".repeat(5_000), false, SyntaxConfig::default()), Ok(()));
    }
}
