//! One attempt of one step: execute, capture, report once.
//!
//! A library for whatever runs attempts: the embedded engine on one machine, and a task's own main elsewhere.

pub mod agent;
pub mod codes;
mod paths;
