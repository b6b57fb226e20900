use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use ratchet_engine::ports::{SecretError, Secrets};

/// Secrets in a map.
#[derive(Default)]
pub struct MemorySecrets(BTreeMap<String, String>);

impl MemorySecrets {
    /// These secrets, by name.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }
}

impl fmt::Debug for MemorySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn get(&self, name: &str) -> Result<String, SecretError> {
        self.0.get(name).cloned().ok_or_else(|| SecretError::NotFound(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::secrets(async |values| Arc::new(MemorySecrets::new(values)) as Arc<dyn Secrets>).await;
    }
}
