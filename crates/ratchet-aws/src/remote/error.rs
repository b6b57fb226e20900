use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

use crate::chain;

/// Why a deployment cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RemoteError {
    /// There is no such stack where it was looked for.
    #[error("there is no stack {name} in {region}")]
    NoStack {
        /// Its name.
        name: String,
        /// The region.
        region: String,
    },
    /// The stack is there and is not a deployment, or not one that this version knows.
    #[error(
        "the stack {name} has no output {output}: it is no deployment of Ratchet, or is not deployed yet, or is older than this command"
    )]
    NotADeployment {
        /// Its name.
        name: String,
        /// What it lacks.
        output: String,
    },
    /// Nobody can be asked without these.
    #[error("there are no credentials of AWS, or no region: {0}")]
    NoCredentials(String),
    /// The caller may not.
    #[error("AWS does not let you {action}: {reason}")]
    Denied {
        /// What was tried: a fragment that reads after "let you".
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// It is asked too much, or cannot be reached, now.
    #[error("AWS cannot {action} now: {reason}")]
    Unavailable {
        /// What was tried: a fragment that reads after "cannot".
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// The deployment does not do what it was asked, and says why.
    #[error("{message}")]
    Refused {
        /// The stable code of the page in `docs/errors`.
        code: String,
        /// Why.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}

/// What a service says where the caller may not.
const DENIED: [&str; 7] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

impl RemoteError {
    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &str {
        match self {
            Self::NoStack { .. } => "RT-0460",
            Self::NotADeployment { .. } => "RT-0461",
            Self::NoCredentials(_) => "RT-0462",
            Self::Denied { .. } => "RT-0463",
            Self::Unavailable { .. } => "RT-0464",
            Self::Refused { code, .. } => code,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoStack { .. } => {
                "check the name, and AWS_REGION and AWS_PROFILE; `aws cloudformation list-stacks` lists them"
            }
            Self::NotADeployment { .. } => "deploy template.yaml of this version under that name",
            Self::NoCredentials(_) => "`aws sts get-caller-identity` must work, and AWS_REGION must name a region",
            Self::Denied { .. } => {
                "attach the policy of the stack's output `PeoplePolicy` to the user or role that you are"
            }
            Self::Unavailable { .. } => "try again; nothing is done twice",
            Self::Refused { help, .. } => return help.clone(),
        };
        Some(hint.to_owned())
    }

    /// What came of a request that was not answered.
    pub(super) fn of<E>(action: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Some(service) = error.as_service_error() else {
            let reason = chain(error);
            let is_about_credentials = matches!(error, SdkError::ConstructionFailure(_))
                || ["credentials", "region"].iter().any(|word| reason.to_lowercase().contains(word));
            return if is_about_credentials {
                Self::NoCredentials(reason)
            } else {
                Self::Unavailable { action, reason }
            };
        };
        let code = service.code().unwrap_or("?");
        let reason = format!("{code}: {}", service.message().unwrap_or(""));
        if DENIED.contains(&code) { Self::Denied { action, reason } } else { Self::Unavailable { action, reason } }
    }
}
