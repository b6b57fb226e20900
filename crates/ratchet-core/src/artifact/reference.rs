use std::{fmt, str::FromStr};

use thiserror::Error;

use super::ArtifactName;
use crate::ids::ExecutionId;

/// The word for the newest version.
const LATEST: &str = "latest";

/// The longest reference, in bytes.
const LENGTH_MAX: usize = 512;

/// A version of an artifact as people and workflows write it: `workflow/name@which`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactRef {
    /// Which artifact.
    pub artifact: ArtifactName,
    /// Which version of it.
    pub which: Which,
}

/// Which version of an artifact is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The newest: `@latest`.
    Latest,
    /// This one: `@3`.
    Number(u64),
    /// The newest that this run made, or where it made none, the one with this tag.
    Named(String),
}

/// A text that is no reference to a version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` names no version of an artifact: {reason}")]
pub struct ReferenceError {
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Which {
    /// The run or tag that is named.
    pub fn named(&self) -> Option<(ExecutionId, &str)> {
        match self {
            Self::Named(name) => Some((ExecutionId::new(name.as_str()), name)),
            Self::Latest | Self::Number(_) => None,
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Number(number) => number.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ArtifactRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.artifact, self.which)
    }
}

impl FromStr for ArtifactName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason| ReferenceError { text: text.chars().take(80).collect(), reason };
        if text.len() > LENGTH_MAX {
            return Err(wrong("it is too long"));
        }
        let (workflow, name) = text.rsplit_once('/').ok_or_else(|| wrong("write `workflow/name@version`"))?;
        // A group of steps is called after the workflow that declares it: `workflow/type`.
        let is_workflow = workflow.split('/').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'[' | b']'));
        match (is_workflow, is_name) {
            (false, _) => Err(wrong("before the `/` stands the name of a workflow: letters, digits and hyphens")),
            (_, false) => Err(wrong("behind the `/` stands the name of an output: letters, digits and underscores")),
            (true, true) => Ok(Self { workflow: workflow.to_owned(), name: name.to_owned() }),
        }
    }
}

impl FromStr for ArtifactRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason| ReferenceError { text: text.chars().take(80).collect(), reason };
        let (artifact, which) = text.split_once('@').ok_or_else(|| {
            wrong("say which version behind an `@`: a number, `latest`, the name of the run that made it, or a tag")
        })?;
        let artifact = artifact.parse()?;
        let which = match which {
            LATEST => Which::Latest,
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Which::Number(digits.parse().map_err(|_| wrong("there is no such number"))?)
            }
            name if is_word(name) => Which::Named(name.to_owned()),
            _ => return Err(wrong("behind the `@` stands a number, `latest`, the name of a run, or a tag")),
        };
        Ok(Self { artifact, which })
    }
}

fn is_word(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(is_part)
}

/// Whether a version may have this tag: a word that means no other version.
pub fn is_tag(text: &str) -> bool {
    is_word(text) && text != LATEST && !text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_is_written() {
        for text in [
            "a/b@latest",
            "build-it/report@3",
            "a/b[0]@20261123-104236-abc123",
            "a/b@v1.2",
            "a/b@key-0a.f",
            "a/group/b@1",
        ] {
            assert_eq!(text.parse::<ArtifactRef>().unwrap().to_string(), text);
        }
        let which = "a/b@007".parse::<ArtifactRef>().unwrap().which;
        assert_eq!(which, Which::Number(7));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_a_reason() {
        let long = format!("a/{}@1", "b".repeat(600));
        let cases = [
            "", "a", "a/b", "a//b@1", "a@1", "/b@1", "a/@1", "a/b@", "a/b c@1", "a/../b@1", "a/b@x/y", "a/b@1@2", &long,
        ];
        for text in cases.into_iter().chain(["a/b@99999999999999999999999", "ä/b@1"]) {
            assert!(text.parse::<ArtifactRef>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tag_means_no_other_version() {
        assert_eq!(["v1", "stable", "latest", "12", "", "a b"].map(is_tag), [true, true, false, false, false, false]);
    }
}
