use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use ratchet_engine::ports::{SecretError, Secrets};

use super::{unavailable, under};

/// The secrets of Secrets Manager whose names begin with a prefix, as text. One request gives one; its current version counts.
#[derive(Debug, Clone)]
pub struct ManagedSecrets {
    client: Client,
    prefix: String,
}

impl ManagedSecrets {
    /// The secrets under a prefix, for example `ratchet/`.
    pub fn new(client: Client, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }
}

#[async_trait]
impl Secrets for ManagedSecrets {
    async fn get(&self, name: &str) -> Result<String, SecretError> {
        let given = self.client.get_secret_value().secret_id(under(&self.prefix, name)?).send().await;
        let given = given.map_err(|error| match error.as_service_error() {
            Some(missing) if missing.is_resource_not_found_exception() => SecretError::NotFound(name.to_owned()),
            _ => unavailable(name, &error),
        })?;
        given.secret_string.ok_or_else(|| SecretError::Unavailable {
            name: name.to_owned(),
            reason: "it is binary, and secrets are text".to_owned(),
        })
    }
}
