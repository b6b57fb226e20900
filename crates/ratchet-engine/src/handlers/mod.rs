//! The handlers: load, decide, commit, perform. Each may be called again with the same event, and may die at any await.

pub(crate) mod answer_step;
pub(crate) mod complete_step;
pub(crate) mod dispatch_step;
pub(crate) mod end_execution;
pub(crate) mod plan;
pub(crate) mod recover_step;
pub(crate) mod resume_execution;
pub(crate) mod run_changed;
pub(crate) mod start_execution;
