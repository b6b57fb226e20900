//! What a function's environment says: `template.yaml` sets it.

use std::{collections::BTreeMap, env, path::PathBuf};

use thiserror::Error;

use super::tasks::{self, SecretPlace};
use crate::{launcher::TaskPlace, workspaces::FOLDER};

/// What a function or a task is told of its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The table of all state.
    pub table: String,
    /// The bucket of all content.
    pub bucket: String,
    /// The event bus.
    pub bus: String,
    /// The URL of the queue of events that are for later.
    pub timers: String,
    /// The secret that webhooks are signed with. Without one, none is taken.
    pub webhook_secret: Option<String>,
    /// How many children of a fan-out run at once where a workflow does not say.
    pub max_parallel: u32,
    /// Bytes of kept results from which on the longest unused ones are pushed out. Without a bound, none are.
    pub cache_bytes_max: Option<u64>,
    /// The folder in which tasks work.
    pub folder: PathBuf,
    /// Where steps' processes run. Without, a step that needs one fails.
    pub tasks: Option<TaskPlace>,
    /// Where the secrets of steps are, for a task.
    pub secrets: Option<SecretPlace>,
    /// The folder of the recorded session that answers for agents, for a task.
    pub recording: Option<PathBuf>,
}

/// A variable that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the variable {name} {problem}: template.yaml sets it for each function")]
pub struct SettingsError {
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

const MAX_PARALLEL: &str = "RATCHET_MAX_PARALLEL";
const CACHE_BYTES_MAX: &str = "RATCHET_CACHE_BYTES_MAX";

/// Children of a fan-out at once where nobody says.
const MAX_PARALLEL_USUAL: u32 = 50;

impl Settings {
    /// What this process's environment says.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::of(&env::vars().filter(|(name, _)| name.starts_with("RATCHET_")).collect())
    }

    fn of(variables: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let given = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let needed = |name: &'static str| given(name).ok_or(SettingsError { name, problem: "is not set" });
        let number = |name: &'static str| match given(name).map(|text| text.parse::<u64>()) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(SettingsError { name, problem: "is not a number" }),
        };
        let max_parallel = match number(MAX_PARALLEL)?.map(u32::try_from) {
            None => MAX_PARALLEL_USUAL,
            Some(Ok(number)) => number,
            Some(Err(_)) => return Err(SettingsError { name: MAX_PARALLEL, problem: "is too large" }),
        };
        Ok(Self {
            table: needed("RATCHET_TABLE")?,
            bucket: needed("RATCHET_BUCKET")?,
            bus: needed("RATCHET_BUS")?,
            timers: needed("RATCHET_TIMERS")?,
            webhook_secret: given("RATCHET_WEBHOOK_SECRET"),
            max_parallel,
            cache_bytes_max: number(CACHE_BYTES_MAX)?,
            folder: given("RATCHET_FOLDER").map_or_else(|| FOLDER.into(), PathBuf::from),
            tasks: tasks::place(variables)?,
            secrets: tasks::secrets(variables)?,
            recording: given("RATCHET_RECORDING").map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let all = ["TABLE", "BUCKET", "BUS", "TIMERS"];
        let mut variables: BTreeMap<String, String> =
            all.iter().map(|name| (format!("RATCHET_{name}"), name.to_lowercase())).collect();
        let settings = Settings::of(&variables).unwrap();
        assert_eq!((settings.table.as_str(), settings.max_parallel, settings.webhook_secret), ("table", 50, None));
        for name in all {
            let mut fewer = variables.clone();
            fewer.insert(format!("RATCHET_{name}"), String::new());
            assert!(Settings::of(&fewer).unwrap_err().to_string().contains(name), "{name}");
        }
        for name in [MAX_PARALLEL, CACHE_BYTES_MAX] {
            for wrong in ["many", "-1"] {
                let mut variables = variables.clone();
                variables.insert(name.to_owned(), wrong.to_owned());
                assert_eq!(Settings::of(&variables).unwrap_err().name, name, "{wrong}");
            }
        }
        variables.insert(MAX_PARALLEL.to_owned(), "5000000000".to_owned());
        assert_eq!(Settings::of(&variables).unwrap_err().name, MAX_PARALLEL);
    }
}
