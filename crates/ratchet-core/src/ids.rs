//! The names of things. Each has its own type, so that none is taken for another.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::history::sha256_hex;

/// Stands between the name of a run and that of one that a step of it started.
const NESTED: char = '.';

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a name that its maker has already checked.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// One run of a workflow. Sorts by its time of creation.
    ExecutionId
}
text_id! {
    /// A step of a workflow, as its author named it (`[a-z][a-z0-9_]*`), or one of the engine's own, which begin with `$`.
    StepId
}
text_id! {
    /// The SHA-256 of an attempt's secret token, in lower-case hexadecimal. The token itself is never stored.
    TokenHash
}
text_id! {
    /// A SHA-256 in lower-case hexadecimal.
    Digest
}

/// Digits and letters that cannot be taken for each other.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl ExecutionId {
    /// A new execution's name: its time in UTC and six random characters, so that names sort by time.
    pub fn fresh(now: Timestamp, entropy: [u8; 16]) -> Self {
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
        let random: String = entropy.iter().take(6).map(|byte| letter(*byte)).collect();
        Self(format!("{time}-{random}"))
    }

    /// The name of the one execution of a workflow with an idempotency key.
    pub fn of_key(workflow: &str, key: &str) -> Self {
        let digest = Sha256::digest(format!("{workflow}\n{key}").as_bytes());
        Self(format!("key-{}", digest.iter().take(20).map(|byte| letter(*byte)).collect::<String>()))
    }

    /// The run that an attempt of a step starts. The name follows from the attempt, so that starting it again is the same run, and begins with that of the
    /// run at the root, so that whoever meets it knows where it belongs.
    pub fn of_attempt(key: &StepKey, attempt: u32) -> Self {
        let digest = sha256_hex(format!("{key}#{attempt}").as_bytes());
        Self(format!("{}{NESTED}{}", key.execution.root_name(), &digest[..12]))
    }

    /// The run at the root of those that this one belongs to: itself, where no step started it.
    #[must_use]
    pub fn root(&self) -> Self {
        Self(self.root_name().to_owned())
    }

    /// Whether this is a run, or one that a step of it started, however far below.
    pub fn is_within(&self, root: &Self) -> bool {
        self.0.strip_prefix(&root.0).is_some_and(|rest| rest.is_empty() || rest.starts_with(NESTED))
    }

    /// Whether a step of another run started it.
    pub fn is_nested(&self) -> bool {
        self.0.contains(NESTED)
    }

    /// What the name has after that of the root; empty for a root.
    pub fn nested_name(&self) -> &str {
        self.0.split_once(NESTED).map_or("", |(_, name)| name)
    }

    fn root_name(&self) -> &str {
        self.0.split_once(NESTED).map_or(&self.0, |(root, _)| root)
    }
}

fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte % 32)])
}

impl StepId {
    /// The step that runs after all of the work, whatever came of it: what stands under `finally` needs it.
    pub const FINALLY: &'static str = "$finally";
    /// The step that needs every leaf: claiming it ends the run.
    pub const END: &'static str = "$end";

    /// Whether the engine, not an author, made this step.
    pub fn is_internal(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

/// A generation of an execution. Cancel and resume begin a new one; rows of older ones are fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch that an execution is created in.
    pub const FIRST: Self = Self(1);

    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step, or one child of a step that fans out (`generate[3]`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepPath {
    /// The step as the workflow names it.
    pub step: StepId,
    /// The position of the item that this child works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<u32>,
}

impl StepPath {
    /// The step itself.
    pub fn step(step: StepId) -> Self {
        Self { step, child: None }
    }

    /// A child of the step.
    pub fn child(step: StepId, index: u32) -> Self {
        Self { step, child: Some(index) }
    }

    /// A step as a person names it, and as it is shown: by its name, a child of a fan-out with the position of its item in brackets.
    pub fn named(text: &str) -> Self {
        let child = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
        match child.and_then(|(step, item)| Some((step, item.parse().ok()?))) {
            Some((step, item)) => Self::child(StepId::new(step), item),
            None => Self::step(StepId::new(text)),
        }
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.child {
            None => self.step.fmt(f),
            Some(index) => write!(f, "{}[{index}]", self.step),
        }
    }
}

/// The key of a step's row: which execution, which generation of it, which step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepKey {
    /// The run.
    pub execution: ExecutionId,
    /// The generation that the row belongs to.
    pub epoch: Epoch,
    /// The step, or the child of a fan-out.
    pub path: StepPath,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.execution, self.epoch, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_named_by_its_item() {
        assert_eq!(StepPath::named("deploy[2]"), StepPath::child(StepId::new("deploy"), 2));
        assert_eq!(StepPath::named("deploy"), StepPath::step(StepId::new("deploy")));
        assert_eq!(StepPath::named("deploy[x]"), StepPath::step(StepId::new("deploy[x]")));
    }

    #[test]
    fn names_sort_by_time_and_differ_by_chance() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let early = ExecutionId::fresh(at("2026-11-23T01:15:12Z"), [0; 16]);
        let late = ExecutionId::fresh(at("2026-11-23T01:15:13Z"), [0; 16]);
        assert_eq!(early.as_str(), "20261123-011512-000000");
        assert!(early < late);
        assert_ne!(ExecutionId::fresh(at("2026-11-23T01:15:12Z"), [7; 16]), early);
    }

    #[test]
    fn a_key_names_one_execution_of_its_workflow() {
        let of_key = ExecutionId::of_key;
        assert_eq!(of_key("tests", "push-1"), of_key("tests", "push-1"));
        assert_ne!(of_key("tests", "push-1"), of_key("tests", "push-2"));
        assert_ne!(of_key("tests", "push-1"), of_key("lint", "push-1"));
        assert_eq!(of_key("tests", "push-1").as_str().len(), "key-".len() + 20);
    }
}
