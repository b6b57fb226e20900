//! An agent's session that another attempt or another step goes on with: what was said, as the agent itself keeps it, and what it had taken until then.

use std::{fs, path::Path};

use ratchet_core::{
    ids::Digest,
    output::BlobRef,
    step::{FailureClass, StepFailure},
    workflow::OnLimit,
};
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
    match put(blobs, point(before, spent), rounds).await {
        Ok(blob) => failure.session = Some(blob.digest),
        Err(reason) => tracing::warn!(reason, "a session that reached its limit cannot be gone on with"),
    }
    failure
}

/// Keeps a session with which another step goes on.
pub(crate) async fn keep_done(
    blobs: &dyn BlobStore,
    before: Option<&SessionPoint>,
    (reply, rounds): (&AgentReply, u32),
) -> Result<BlobRef, StepFailure> {
    put(blobs, point(before, reply), rounds).await.map_err(|reason| {
        let message = format!("the session that another step goes on with cannot be kept: {reason}");
        StepFailure::new(FailureClass::Output, message).with_code(codes::OUTPUT_NOT_KEPT)
    })
}

async fn put(blobs: &dyn BlobStore, point: SessionPoint, rounds: u32) -> Result<BlobRef, String> {
    let history = point.history.as_deref().and_then(read);
    let kept = KeptSession { point, rounds, history };
    let text = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
    blobs.put(&text).await.map_err(|error| error.to_string())
}

fn read(path: &Path) -> Option<String> {
    let length = fs::metadata(path).ok()?.len();
    (length <= HISTORY_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten()
}

/// Makes a request go on with a session that was kept. Where the agent kept nothing of it, it is asked anew, on the files that it left. An error says what is wrong with
/// what was kept.
pub(crate) async fn restore(blobs: &dyn BlobStore, kept: &Digest, request: &mut AgentRequest) -> Result<(), String> {
    let (point, rounds) = get(blobs, kept, request).await?;
    request.round = rounds + 1;
    if point.history.is_some() {
        request.resume = Some(point);
        GO_ON.clone_into(&mut request.prompt);
    }
    Ok(())
}

/// Makes a request go on in the conversation of another step. An error says what is wrong with what was kept.
pub(crate) async fn go_on(blobs: &dyn BlobStore, kept: &Digest, request: &mut AgentRequest) -> Result<(), String> {
    let (point, _) = get(blobs, kept, request).await?;
    request.resume = Some(point);
    Ok(())
}

/// A session that was kept, with what was said in a file of the attempt's own, and its rounds.
async fn get(blobs: &dyn BlobStore, kept: &Digest, request: &AgentRequest) -> Result<(SessionPoint, u32), String> {
    let text = blobs.get(kept).await.map_err(|error| error.to_string())?;
    let KeptSession { mut point, rounds, history } =
        serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if let Some(history) = history {
        let path = request.directory.join("history.jsonl");
        fs::write(&path, history).map_err(|error| error.to_string())?;
        point.history = Some(path);
    }
    Ok((point, rounds))
}
