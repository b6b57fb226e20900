//! Why something that was asked for is not done, for whoever asked.

use ratchet_definition::inputs::InputMistake;
use ratchet_engine::{EngineError, ports::BlobError};
use serde_json::{Value, json};
use thiserror::Error;

use super::messages::{Refused, Why};
use crate::{
    deployment::{Failure, may_pass},
    published::PublishedError,
};

/// Why not. What may pass is a [`Failure`]: the same call may succeed later.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("the payload is not understood: {0}")]
    Payload(String),
    #[error("{name} is not published here")]
    NotPublished {
        /// The name, and the version where one was asked for.
        name: String,
    },
    #[error("the published workflow {name} cannot be read: {reason}")]
    Definition { name: String, reason: String },
    #[error("{name} was published before, on {published_at}, and this is another text")]
    VersionTaken {
        /// The name and the version.
        name: String,
        /// When the other was published.
        published_at: jiff::Timestamp,
    },
    #[error("the schedule `{expression}` is refused: {reason}")]
    Schedule { expression: String, reason: String },
    #[error("{}", told(.0))]
    Inputs(Vec<InputMistake>),
    #[error(transparent)]
    Engine(EngineError),
    #[error("the request is not signed as this deployment asks for")]
    NotSigned,
    #[error("this delivery came before, and started what it starts")]
    Replayed,
    #[error("there is no such path: {0}")]
    NoSuchPath(String),
    #[error(transparent)]
    ForNow(Failure),
}

impl Refusal {
    /// The stable code of the page in `docs/errors`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Payload(_) => "RT-0450",
            Self::NotPublished { .. } => "RT-0451",
            Self::Definition { .. } => "RT-0452",
            Self::VersionTaken { .. } => "RT-0423",
            Self::Schedule { .. } => "RT-0458",
            Self::Inputs(mistakes) => mistakes.first().map_or("RT-0450", |mistake| mistake.code),
            Self::Engine(_) => "RT-0453",
            Self::NotSigned => "RT-0454",
            Self::Replayed => "RT-0455",
            Self::NoSuchPath(_) => "RT-0456",
            Self::ForNow(_) => "RT-0457",
        }
    }

    /// The status code of an answer over HTTP.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Payload(_) | Self::Inputs(_) | Self::Definition { .. } | Self::Schedule { .. } => 400,
            Self::NotSigned => 401,
            Self::NotPublished { .. } | Self::NoSuchPath(_) | Self::Engine(EngineError::NotFound(_)) => 404,
            Self::Engine(_) | Self::Replayed | Self::VersionTaken { .. } => 409,
            Self::ForNow(_) => 503,
        }
    }

    /// What whoever asked reads.
    pub(super) fn answer(&self) -> Value {
        let help = match self {
            Self::Inputs(mistakes) => mistakes.first().and_then(|mistake| mistake.help.clone()),
            Self::VersionTaken { .. } => Some("give the file another `version`, and publish that".to_owned()),
            _ => None,
        };
        json!(Refused { error: Why { code: self.code().to_owned(), message: self.to_string(), help } })
    }
}

fn told(mistakes: &[InputMistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        if may_pass(&error) { Self::ForNow(error.into()) } else { Self::Engine(error) }
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        EngineError::from(error).into()
    }
}

impl From<PublishedError> for Refusal {
    fn from(error: PublishedError) -> Self {
        Self::ForNow(error.into())
    }
}
