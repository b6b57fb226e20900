//! An attempt reports its end.

use crate::{
    advance::{Advance, Task},
    engine::{Engine, EngineError},
    order::AttemptReport,
    run::Run,
};

/// Records the report and goes on with what it makes possible.
pub(crate) async fn complete(engine: &Engine, report: AttemptReport) -> Result<(), EngineError> {
    let run = Run::load(engine, &report.key.execution).await?;
    // Taken whatever comes of the report, so that it is not kept any longer.
    let room = engine.ports.launcher.room_left_by(&report.key, report.attempt);
    let room = room.filter(|_| run.may_go_on_with_a_task(&report.key.path));
    let mut advance = Advance::new(engine, run);
    if let Some(slot) = room {
        advance = advance.with_slot(slot);
    }
    advance.push(Task::Report(Box::new(report)));
    advance.finish().await
}
