//! A run that waits for its turn: who is before it may be driven by other processes, or by none.

use ratchet_core::{execution::ExecutionRow, group::Standing};
use ratchet_engine::ports::StateStore;

use super::{DriveError, LocalEngine};
use crate::lock::EngineLock;

/// So many of those that wait before a run are looked at.
const LOOKED_AT_MAX: usize = 32;

impl LocalEngine {
    /// Whether the turn of a run that waits for it has come, as far as the group says, or it is not in the queue. Those that wait before it and that no process drives are passed
    /// over: nothing of theirs ran yet, and whoever resumes them has them join again. One whose turn it is, and whose process is gone, keeps it: its work is half done.
    pub(super) async fn turn_has_come(&self, row: &ExecutionRow) -> Result<bool, DriveError> {
        let Some(turn) = &row.turn else { return Ok(false) };
        let Some(group) = self.store.group(&turn.group).await? else { return Ok(true) };
        let Standing::Waits { ahead } = group.standing(&row.id) else { return Ok(true) };
        if group.next().iter().any(|member| member.execution == row.id) {
            return Ok(true);
        }
        for member in group.queue.iter().take(ahead.min(LOOKED_AT_MAX)) {
            if EngineLock::is_held(&self.state, &member.execution) {
                continue;
            }
            // Read after the lock was looked at: whoever makes a run holds its lock before its row is there.
            if let Some(other) = self.store.execution(&member.execution).await? {
                tracing::info!(execution = %other.id, "passed over: no process drives it");
                self.engine.pass_over(&other).await?;
            }
        }
        Ok(false)
    }
}
