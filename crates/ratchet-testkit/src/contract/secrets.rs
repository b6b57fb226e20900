use std::{collections::BTreeMap, sync::Arc};

use ratchet_engine::ports::{SecretError, Secrets};

/// The contract of [`Secrets`]. `make` gives an adapter that holds these secrets.
pub async fn secrets(make: impl AsyncFn(BTreeMap<String, String>) -> Arc<dyn Secrets>) {
    let values: BTreeMap<String, String> = [
        ("API_TOKEN", "t0k=en with spaces "),
        ("api_token", "another name"),
        ("LINES", "-----BEGIN-----\nabc\n-----END-----\n"),
        ("EMPTY", ""),
        ("TEXT", "zwölf \"quoted\" 'words' 🙂 $HOME \\n"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let secrets = make(values.clone()).await;
    for (name, value) in &values {
        assert_eq!(secrets.get(name).await.expect("it is there"), *value, "{name} comes as it is");
    }
    for missing in ["", "API", "API_TOKEN2", "PATH", "HOME"] {
        match secrets.get(missing).await {
            Err(SecretError::NotFound(name)) => assert_eq!(name, missing),
            other => panic!("there is no secret {missing:?}, and what came is {:?}", other.map(|_| "a value")),
        }
    }
}
