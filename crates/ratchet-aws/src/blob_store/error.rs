//! What S3's refusals mean for whoever asked.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ratchet_engine::ports::BlobError;

use crate::chain;

/// Codes after which the same call may succeed although the status does not say so.
const FOR_NOW: [&str; 5] =
    ["RequestTimeout", "ThrottlingException", "Throttling", "RequestLimitExceeded", "OperationAborted"];

/// A status by which S3 says that it is not well, or has too much to do.
fn passes(status: u16) -> bool {
    status >= 500 || status == 429 || status == 408
}

/// An error that is no condition's and does not say that something is missing. `action` reads after "cannot".
pub(super) fn refused<E>(action: &str, error: &SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let action = action.to_owned();
    let Some(status) = status(error) else {
        return match error {
            SdkError::ConstructionFailure(_) => BlobError::Denied { action, reason: chain(error) },
            _ => BlobError::Unavailable { action, reason: chain(error) },
        };
    };
    let told = error.as_service_error().map(|error| (error.code(), error.message().unwrap_or("")));
    let (code, message) = told.unwrap_or((None, "the answer cannot be read"));
    let is_for_now = passes(status) || code.is_some_and(|code| FOR_NOW.contains(&code)) || told.is_none();
    let reason = match code {
        Some(code) => format!("{code}: {message}"),
        None => format!("status {status}"),
    };
    if is_for_now { BlobError::Unavailable { action, reason } } else { BlobError::Denied { action, reason } }
}

/// A request that could not be made.
pub(super) fn not_asked(action: &str, error: &dyn std::error::Error) -> BlobError {
    BlobError::Denied { action: action.to_owned(), reason: chain(error) }
}

/// The status of the answer, where one came.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}
