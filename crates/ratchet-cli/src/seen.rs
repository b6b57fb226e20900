//! Steps as expressions see them, from the rows of a run.

use ratchet_core::{output::Outputs, status::StepStatus};
use ratchet_definition::evaluate::StepView;
use ratchet_engine::view::StepRows;

/// A step that has a row.
pub(crate) fn step(rows: &StepRows) -> StepView {
    let row = &rows.row;
    let result = row.result.as_ref();
    StepView {
        status: row.status(),
        outputs: result.map(|result| result.outputs.clone()).unwrap_or_default(),
        exit_code: result.and_then(|result| result.exit_code),
        duration_ms: Some(rows.spent().process_ms),
        attempts: row.attempt,
        cached: row.hit().is_some(),
    }
}

/// A step that has none.
pub(crate) fn pending() -> StepView {
    StepView {
        status: StepStatus::Pending,
        outputs: Outputs::new(),
        exit_code: None,
        duration_ms: None,
        attempts: 0,
        cached: false,
    }
}
