//! The seam to whoever knows the file: texts become templates, expressions and programs, or mistakes with their places in the text.

use ratchet_core::workflow::{Expression, Template};

use crate::{expression, mistake::Mistake, parsed::Parsed, template};

/// Parses text with `{{ … }}` in it.
pub fn template(text: &str) -> Result<Parsed<Template>, Vec<Mistake>> {
    template::parse(text)
}

/// Parses an expression, with or without braces around it and in it.
pub fn expression(text: &str) -> Result<Parsed<Expression>, Vec<Mistake>> {
    expression::parse(text)
}
