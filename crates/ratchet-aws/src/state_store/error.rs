//! What DynamoDB's refusals mean for whoever asked.

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::put_item::PutItemError,
};
use ratchet_engine::ports::StoreError;

use super::item::Item;
use crate::chain;

/// Codes after which the same call may succeed: the table is busy, or the service is not well.
const FOR_NOW: [&str; 8] = [
    "InternalServerError",
    "ItemCollectionSizeLimitExceededException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
];

/// An error that is no condition's. `action` reads after "cannot".
pub(super) fn refused<E>(action: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let told = error.as_service_error().map(|error| (error.code().unwrap_or("?"), error.message().unwrap_or("")));
    match told {
        Some((code, message)) if !FOR_NOW.contains(&code) => {
            StoreError::Refused { action: action.to_owned(), reason: format!("{code}: {message}") }
        }
        Some((code, message)) => StoreError::Unavailable(format!("{code}: {message}")),
        None if matches!(error, SdkError::ConstructionFailure(_)) => {
            StoreError::Refused { action: action.to_owned(), reason: chain(error) }
        }
        None => StoreError::Unavailable(chain(error)),
    }
}

/// What a write found in place of what it expected: an item, or none.
pub(super) struct Obstacle(pub(super) Option<Item>);

/// What stands in the way of a put, where its condition did not hold.
pub(super) fn obstacle(error: &SdkError<PutItemError>) -> Option<Obstacle> {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => Some(Obstacle(failed.item().cloned())),
        _ => None,
    }
}
