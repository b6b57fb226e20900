//! An agent's session that another attempt goes on with: what was said, as the agent itself keeps it, and what it had taken until then.

use std::{fs, path::Path};

use ratchet_core::{ids::Digest, step::StepFailure, workflow::OnLimit};
use ratchet_engine::ports::{AgentReply, AgentRequest, BlobStore, SessionPoint};
use serde::{Deserialize, Serialize};

use crate::codes;

/// The longest history that is kept, in bytes: what an agent reads again in one session is less.
const HISTORY_BYTES_MAX: u64 = 64 << 20;

/// What is asked where the session is there still.
const GO_ON: &str = "You were stopped because a limit was reached. It was raised: go on where you were. The files are as you left them.";

/// What is kept of a session in the blob store.
#[derive(Debug, Serialize, Deserialize)]
struct KeptSession {
    point: SessionPoint,
    /// The rounds of it so far.
    rounds: u32,
    /// What was said; none where the agent keeps nothing.
    history: Option<String>,
}

/// Where a session stands after what it took since it began, or was gone on with.
pub(crate) fn point(before: Option<&SessionPoint>, spent: &AgentReply) -> SessionPoint {
    let before = before.cloned().unwrap_or_default();
    let earlier = AgentReply { cost_usd: before.cost_usd, models: before.models, ..AgentReply::default() };
    let AgentReply { session_id, cost_usd, models, history, .. } = spent.clone().after(earlier);
    let session_id = if session_id.is_empty() { before.session_id } else { session_id };
    SessionPoint { session_id, cost_usd, models, history }
}

/// Keeps a session whose agent reached a limit, where its step is to wait for a person then. What cannot be kept is a failure as it would be without.
pub(crate) async fn keep(
    blobs: &dyn BlobStore,
    on_limit: OnLimit,
    before: Option<&SessionPoint>,
    (spent, rounds): (&AgentReply, u32),
    mut failure: StepFailure,
) -> StepFailure {
    let is_limit = matches!(failure.code.as_deref(), Some(codes::AGENT_LIMIT | codes::TIMEOUT));
    if on_limit != OnLimit::Pause || !is_limit {
        return failure;
    }
    let point = point(before, spent);
    let history = point.history.as_deref().and_then(read);
    let kept = KeptSession { point, rounds, history };
    match serde_json::to_vec(&kept) {
        Ok(text) => match blobs.put(&text).await {
            Ok(blob) => failure.session = Some(blob.digest),
            Err(error) => tracing::warn!(%error, "a session that reached its limit cannot be gone on with"),
        },
        Err(error) => tracing::warn!(%error, "a session that reached its limit cannot be gone on with"),
    }
    failure
}

fn read(path: &Path) -> Option<String> {
    let length = fs::metadata(path).ok()?.len();
    (length <= HISTORY_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten()
}

/// Makes a request go on with a session that was kept. Where the agent kept nothing of it, it is asked anew, on the files that it left. An error says what is wrong with
/// what was kept.
pub(crate) async fn restore(blobs: &dyn BlobStore, kept: &Digest, request: &mut AgentRequest) -> Result<(), String> {
    let text = blobs.get(kept).await.map_err(|error| error.to_string())?;
    let KeptSession { mut point, rounds, history } =
        serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    request.round = rounds + 1;
    if let Some(history) = history {
        let path = request.directory.join("history.jsonl");
        fs::write(&path, history).map_err(|error| error.to_string())?;
        point.history = Some(path);
        request.resume = Some(point);
        GO_ON.clone_into(&mut request.prompt);
    }
    Ok(())
}
