//! YAML text becomes a tree whose every value knows its place. The one module that knows the YAML parser.
//!
//! Whatever the text is, [`parse`] ends soon and in bounded memory: the size of the text, the depth of its nesting and the number of values that
//! its aliases may stand for are limited ([`Limits`]).

mod allowance;
mod compose;
mod offsets;
mod positions;
mod scalar;
mod tree;

pub use compose::{Limits, parse};
pub use positions::Positions;
pub use tree::{Content, Entry, Key, Kind, Node, Scalar, Style};

#[cfg(test)]
mod tests;
