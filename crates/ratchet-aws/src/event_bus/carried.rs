//! How an envelope travels: as it is, or where it is too large for that, as a reference to a blob.

use ratchet_core::output::BlobRef;
use ratchet_engine::ports::{BlobError, BlobStore, BusError, Envelope};
use serde_json::{Value, json};
use thiserror::Error;

/// Bytes of an envelope from which on it goes by reference. An event and a message have 256 KB, of which names and addresses take some.
const CARRIED_BYTES_MAX: usize = 200 * 1024;

/// The field that a reference has and an envelope has not.
const STORED: &str = "stored";

/// Why what came is no envelope.
#[derive(Debug, Error)]
pub enum CarriedError {
    /// It was written by somebody else, or by another version.
    #[error("this is no event of the engine's: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// What it refers to cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// An envelope as it goes out.
pub(super) async fn close(envelope: &Envelope, blobs: &dyn BlobStore) -> Result<String, BusError> {
    let unavailable = |error: &dyn std::error::Error| BusError::Unavailable(error.to_string());
    let whole = serde_json::to_string(envelope).map_err(|error| unavailable(&error))?;
    if whole.len() <= CARRIED_BYTES_MAX {
        return Ok(whole);
    }
    let stored = blobs.put(whole.as_bytes()).await.map_err(|error| unavailable(&error))?;
    // The execution stands beside it, so that a person who looks at a dead letter knows whose it is.
    Ok(json!({"execution": envelope.execution, STORED: stored}).to_string())
}

/// The envelope that an event's detail is, or refers to.
pub async fn open(detail: Value, blobs: &dyn BlobStore) -> Result<Envelope, CarriedError> {
    match detail.get(STORED) {
        Some(stored) => {
            let stored: BlobRef = serde_json::from_value(stored.clone())?;
            Ok(serde_json::from_slice(&blobs.get(&stored.digest).await?)?)
        }
        None => Ok(serde_json::from_value(detail)?),
    }
}

#[cfg(test)]
mod tests {
    use ratchet_core::step::{FailureClass, StepFailure, Usage};
    use ratchet_engine::{
        order::{AttemptOutcome, AttemptReport, Token},
        ports::Event,
    };
    use ratchet_testkit::{
        builders::{envelope, step_key},
        memory::MemoryBlobStore,
    };

    use super::*;

    fn report(bytes: usize) -> Envelope {
        let failure = StepFailure::new(FailureClass::Exit(1), "x".repeat(bytes));
        let report = AttemptReport {
            key: step_key("run", 1, "build"),
            attempt: 1,
            token: Token::new([7; 16]),
            outcome: AttemptOutcome::Failed { failure, usage: Usage::default() },
        };
        envelope("run", Event::StepFinished(Box::new(report)))
    }

    #[tokio::test]
    async fn what_is_too_large_goes_by_reference_and_comes_back_whole() {
        let blobs = MemoryBlobStore::default();
        for (bytes, by_reference) in [(10, false), (CARRIED_BYTES_MAX, true)] {
            let sent = report(bytes);
            let text = close(&sent, &blobs).await.unwrap();
            assert_eq!(text.len() < 300 && bytes > 300, by_reference, "{bytes} bytes became {}", text.len());
            let came = open(serde_json::from_str(&text).unwrap(), &blobs).await.unwrap();
            assert_eq!(came, sent);
        }
    }

    #[tokio::test]
    async fn what_is_no_envelope_is_told() {
        let blobs = MemoryBlobStore::default();
        for detail in [json!({}), json!(7), json!({"stored": {}}), json!({"execution": "a", "event": {"type": "New"}})]
        {
            let error = open(detail, &blobs).await.unwrap_err();
            assert!(matches!(error, CarriedError::Unreadable(_)), "{error}");
        }
        let gone = json!({"stored": {"digest": "00", "size": 1}});
        assert!(matches!(open(gone, &blobs).await, Err(CarriedError::Blob(BlobError::NotFound(_)))));
    }
}
