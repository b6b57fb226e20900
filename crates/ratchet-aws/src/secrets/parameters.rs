use async_trait::async_trait;
use aws_sdk_ssm::Client;
use ratchet_engine::ports::{SecretError, Secrets};

use super::{unavailable, under};

/// The parameters of Parameter Store whose names begin with a prefix, decrypted. One request gives one. There it costs nothing to keep them, and none is empty.
#[derive(Debug, Clone)]
pub struct ParameterSecrets {
    client: Client,
    prefix: String,
}

impl ParameterSecrets {
    /// The parameters under a prefix, for example `/ratchet/`.
    pub fn new(client: Client, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }
}

#[async_trait]
impl Secrets for ParameterSecrets {
    async fn get(&self, name: &str) -> Result<String, SecretError> {
        let given = self.client.get_parameter().name(under(&self.prefix, name)?).with_decryption(true).send().await;
        let given = given.map_err(|error| match error.as_service_error() {
            Some(missing) if missing.is_parameter_not_found() => SecretError::NotFound(name.to_owned()),
            _ => unavailable(name, &error),
        })?;
        let value = given.parameter.and_then(|parameter| parameter.value);
        value.ok_or_else(|| SecretError::Unavailable { name: name.to_owned(), reason: "it has no value".to_owned() })
    }
}
