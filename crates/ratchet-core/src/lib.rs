//! The pure decision core of Ratchet.
//!
//! From what is known of a run, an event and a time, this crate says what changes and what to do about it.
//! It never awaits, reads a clock, makes an identifier, and knows nothing of AWS, files or YAML: time, identifiers and
//! what an expression gave come to it as data, so that a replay decides the same.
//!
//! Start at [`decide`]: the state machine of a step and that of an execution, each as one table.

pub mod agent;
pub mod artifact;
pub mod budget;
pub mod cached;
pub mod command;
pub mod decide;
mod declaration;
pub mod diagram;
pub mod edit;
pub mod event;
mod event_pattern;
pub mod execution;
pub mod fan_out;
pub mod few;
pub mod graph;
pub mod group;
pub mod history;
pub mod ids;
pub mod join;
mod nested;
pub mod output;
pub mod reconcile;
pub mod rejection;
pub mod replay;
pub mod resources;
pub mod resume;
pub mod retry;
pub mod status;
pub mod step;
pub mod transition;
pub mod trigger;
mod uses;
mod webhook;
pub mod workflow;
pub mod workspace;
