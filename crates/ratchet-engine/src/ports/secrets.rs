use async_trait::async_trait;
use thiserror::Error;

/// Secrets by name. Where they come from is the deployment's business.
///
/// Contract: a value is given to the process of the step that asked for it and is never written anywhere else.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value of a secret.
    async fn get(&self, name: &str) -> Result<String, SecretError>;
}

/// Why a secret could not be given.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is none of this name.
    #[error("there is no secret {0}")]
    NotFound(String),
    /// It could not be read.
    #[error("the secret {name} cannot be read: {reason}")]
    Unavailable {
        /// Its name.
        name: String,
        /// What the system said.
        reason: String,
    },
}

impl SecretError {
    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "RT-0220",
            Self::Unavailable { .. } => "RT-0221",
        }
    }
}
