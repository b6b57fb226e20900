//! Artifacts: files that are kept under a name, version by version, beyond the run that made them.

mod reference;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::reference::{ArtifactRef, ReferenceError, Which, is_tag};
use crate::{
    ids::{Digest, Epoch, ExecutionId, StepPath},
    output::FileValue,
};

/// What versions are kept under: the workflow that makes them, and a name of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtifactName {
    /// The workflow's name.
    pub workflow: String,
    /// The output's name; with the item's position behind it (`report[3]`) for a child of a fan-out.
    pub name: String,
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workflow, self.name)
    }
}

/// A file that is to be kept, as whoever made it describes it. The number of the version is given by the write that registers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Under which name.
    #[serde(flatten)]
    pub name: ArtifactName,
    /// The file.
    pub file: FileValue,
    /// What kind of content it is.
    pub media_type: String,
    /// Who made it. A second one of the same origin is the same version.
    pub origin: Origin,
    /// How long it is kept.
    pub retention: Retention,
    /// Which other workflows may read it.
    pub readers: Readers,
    /// When it was made.
    pub made_at: Timestamp,
}

/// One version of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactVersion {
    /// Versions of a name count up from 1.
    pub number: u64,
    /// The file.
    #[serde(flatten)]
    pub artifact: Artifact,
    /// How often a run or a tag began or ceased to rely on it. It is dropped only as it was seen.
    #[serde(default)]
    pub uses: u64,
}

/// Who made a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A run.
    Run(Maker),
    /// A person, who put it there.
    Person {
        /// Who.
        name: String,
        /// Of which request: the same again is the same version.
        request: String,
    },
}

/// The part of a run that made a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// Which run.
    pub execution: ExecutionId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Which step; none for an output of the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// The definition that it followed, which is kept with it.
    pub definition: Digest,
    /// What the step's result is found by in the cache, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
}

impl Origin {
    /// What makes versions of a name to be of the same origin, as text.
    pub fn source(&self) -> String {
        match self {
            Self::Run(Maker { execution, step: Some(step), .. }) => format!("{execution}/{step}"),
            Self::Run(Maker { execution, step: None, .. }) => execution.to_string(),
            Self::Person { request, .. } => format!("$put/{request}"),
        }
    }

    /// The run that made it, where one did.
    pub fn maker(&self) -> Option<&Maker> {
        match self {
            Self::Run(maker) => Some(maker),
            Self::Person { .. } => None,
        }
    }
}

impl Artifact {
    /// Whether registering this again changes nothing, as the newest version of the same name and origin is there already. What a later epoch makes is a
    /// version of its own, unless it has the same content; what comes late of an earlier one is none any more.
    pub fn is(&self, newest: &ArtifactVersion) -> bool {
        let epoch = |origin: &Origin| origin.maker().map(|maker| maker.epoch);
        epoch(&newest.artifact.origin) >= epoch(&self.origin)
            || newest.artifact.file.content.digest == self.file.content.digest
    }

    /// Whether it is an output of a run itself: one that hands on what a step of the run registered under the same name is the step's version.
    pub fn hands_on(&self, of_the_same_run: &ArtifactVersion) -> bool {
        let maker = self.origin.maker().filter(|maker| maker.step.is_none());
        maker.is_some()
            && maker.map(|maker| &maker.execution)
                == of_the_same_run.artifact.origin.maker().map(|maker| &maker.execution)
            && of_the_same_run.artifact.file.content.digest == self.file.content.digest
    }
}

/// How long versions are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// The newest version, and what is younger than 7 days.
    Brief,
    /// The newest 10 versions, and what is younger than 90 days.
    #[default]
    Standard,
    /// For good.
    Forever,
}

impl Retention {
    /// Every class, the shortest first.
    pub const ALL: [Self; 3] = [Self::Brief, Self::Standard, Self::Forever];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brief => "brief",
            Self::Standard => "standard",
            Self::Forever => "forever",
        }
    }

    /// The class of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// How many of the newest versions stay whatever their age, and for how many hours every version does; `None` for those that always stay.
    pub fn stays(self) -> Option<(u64, i64)> {
        match self {
            Self::Brief => Some((1, 7 * 24)),
            Self::Standard => Some((10, 90 * 24)),
            Self::Forever => None,
        }
    }

    /// Whether a version has been kept long enough, that so many newer ones of its name stand above.
    pub fn is_over(self, made_at: Timestamp, newer: u64, now: Timestamp) -> bool {
        self.stays().is_some_and(|(newest, hours)| newer >= newest && now.duration_since(made_at).as_hours() >= hours)
    }
}

/// Which other workflows may read a version. The workflow that made it may, and people who may read the state may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// All whose state is in the same place.
    #[default]
    All,
    /// These alone.
    Only(Vec<String>),
}

/// What becomes of the versions that a workflow makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactPolicy {
    /// How long they are kept.
    pub retention: Retention,
    /// Which other workflows may read them.
    pub readers: Readers,
}

impl ArtifactVersion {
    /// Whether a run of a workflow may read it.
    pub fn may_be_read_by(&self, workflow: &str) -> bool {
        match &self.artifact.readers {
            Readers::All => true,
            Readers::Only(names) => {
                workflow == self.artifact.name.workflow || names.iter().any(|name| name == workflow)
            }
        }
    }

    /// The name that means this version and no other.
    pub fn reference(&self) -> ArtifactRef {
        ArtifactRef { artifact: self.artifact.name.clone(), which: Which::Number(self.number) }
    }
}

/// That a run relies on a version: what lineage is told from, and what keeps the version while the run lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtifactRead {
    /// Which run.
    pub execution: ExecutionId,
    /// Which step of it; none for an input of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// Of which artifact.
    pub artifact: ArtifactName,
    /// Which version.
    pub number: u64,
}

/// What kind of content a file of this name is taken for.
pub fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "css" => "text/css",
        "csv" => "text/csv",
        "diff" | "patch" => "text/x-diff",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "html" | "htm" => "text/html",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "jsonl" | "ndjson" => "application/x-ndjson",
        "log" | "txt" => "text/plain",
        "md" => "text/markdown",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "sarif" => "application/sarif+json",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "toml" => "application/toml",
        "wasm" => "application/wasm",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{ids::StepId, output::BlobRef};

    fn version(epoch: u32, step: Option<&str>, digest: &str) -> ArtifactVersion {
        let maker = Maker {
            execution: ExecutionId::new("run"),
            epoch: Epoch(epoch),
            step: step.map(|step| StepPath::step(StepId::new(step))),
            definition: Digest::new("d"),
            cache_key: None,
        };
        let artifact = Artifact {
            name: ArtifactName { workflow: "build".to_owned(), name: "report".to_owned() },
            file: FileValue {
                path: "out/report.xml".to_owned(),
                content: BlobRef { digest: Digest::new(digest), size: 1 },
            },
            media_type: media_type("out/report.xml").to_owned(),
            origin: Origin::Run(maker),
            retention: Retention::default(),
            readers: Readers::Only(vec!["deploy".to_owned()]),
            made_at: Timestamp::UNIX_EPOCH,
        };
        ArtifactVersion { number: 1, artifact, uses: 0 }
    }

    #[test]
    fn what_an_origin_made_is_registered_once_in_an_epoch() {
        let there = version(2, Some("a"), "x");
        let cases = [(2, "x", true), (2, "y", true), (1, "y", true), (3, "x", true), (3, "y", false)];
        for (epoch, digest, same) in cases {
            assert_eq!(version(epoch, Some("a"), digest).artifact.is(&there), same, "{epoch} {digest}");
        }
    }

    #[test]
    fn an_output_of_the_run_is_the_steps_version_where_it_hands_that_on() {
        let there = version(1, Some("a"), "x");
        assert!(version(1, None, "x").artifact.hands_on(&there));
        assert!(!version(1, None, "y").artifact.hands_on(&there));
        assert!(!version(1, Some("b"), "x").artifact.hands_on(&there), "another step made one of its own");
    }

    #[test]
    fn a_workflow_reads_its_own_and_those_it_is_let_read() {
        let version = version(1, None, "x");
        let may = ["build", "deploy", "other"].map(|workflow| version.may_be_read_by(workflow));
        assert_eq!(may, [true, true, false]);
    }

    #[test]
    fn a_version_is_kept_for_its_age_or_its_place() {
        let now = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_hours(8 * 24)).unwrap();
        let over = |class: Retention, newer| class.is_over(Timestamp::UNIX_EPOCH, newer, now);
        assert_eq!([over(Retention::Brief, 0), over(Retention::Brief, 1)], [false, true]);
        assert!(!over(Retention::Standard, 100), "it is younger than 90 days");
        assert!(!over(Retention::Forever, 100));
        let late = Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_hours(91 * 24)).unwrap();
        let over = |newer| Retention::Standard.is_over(Timestamp::UNIX_EPOCH, newer, late);
        assert_eq!([over(9), over(10)], [false, true]);
    }

    #[test]
    fn a_media_type_follows_from_the_end_of_the_name() {
        let cases = [
            ("a/b.JSON", "application/json"),
            ("a.tar.gz", "application/gzip"),
            ("a.json/b", "application/octet-stream"),
            ("", "application/octet-stream"),
        ];
        for (path, expected) in cases {
            assert_eq!(media_type(path), expected, "{path}");
        }
    }
}
