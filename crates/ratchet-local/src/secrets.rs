//! Secrets from the environment of the command, or from a file.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use async_trait::async_trait;
use ratchet_engine::ports::{SecretError, Secrets};

/// What stands before a secret's name in the environment: a workflow that asks for a secret can name only what its user marked as one, not whatever
/// else the environment holds.
const PREFIX: &str = "RATCHET_SECRET_";

/// The secrets that this process was given: `RATCHET_SECRET_<name>` in its environment, and the lines of a file, which win.
///
/// A line of the file is `NAME=value`, the value as it stands up to the end of the line; one in double quotes is a JSON string, which can hold line breaks. Empty
/// lines and lines that begin with `#` mean nothing.
#[derive(Default)]
pub struct LocalSecrets(BTreeMap<String, String>);

impl LocalSecrets {
    /// Takes the secrets from these variables (the process's own: `std::env::vars_os`) and from a file. Variables whose name or value is no UTF-8 are left out.
    pub fn read(
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        file: Option<&Path>,
    ) -> Result<Self, SecretError> {
        let marked = variables.into_iter().filter_map(|(name, value)| {
            Some((name.to_str()?.strip_prefix(PREFIX)?.to_owned(), value.into_string().ok()?))
        });
        let mut secrets: BTreeMap<String, String> = marked.collect();
        if let Some(file) = file {
            let unavailable = |reason| SecretError::Unavailable { name: format!("file {}", file.display()), reason };
            let text = fs::read_to_string(file).map_err(|error| unavailable(error.to_string()))?;
            for (number, line) in text.lines().enumerate() {
                match parse(line) {
                    Ok(secret) => secrets.extend(secret),
                    Err(reason) => return Err(unavailable(format!("line {}: {reason}", number + 1))),
                }
            }
        }
        Ok(Self(secrets))
    }
}

/// The secret on a line, where it holds one. An error never shows the line.
fn parse(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("expected NAME=value")?;
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("a secret's name has only letters, digits and underscores");
    }
    let value = if value.starts_with('"') {
        serde_json::from_str(value.trim_end()).map_err(|_| "the value in double quotes is not a JSON string")?
    } else {
        value.to_owned()
    };
    Ok(Some((name.to_owned(), value)))
}

impl fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[async_trait]
impl Secrets for LocalSecrets {
    async fn get(&self, name: &str) -> Result<String, SecretError> {
        self.0.get(name).cloned().ok_or_else(|| SecretError::NotFound(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, sync::Arc};

    use ratchet_testkit::contract;
    use tempfile::TempDir;

    use super::*;

    fn variables(values: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        values.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    fn from_file(text: &str) -> Result<LocalSecrets, SecretError> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("secrets");
        fs::write(&file, text).unwrap();
        LocalSecrets::read(variables(&[("RATCHET_SECRET_A", "environment"), ("B", "not marked")]), Some(&file))
    }

    #[tokio::test]
    async fn the_environment_keeps_the_contract() {
        contract::secrets(async |secrets| {
            let marked = secrets.into_iter().map(|(name, value)| (format!("{PREFIX}{name}").into(), value.into()));
            Arc::new(LocalSecrets::read(marked, None).unwrap()) as Arc<dyn Secrets>
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_keeps_the_contract() {
        contract::secrets(async |secrets| {
            let folder = TempDir::new().unwrap();
            let file = folder.path().join("secrets");
            let lines = secrets.iter().map(|(name, value)| format!("{name}={}\n", serde_json::json!(value)));
            fs::write(&file, lines.collect::<String>()).unwrap();
            Arc::new(LocalSecrets::read([], Some(&file)).unwrap()) as Arc<dyn Secrets>
        })
        .await;
    }

    #[tokio::test]
    async fn a_line_is_taken_as_it_stands() {
        let secrets = from_file("# mine\n\n A=file \nC = x=y'\"\nD=\nE=\"two\\nlines\" \n").unwrap();
        for (name, value) in [("A", "file "), ("C", " x=y'\""), ("D", ""), ("E", "two\nlines")] {
            assert_eq!(secrets.get(name).await.unwrap(), value, "{name}");
        }
        assert!(matches!(secrets.get("B").await, Err(SecretError::NotFound(_))), "only marked variables are secrets");
        assert_eq!(format!("{secrets:?}"), r#"{"A", "C", "D", "E"}"#);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_shown() {
        for text in ["A=1\nhunter2", "A=1\nhun ter=hunter2", "A=1\n=hunter2", "A=1\nB=\"hunter2"] {
            let error = from_file(text).unwrap_err().to_string();
            assert!(error.contains("line 2: ") && !error.contains("hunter2"), "{error}");
        }
        let missing = LocalSecrets::read([], Some(Path::new("/nowhere/secrets"))).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/secrets") && missing.contains("No such file"), "{missing}");
    }
}
