//! Secrets in Secrets Manager or in Parameter Store, under a prefix of the deployment's. A value is nowhere in what these types or their errors show.

mod managed;
mod parameters;
#[cfg(test)]
mod tests;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use ratchet_engine::ports::SecretError;

pub use self::{managed::ManagedSecrets, parameters::ParameterSecrets};
use crate::chain;

/// The name under a prefix. A workflow can only ask for what its deployment put there: what is no plain name leads nowhere.
fn under(prefix: &str, name: &str) -> Result<String, SecretError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(SecretError::NotFound(name.to_owned()));
    }
    Ok(format!("{prefix}{name}"))
}

/// An error that does not say that there is no such secret.
fn unavailable<E, R>(name: &str, error: &SdkError<E, R>) -> SecretError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let reason = match error.as_service_error() {
        Some(error) => format!("{}: {}", error.code().unwrap_or("?"), error.message().unwrap_or("")),
        None => chain(error),
    };
    SecretError::Unavailable { name: name.to_owned(), reason }
}
