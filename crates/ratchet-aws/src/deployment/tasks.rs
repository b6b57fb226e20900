//! What a function's environment says of tasks, and what a task's own says of what steps need.

use std::collections::BTreeMap;

use super::SettingsError;
use crate::launcher::{Capacity, TaskPlace, TaskSizes};

/// Where the secrets of steps are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In Secrets Manager, under names that begin so.
    Managed(String),
    /// In Parameter Store, likewise.
    Parameters(String),
}

const CLUSTER: &str = "RATCHET_CLUSTER";
const SIZE: &str = "RATCHET_TASK_SIZE";
const CAPACITY: &str = "RATCHET_CAPACITY";
const SECRETS: &str = "RATCHET_SECRETS";

/// Where tasks run; `None` where the deployment has none.
pub(super) fn place(variables: &BTreeMap<String, String>) -> Result<Option<TaskPlace>, SettingsError> {
    let given = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let Some(cluster) = given(CLUSTER) else { return Ok(None) };
    let needed = |name: &'static str| given(name).ok_or(SettingsError { name, problem: "is not set" });
    let list = |name: &'static str| {
        let words = needed(name)?;
        Ok(words.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect())
    };
    let numbers = |text: &str| {
        let (cpu_units, memory_mib) = text.split_once(',')?;
        Some(TaskSizes { cpu_units: cpu_units.trim().parse().ok()?, memory_mib: memory_mib.trim().parse().ok()? })
    };
    let capacity = match needed(CAPACITY)?.as_str() {
        "FARGATE" => Capacity::OnDemand,
        "FARGATE_SPOT" => Capacity::Spot,
        _ => return Err(SettingsError { name: CAPACITY, problem: "is neither FARGATE nor FARGATE_SPOT" }),
    };
    let sizes = numbers(&needed(SIZE)?);
    Ok(Some(TaskPlace {
        cluster,
        steps: needed("RATCHET_STEP_TASK")?,
        agents: needed("RATCHET_AGENT_TASK")?,
        subnets: list("RATCHET_SUBNETS")?,
        security_groups: list("RATCHET_SECURITY_GROUPS")?,
        public_addresses: given("RATCHET_PUBLIC_ADDRESSES").as_deref() == Some("ENABLED"),
        capacity,
        sizes: sizes.ok_or(SettingsError { name: SIZE, problem: "is no pair of numbers" })?,
    }))
}

/// Where the secrets of steps are; `None` where the deployment has none.
pub(super) fn secrets(variables: &BTreeMap<String, String>) -> Result<Option<SecretPlace>, SettingsError> {
    let Some(said) = variables.get(SECRETS).filter(|value| !value.is_empty()) else { return Ok(None) };
    match said.split_once(':') {
        Some(("secretsmanager", prefix)) if !prefix.is_empty() => Ok(Some(SecretPlace::Managed(prefix.to_owned()))),
        Some(("ssm", prefix)) if !prefix.is_empty() => Ok(Some(SecretPlace::Parameters(prefix.to_owned()))),
        _ => Err(SettingsError { name: SECRETS, problem: "names no place of secrets" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeMap<String, String> {
        [
            (CLUSTER, "ratchet"),
            ("RATCHET_STEP_TASK", "step:1"),
            ("RATCHET_AGENT_TASK", "agent:1"),
            ("RATCHET_SUBNETS", "a,b"),
            ("RATCHET_SECURITY_GROUPS", "c"),
            ("RATCHET_PUBLIC_ADDRESSES", "ENABLED"),
            (SIZE, "1024,2048"),
            (CAPACITY, "FARGATE_SPOT"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn tasks_are_all_there_or_not_at_all() {
        let found = place(&all()).unwrap().unwrap();
        assert_eq!((found.subnets.len(), found.capacity, found.public_addresses), (2, Capacity::Spot, true));
        assert_eq!(found.sizes, TaskSizes { cpu_units: 1024, memory_mib: 2048 });
        for name in all().keys().filter(|name| *name != "RATCHET_PUBLIC_ADDRESSES") {
            let mut fewer = all();
            fewer.insert(name.clone(), String::new());
            match place(&fewer) {
                Ok(found) => assert!(name == CLUSTER && found.is_none(), "{name}"),
                Err(error) => assert_eq!(error.name, name),
            }
        }
        for (name, wrong) in [(SIZE, "much"), (SIZE, "1024"), (SIZE, "1024,-1"), (CAPACITY, "EC2")] {
            let mut variables = all();
            variables.insert(name.to_owned(), wrong.to_owned());
            assert_eq!(place(&variables).unwrap_err().name, name, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_at_one_of_two_places() {
        let of = |said: &str| secrets(&BTreeMap::from([(SECRETS.to_owned(), said.to_owned())]));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("secretsmanager:ratchet/"), Ok(Some(SecretPlace::Managed("ratchet/".to_owned()))));
        assert_eq!(of("ssm:/ratchet/"), Ok(Some(SecretPlace::Parameters("/ratchet/".to_owned()))));
        for wrong in ["vault:x", "ssm:", "ratchet/"] {
            assert_eq!(of(wrong).unwrap_err().name, SECRETS, "{wrong}");
        }
    }
}
