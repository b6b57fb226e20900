//! The artifacts that expressions read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratchet_core::output::FileValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The most artifacts that the expressions of one step read.
const READ_MAX: usize = 64;

/// What expressions ask for by `artifact(…)`. Which ones those are is known only when they are evaluated: one that asks for what is not here yet ends in an error,
/// and is evaluated again once whoever evaluates it has found that. Clones share what was found.
#[derive(Debug, Clone, Default)]
pub struct Artifacts(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    found: BTreeMap<String, Result<FileValue, ArtifactError>>,
    wanted: BTreeSet<String>,
}

/// Why an artifact cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ArtifactError {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// What is wrong: a lower-case sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What was found, without what was only asked for: whoever evaluates elsewhere asks nobody.
impl Serialize for Artifacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.lock().found.iter().map(|(reference, found)| {
            let told = found.as_ref().map_err(|error| (error.code, &error.message, &error.help));
            (reference, told)
        }))
    }
}

impl<'de> Deserialize<'de> for Artifacts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Told = (String, String, Option<String>);
        let told = BTreeMap::<String, Result<FileValue, Told>>::deserialize(deserializer)?;
        let found = told.into_iter().map(|(reference, found)| {
            let error = |(code, message, help): Told| ArtifactError { code: known(&code), message, help };
            (reference, found.map_err(error))
        });
        Ok(Self(Arc::new(Mutex::new(Asked { found: found.collect(), wanted: BTreeSet::new() }))))
    }
}

/// The code of an error, one of the two that there are.
fn known(code: &str) -> &'static str {
    if code == "RT-0198" { "RT-0198" } else { "RT-0197" }
}

impl Artifacts {
    /// What was asked for and is not here, as it was written. The next call gives what was asked for since.
    pub fn take_wanted(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.lock().wanted)
    }

    /// Says what a reference that was asked for means.
    pub fn tell(&self, reference: &str, found: Result<FileValue, ArtifactError>) {
        self.lock().found.insert(reference.to_owned(), found);
    }

    /// Asks for a version that an expression may ask for where nobody finds it any more.
    pub fn want(&self, reference: &str) {
        // What is not here is noted, and that is all that is wanted.
        let _ = self.get(reference);
    }

    /// The file that a reference was found to mean.
    pub fn known(&self, reference: &str) -> Option<FileValue> {
        self.lock().found.get(reference)?.clone().ok()
    }

    /// The file that a reference means.
    pub(crate) fn get(&self, reference: &str) -> Result<FileValue, ArtifactError> {
        let mut asked = self.lock();
        if let Some(found) = asked.found.get(reference) {
            return found.clone();
        }
        if asked.found.len() >= READ_MAX {
            return Err(ArtifactError {
                code: "RT-0197",
                message: format!("more than {READ_MAX} artifacts are read at once"),
                help: Some("read them in several steps".to_owned()),
            });
        }
        asked.wanted.insert(reference.to_owned());
        Err(ArtifactError {
            code: "RT-0197",
            message: format!("the artifact {reference} cannot be read here"),
            help: Some("read it in a command, a prompt, `environment` or an input of the step".to_owned()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ratchet_core::{
        ids::Digest,
        output::{BlobRef, Output},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        evaluate::{Evaluator, Scope, tests::scope_and_files},
        parse,
    };

    #[test]
    fn what_is_asked_for_is_found_and_evaluated_again() {
        let (scope, files) = scope_and_files();
        let scope = Scope { artifacts: Artifacts::default(), ..scope };
        let artifacts = scope.artifacts.clone();
        let evaluator = Evaluator::new(scope, Arc::new(files));
        let expression = parse::expression("[artifact('a/b@' ~ inputs.target_coverage), artifact('a/c@latest')]");
        let expression = expression.expect("an expression").value;
        let file =
            |name: &str| FileValue { path: name.to_owned(), content: BlobRef { digest: Digest::new(name), size: 1 } };
        let mut asked = Vec::new();
        let value = loop {
            let value = evaluator.expression(&expression);
            let wanted = artifacts.take_wanted();
            if wanted.is_empty() {
                break value;
            }
            assert_eq!(value.unwrap_err().code, "RT-0197");
            for name in &wanted {
                artifacts.tell(name, Ok(file(name)));
            }
            asked.extend(wanted);
        };
        assert_eq!(asked, ["a/b@90", "a/c@latest"], "each once, when it is reached");
        let each = Output::Each(vec![Some(Output::File(file("a/b@90"))), Some(Output::File(file("a/c@latest")))]);
        assert_eq!(value, Ok(each));
    }

    #[test]
    fn what_cannot_be_read_says_why_and_an_end_is_put_to_asking() {
        let (scope, files) = scope_and_files();
        let (artifacts, evaluator) = (scope.artifacts.clone(), Evaluator::new(scope, Arc::new(files)));
        let why = ArtifactError { code: "RT-0198", message: "it may not".to_owned(), help: Some("ask".to_owned()) };
        artifacts.tell("a/b@1", Err(why));
        let evaluate = |text: &str| evaluator.expression(&parse::expression(text).expect("an expression").value);
        let error = evaluate("artifact('a/b@1')").unwrap_err();
        assert_eq!((error.code, error.help.as_deref()), ("RT-0198", Some("ask")));
        let guarded = evaluate("'none' if inputs.flag else artifact('a/c@1')");
        assert_eq!(guarded, Ok(Output::Json(json!("none"))));
        assert!(artifacts.take_wanted().is_empty(), "what is not reached is not asked for");
        for number in 0..=READ_MAX {
            let _ = evaluate(&format!("artifact('x/y@{number}')"));
            for name in &artifacts.take_wanted() {
                artifacts.tell(name, Err(ArtifactError { code: "RT-0197", message: String::new(), help: None }));
            }
        }
        assert!(artifacts.get("x/z@1").unwrap_err().message.contains("more than 64"), "it does not go on for ever");
    }
}
