//! One attempt of one step: execute, capture, report once.
//!
//! A library for whatever runs attempts: the embedded engine on one machine, and a task's own main elsewhere.

mod advice;
pub mod agent;
mod asking;
mod capture;
mod checking;
pub mod codes;
mod command;
mod environment;
mod family;
mod find;
mod hooks;
mod kept_session;
mod output_log;
mod paths;
mod process;
pub mod profile;
mod program;
mod request;
mod runner;
mod scratch;
mod snapshot;

pub use command::SECRET_LENGTH_MIN;
pub use environment::BaseEnvironment;
pub use output_log::{LogLine, Stream};
pub use request::{AllowedHosts, Web};
pub use runner::{FilesOf, Runner};

#[cfg(test)]
mod tests;
