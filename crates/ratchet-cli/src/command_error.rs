//! What the command says when it cannot do what it was asked: what happened, where, and what to do, with a stable code.

use std::fmt::Write as _;
use std::{io, path::PathBuf};

#[cfg(feature = "aws")]
use ratchet_aws::remote::RemoteError;
use ratchet_core::{
    ids::{ExecutionId, StepPath},
    rejection::Rejection,
};
use ratchet_engine::{
    EngineError,
    ports::{BlobError, CacheError, SecretError, StoreError},
    view::RowsError,
};
use ratchet_local::{engine::DriveError, error::LocalError, workspace::FilesError};
use ratchet_runner::{SECRET_LENGTH_MIN, agent::RecordingError, codes::SECRET_TOO_SHORT};
use thiserror::Error;

use crate::{exit_code::ExitCode, paint::Paint};

/// Everything that the command itself refuses, and the errors of the libraries under it.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// A file that was named cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file cannot be written or removed.
    #[error("{} cannot be changed: {source}", path.display())]
    FileWrite { path: PathBuf, source: io::Error },
    /// The workflow file has mistakes, which were shown already.
    #[error("{name} has {count}")]
    Mistakes { name: String, count: String },
    /// Inputs are missing, unknown or of the wrong type.
    #[error("the inputs are wrong:\n{}", .0.iter().map(|mistake| format!("  - {mistake}")).collect::<Vec<_>>().join("\n"))]
    Inputs(Vec<String>),
    /// The event starts no run.
    #[error("the event in {} starts no run: {reason}", path.display())]
    NotStarted { path: PathBuf, reason: String },
    /// An argument is not what it must be.
    #[error("{argument}: {reason}")]
    Argument { argument: &'static str, reason: String, hint: &'static str },
    /// A secret that the workflow asks for cannot be masked.
    #[error("the secret {name} has fewer than {SECRET_LENGTH_MIN} characters, so that it cannot be masked")]
    ShortSecret { name: String },
    /// An argument of the call is not one of the values that it may have.
    #[error("{message}")]
    ArgumentValue { message: String, hint: String },
    /// The call cannot be understood.
    #[error("{message}")]
    Call { message: String, hint: String, usage: String },
    /// No execution has the name.
    #[error("there is no execution {name}")]
    UnknownExecution { name: String },
    /// More than one execution has the name.
    #[error("{name} is the name of {} executions: {}", found.len(), found.join(", "))]
    AmbiguousExecution { name: String, found: Vec<String> },
    /// `last` was asked for, and nothing ever ran.
    #[error("there are no executions yet")]
    NoExecutions,
    /// The workflow has no such step.
    #[error("the workflow {workflow} has no step {step}")]
    UnknownStep { workflow: String, step: String, nearest: Option<String> },
    /// There is neither a home nor a state directory.
    #[error("there is no state directory: neither HOME nor XDG_STATE_HOME is set")]
    NoStateDirectory,
    /// The state directory cannot be used.
    #[error("the state directory {} cannot be used: {source}", place.display())]
    StateDirectory { place: PathBuf, source: io::Error },
    /// The execution stands where the call does not apply.
    #[error("{execution} is {status}, so it cannot be {action}")]
    NotApplicable { execution: ExecutionId, status: String, action: &'static str, hint: String },
    /// The directory is not what the execution knows, and nothing says which files are meant.
    #[error("{} changed since {execution} took its files: {paths}", .directory.display())]
    FilesChanged { execution: ExecutionId, directory: PathBuf, paths: String },
    /// The secrets cannot be read.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The step asks others.
    #[error("{by} may not answer {step}: it asks {}", approvers.join(", "))]
    NotAnApprover { by: String, step: StepPath, approvers: Vec<String> },
    /// The step does not ask, or was answered otherwise.
    #[error("{0}")]
    NotAsking(Rejection),
    /// Nothing was logged.
    #[error("there is no log of {what}: {why}")]
    NoLog { what: String, why: String },
    /// Nothing is kept of the files that were asked for.
    #[error("the files of {what} cannot be shown: {why}")]
    NoFiles { what: String, why: String, hint: String },
    /// The step's values cannot be filled in.
    #[error("{step} cannot be rendered: {reason}")]
    Render { step: String, reason: String },
    /// The history is not what was written.
    #[error("the history of {execution} is broken: {reason}")]
    BrokenHistory { execution: ExecutionId, reason: String },
    /// The history decides otherwise when it is decided again.
    #[error("the history of {execution} does not replay: {reason}")]
    NotReplayed { execution: ExecutionId, reason: String },
    /// The definition that an execution followed is not to be read any more.
    #[error("the definition of {execution} cannot be read: {reason}")]
    Definition { execution: ExecutionId, reason: String },
    /// The execution cannot go on under the file.
    #[error("{0}")]
    Edit(String),
    /// The name of the concurrency group cannot be told.
    #[error("{0}")]
    Group(String),
    /// Where the files come from cannot be told.
    #[error("{0}")]
    Source(String),
    /// A variable that the caller passes holds a secret in the workflow.
    #[error("{0}")]
    SecretVariable(String),
    /// An artifact cannot be read.
    #[error("{message}")]
    Artifact { code: &'static str, message: String, hint: Option<String> },
    /// Files of tests have mistakes, which were shown already.
    #[error("the tests have {count}")]
    WrongTests { count: String },
    /// There is no test.
    #[error("there are no tests{}", filter.as_ref().map(|filter| format!(" whose name has '{filter}' in it")).unwrap_or_default())]
    NoTests { filter: Option<String> },
    /// No such definition was published.
    #[error("{name} was not published{}", if versions.is_empty() { String::new() } else { format!(": its versions are {}", versions.join(", ")) })]
    NotPublished { name: String, versions: Vec<String> },
    /// A published definition is not to be read any more.
    #[error("{name} was published and cannot be read: {reason}")]
    Published { name: String, reason: String },
    /// Another text was published under the name and version.
    #[error("{name} was published before, on {published_at}, and this is another text")]
    VersionTaken { name: String, published_at: jiff::Timestamp },
    /// A program lies beside the file.
    #[error(
        "{name} cannot be published: the step {step} runs {program}, which lies beside the file and is not kept with it"
    )]
    NotPublishable { name: String, step: String, program: String },
    /// An execution of the same key has other inputs or another definition.
    #[error("the key names {execution} already, which {difference}")]
    KeyTaken { execution: ExecutionId, difference: &'static str },
    /// The command's own output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// The system gives no means to wait for several things at once.
    #[error("the engine cannot start: {0}")]
    Runtime(io::Error),
    /// Whoever read the output went away. Nothing is wrong.
    #[error("nobody reads the output")]
    ReaderGone,
    /// The local engine failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A recording cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The engine could not go on.
    #[error("the execution cannot go on: {0}")]
    Engine(String),
    /// The command is about what only this machine has.
    #[error("this works on the executions of this machine alone, and the stack {stack} is named")]
    OnlyHere { stack: String },
    /// The command is about what only a deployment has.
    #[error("this is about a deployment, and no stack is named")]
    OnlyThere,
    /// The program cannot ask AWS anything.
    #[error("this ratchet was built without AWS, and a stack is named")]
    WithoutAws,
    /// The deployment cannot be asked, or does not do what it was asked.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The step cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A stored value is damaged.
    #[error("the stored value {digest} cannot be read: {reason}")]
    Value { digest: String, reason: String },
}

impl From<RowsError> for CommandError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Store(error) => error.into(),
            RowsError::Blob(error) => error.into(),
            RowsError::Value { digest, reason } => Self::Value { digest, reason },
        }
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(id) => Self::UnknownExecution { name: id.to_string() },
            EngineError::NoSuchStep { workflow, step } => {
                Self::UnknownStep { workflow, step: step.to_string(), nearest: None }
            }
            EngineError::Definition { execution, reason } => Self::Definition { execution, reason },
            error @ EngineError::Edit { .. } => Self::Edit(error.to_string()),
            error @ EngineError::Group { .. } => Self::Group(error.to_string()),
            error @ EngineError::Source { .. } => Self::Source(error.to_string()),
            error @ EngineError::SecretVariable { .. } => Self::SecretVariable(error.to_string()),
            EngineError::Artifact { input, error } => Self::Artifact {
                code: error.code,
                message: format!("the input {input}: {}", error.message),
                hint: error.help,
            },
            EngineError::Store(error) => error.into(),
            EngineError::Blob(error) => error.into(),
            EngineError::Rejected(
                rejection @ (Rejection::NotAsked { .. }
                | Rejection::AnsweredOtherwise { .. }
                | Rejection::NotApplicable { event: "Answered", .. }
                | Rejection::ExecutionNotApplicable { event: "Answered", .. }),
            ) => Self::NotAsking(rejection),
            EngineError::Rejected(_)
            | EngineError::Contention { .. }
            | EngineError::Bus(_)
            | EngineError::Launch(_)
            | EngineError::Workspace(_) => Self::Engine(error.to_string()),
        }
    }
}

impl From<DriveError> for CommandError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Local(error) => error.into(),
            DriveError::Engine(error) => error.into(),
        }
    }
}

impl CommandError {
    /// The stable code of the error's page in `docs/errors`; none where there is nothing to read about.
    pub(crate) fn code(&self) -> Option<&str> {
        Some(match self {
            Self::File { .. } => "RT-0400",
            Self::FileWrite { .. } => "RT-0415",
            Self::Inputs(_) => "RT-0401",
            Self::Argument { .. } | Self::ArgumentValue { .. } => "RT-0402",
            Self::ShortSecret { .. } => SECRET_TOO_SHORT,
            Self::Call { .. } => "RT-0421",
            Self::Edit(_) => "RT-0431",
            Self::NotStarted { .. } => "RT-0430",
            Self::UnknownExecution { .. } | Self::NoExecutions => "RT-0403",
            Self::AmbiguousExecution { .. } => "RT-0404",
            Self::UnknownStep { .. } => "RT-0405",
            Self::NoStateDirectory | Self::StateDirectory { .. } => "RT-0406",
            Self::NotApplicable { .. } => "RT-0407",
            Self::FilesChanged { .. } => "RT-0428",
            Self::Secrets(error) => error.code(),
            Self::NotAnApprover { .. } => "RT-0419",
            Self::NotAsking(_) => "RT-0420",
            Self::NoLog { .. } => "RT-0408",
            Self::Render { .. } => "RT-0409",
            Self::BrokenHistory { .. } => "RT-0410",
            Self::NotReplayed { .. } => "RT-0418",
            Self::Definition { .. } => "RT-0411",
            Self::Group(_) => "RT-0189",
            Self::Source(_) => "RT-0196",
            Self::SecretVariable(_) => "RT-0426",
            Self::NoFiles { .. } => "RT-0427",
            Self::Artifact { code, .. } => code,
            Self::WrongTests { .. } => "RT-0440",
            Self::NoTests { .. } => "RT-0441",
            Self::NotPublished { .. } => "RT-0422",
            Self::VersionTaken { .. } => "RT-0423",
            Self::NotPublishable { .. } => "RT-0424",
            Self::Published { .. } => "RT-0425",
            Self::KeyTaken { .. } => "RT-0412",
            Self::Output(_) => "RT-0413",
            Self::Runtime(_) => "RT-0416",
            Self::Value { .. } => "RT-0414",
            Self::Local(error) => error.code(),
            Self::Recording(error) => error.code(),
            Self::Engine(_) => "RT-0417",
            Self::OnlyHere { .. } => "RT-0465",
            Self::WithoutAws => "RT-0466",
            Self::OnlyThere => "RT-0467",
            #[cfg(feature = "aws")]
            Self::Remote(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Cache(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Mistakes { .. } | Self::ReaderGone => return None,
        })
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File { .. } => "check the path, and that you may read it".to_owned(),
            Self::FileWrite { .. } => "check the space, and that you may write there".to_owned(),
            Self::Inputs(_) => "give inputs with -i name=value or --inputs FILE".to_owned(),
            Self::Argument { hint, .. } => (*hint).to_owned(),
            Self::ShortSecret { .. } => "use a longer one, or pass a value that is no secret as an input".to_owned(),
            Self::NotStarted { .. } => "compare it with `on` in the workflow, or leave --event out".to_owned(),
            Self::UnknownExecution { .. } => "`ratchet list` shows the executions of this state directory".to_owned(),
            Self::NoExecutions => "`ratchet run FILE` makes the first".to_owned(),
            Self::AmbiguousExecution { .. } => "give more of its name".to_owned(),
            Self::UnknownStep { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            Self::UnknownStep { nearest: None, .. } => "`ratchet graph FILE` shows its steps".to_owned(),
            Self::NoStateDirectory | Self::StateDirectory { .. } => {
                "name a directory of your own with --state-dir or RATCHET_STATE_DIR".to_owned()
            }
            Self::ArgumentValue { hint, .. }
            | Self::Call { hint, .. }
            | Self::NotApplicable { hint, .. }
            | Self::NoFiles { hint, .. } => hint.clone(),
            Self::FilesChanged { .. } => "`--files then` goes on with the files as they were, and `--files now` brings what changed into what the steps left that are kept".to_owned(),
            Self::Secrets(_) => "each line of the file that `RATCHET_SECRETS_FILE` names is NAME=value".to_owned(),
            Self::NotAnApprover { .. } => "have one of them answer from their own account".to_owned(),
            Self::NotAsking(_) => "`ratchet status` shows what waits for an approval".to_owned(),
            Self::NoLog { .. } => "`ratchet status` shows which steps ran".to_owned(),
            Self::Render { .. } => {
                "give the inputs with -i, and an earlier run's outputs with --from EXECUTION".to_owned()
            }
            Self::BrokenHistory { .. } => {
                "the state was changed by something else than ratchet; do not trust it".to_owned()
            }
            Self::NotReplayed { .. } => {
                "the state was written by another version of ratchet, or changed by something else".to_owned()
            }
            Self::Definition { .. } | Self::Value { .. } => {
                "the blob store is damaged: restore it from a copy".to_owned()
            }
            Self::Edit(_) => "`ratchet run FILE` begins a new execution with the file".to_owned(),
            Self::Group(_) => {
                "the `group` of `concurrency` reads inputs, variables and the trigger, and gives one line".to_owned()
            }
            Self::Source(_) => {
                "`url` and `ref` of `workspace` read inputs, variables and the trigger, and give one line".to_owned()
            }
            Self::SecretVariable(_) => {
                "leave it out; another value for the secret stands in RATCHET_SECRET_<NAME>, or in RATCHET_SECRETS_FILE"
                    .to_owned()
            }
            Self::Artifact { hint, .. } => return hint.clone(),
            Self::WrongTests { .. } => "mend them: docs/testing.md says what may stand in such a file".to_owned(),
            Self::NoTests { .. } => "they stand in files whose names end in .test.yaml".to_owned(),
            Self::NotPublished { .. } => "`ratchet publish FILE` publishes a workflow".to_owned(),
            Self::VersionTaken { .. } => "give the file another `version`, and publish that".to_owned(),
            Self::NotPublishable { .. } => "name the program by its name alone, or by its absolute path".to_owned(),
            Self::Published { .. } => "publish the workflow again, under another version".to_owned(),
            Self::KeyTaken { .. } => "use another --idempotency-key for other work".to_owned(),
            Self::Local(error) => error.hint(),
            Self::Recording(_) => "`ratchet run FILE --record DIR` makes a recording".to_owned(),
            Self::Engine(_) => "what was done is kept: `ratchet resume` goes on with it".to_owned(),
            Self::OnlyHere { .. } => "leave out --stack, and RATCHET_STACK where it is set".to_owned(),
            Self::OnlyThere => "name it: `ratchet --stack NAME …`, or RATCHET_STACK".to_owned(),
            Self::WithoutAws => "build it with `cargo build --package ratchet-cli --features aws`".to_owned(),
            #[cfg(feature = "aws")]
            Self::Remote(error) => return error.hint(),
            Self::Store(error) => error.hint().to_owned(),
            Self::Cache(error) => error.hint().to_owned(),
            Self::Blob(error) => error.hint().to_owned(),
            Self::Runtime(_) => "raise the limits of open files and processes (`ulimit -a`)".to_owned(),
            Self::Mistakes { .. } | Self::Output(_) | Self::ReaderGone => return None,
        })
    }

    /// What the command's exit code says.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::File { .. }
            | Self::Mistakes { .. }
            | Self::Inputs(_)
            | Self::Argument { .. }
            | Self::ArgumentValue { .. }
            | Self::ShortSecret { .. }
            | Self::Call { .. }
            | Self::NotStarted { .. }
            | Self::UnknownExecution { .. }
            | Self::AmbiguousExecution { .. }
            | Self::NoExecutions
            | Self::UnknownStep { .. }
            | Self::NoStateDirectory
            | Self::StateDirectory { .. }
            | Self::NotApplicable { .. }
            | Self::FilesChanged { .. }
            | Self::Secrets(_)
            | Self::NotAnApprover { .. }
            | Self::NotAsking(_)
            | Self::NoLog { .. }
            | Self::NoFiles { .. }
            | Self::Render { .. }
            | Self::Group(_)
            | Self::Edit(_)
            | Self::Source(_)
            | Self::SecretVariable(_)
            | Self::Artifact { .. }
            | Self::WrongTests { .. }
            | Self::NoTests { .. }
            | Self::NotPublished { .. }
            | Self::VersionTaken { .. }
            | Self::NotPublishable { .. }
            | Self::KeyTaken { .. }
            | Self::OnlyHere { .. }
            | Self::OnlyThere
            | Self::WithoutAws
            | Self::Recording(_)
            | Self::Local(
                LocalError::Driven { .. }
                | LocalError::NoWorkspace { .. }
                | LocalError::Files(FilesError::Bound { .. })
                | LocalError::NotFound(_),
            ) => ExitCode::WrongCall,
            Self::FileWrite { .. }
            | Self::BrokenHistory { .. }
            | Self::NotReplayed { .. }
            | Self::Definition { .. }
            | Self::Published { .. }
            | Self::Output(_)
            | Self::Runtime(_)
            | Self::Local(_)
            | Self::Engine(_)
            | Self::Store(_)
            | Self::Cache(_)
            | Self::Blob(_)
            | Self::Value { .. } => ExitCode::Failed,
            Self::ReaderGone => ExitCode::Completed,
            #[cfg(feature = "aws")]
            Self::Remote(RemoteError::Denied { .. } | RemoteError::Unavailable { .. }) => ExitCode::Failed,
            #[cfg(feature = "aws")]
            Self::Remote(_) => ExitCode::WrongCall,
        }
    }

    /// The error as a person reads it; empty where there is nothing to say.
    pub(crate) fn rendered(&self, paint: Paint) -> String {
        if matches!(self, Self::ReaderGone) {
            return String::new();
        }
        let head = match self.code() {
            Some(code) => format!("error[{code}]"),
            None => "error".to_owned(),
        };
        let mut text = format!("{}: {self}", paint.bad(&head));
        if let Some(hint) = self.hint() {
            let _ = write!(text, "\n{}: {hint}", paint.bold("hint"));
        }
        if let Self::Call { usage, .. } = self {
            let _ = write!(text, "\n{}: {usage}", paint.bold("usage"));
        }
        text
    }
}
