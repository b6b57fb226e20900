//! Text becomes a valid workflow, or errors with their places.
//!
//! [`compile`](compile::compile) is the one door: what comes out of it is checked, and nobody downstream checks it again.

pub mod diagnostic;
mod expression;
pub mod files;
pub mod mistake;
mod nearest;
pub mod parse;
pub mod parsed;
mod template;
pub mod yaml;
