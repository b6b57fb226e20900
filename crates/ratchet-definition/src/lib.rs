//! Text becomes a valid workflow, or errors with their places.
//!
//! [`compile`](compile::compile) is the one door: what comes out of it is checked, and nobody downstream checks it again.

mod check;
pub mod coerce;
mod command;
pub mod compile;
pub mod diagnostic;
pub mod duration;
pub mod evaluate;
mod expression;
pub mod files;
mod functions;
pub mod inputs;
mod link;
mod lower;
pub mod mistake;
mod nearest;
pub mod parse;
pub mod parsed;
pub mod reference;
pub mod schema;
pub mod shape;
pub mod sources;
mod template;
pub mod trigger;
pub mod yaml;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod work;
