//! An attempt reports its end.

use super::plan::plan;
use crate::{
    advance::{Advance, Task},
    engine::{Engine, EngineError},
    order::AttemptReport,
    run::Run,
};

/// Records the report and goes on with what it makes possible.
pub(crate) async fn complete(engine: &Engine, report: AttemptReport) -> Result<(), EngineError> {
    let id = report.key.execution.clone();
    let run = Run::load(engine, &id).await?;
    let mut advance = Advance::new(engine, run);
    advance.push(Task::Report(Box::new(report)));
    advance.work().await?;
    if advance.needs_plan {
        Box::pin(plan(engine, &id)).await?;
    }
    Ok(())
}
