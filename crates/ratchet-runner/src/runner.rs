//! One attempt of one step, from its order to its report.

use std::{
    io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ratchet_core::step::{FailureClass, StepFailure, StepResult, Usage};
use ratchet_definition::files::FileAccess;
use ratchet_engine::{
    masks::Masks,
    order::{AttemptOutcome, AttemptReport, Order, Work},
    ports::{Agent, AttemptFiles, AttemptPlace, AttemptRunner, BlobStore, Observer, Secrets, StopSignal},
};

use crate::{
    capture::{Capture, Said},
    codes,
    command::Invocation,
    environment::BaseEnvironment,
    family,
    profile::{Confinement, Worker},
    request::Web,
    scratch::ScratchPool,
};

/// Gives the files of a workspace to expressions.
pub type FilesOf = Arc<dyn Fn(&AttemptFiles) -> Arc<dyn FileAccess> + Send + Sync>;

/// Runs attempts: commands as processes, agents by the one that it was given, and requests by itself.
pub struct Runner {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) agent: Arc<dyn Agent>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) files: FilesOf,
    pub(crate) environment: BaseEnvironment,
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
    pub(crate) web: Web,
    pub(crate) confinement: Confinement,
    pub(crate) scratch: ScratchPool,
    pub(crate) grace: Duration,
}

/// An attempt that goes on.
pub(crate) struct Attempt<'a> {
    pub(crate) order: &'a Order,
    pub(crate) place: &'a AttemptPlace,
    pub(crate) stop: StopSignal,
    /// When the order came.
    pub(crate) began: Instant,
}

/// An attempt whose process or agent has ended well, before its outputs are taken.
pub(crate) struct Done {
    pub(crate) said: Said,
    /// Outputs that were not declared and are always there.
    pub(crate) always: ratchet_core::output::Outputs,
    pub(crate) exit_code: Option<i32>,
    pub(crate) usage: Usage,
    pub(crate) warning: Option<String>,
    /// What may not be kept.
    pub(crate) masks: Masks,
    /// An agent's session that another step goes on with.
    pub(crate) session: Option<ratchet_core::output::BlobRef>,
}

/// An attempt that did not end well.
pub(crate) enum Undone {
    /// It failed.
    Failed(Box<StepFailure>, Usage),
    /// It was told to stop.
    Stopped,
}

impl Runner {
    /// A runner that keeps file outputs in `blobs`, asks `agent`, tells `observer` each line, and reads files for expressions by `files`.
    ///
    /// This process adopts the orphans of its descendants from now on, so that a process that leaves its step's group is found.
    pub fn new(blobs: Arc<dyn BlobStore>, agent: Arc<dyn Agent>, observer: Arc<dyn Observer>, files: FilesOf) -> Self {
        if let Err(error) = family::adopt_orphans() {
            tracing::debug!(%error, "orphans are not adopted: all processes are searched for what leaves its group");
        }
        let environment = BaseEnvironment::of_this_process();
        Self {
            blobs,
            agent,
            observer,
            files,
            environment,
            secrets: None,
            web: Web::default(),
            confinement: Confinement::default(),
            scratch: ScratchPool::default(),
            grace: Duration::from_secs(2),
        }
    }

    /// With other variables of the person who runs it.
    #[must_use]
    pub fn with_environment(mut self, environment: BaseEnvironment) -> Self {
        self.environment = environment;
        self
    }

    /// With secrets for the steps that ask for one.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// With what it is allowed of the network.
    #[must_use]
    pub fn with_web(mut self, web: Web) -> Self {
        self.web = web;
        self
    }

    /// With what the person who runs it says of profiles.
    #[must_use]
    pub fn with_confinement(mut self, confinement: Confinement) -> Self {
        self.confinement = confinement;
        self
    }

    /// With another time from the request to end until the kill.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Finds out what the first attempt in a workspace would have to wait for.
    pub async fn get_ready(&self, workspace: &Path) {
        self.environment.author(workspace).await;
    }

    async fn attempt(&self, attempt: Attempt<'_>) -> AttemptOutcome {
        let (order, place) = (attempt.order, attempt.place);
        let worked = match &order.work {
            Work::Command { argv, values, allow_exit_codes, profile } => {
                let profile = *profile;
                let invocation = Invocation {
                    argv,
                    values,
                    allow_exit_codes,
                    profile,
                    worker: Worker::Command,
                    timeout: order.timeout,
                    stdin: None,
                    beside: None,
                };
                self.command(&attempt, invocation).await
            }
            Work::Program(program) => self.program(&attempt, program).await,
            Work::Agent(asked) => self.ask(&attempt, asked).await,
            Work::Request(asked) => self.send(&attempt, asked).await,
        };
        let done = match worked {
            Ok(done) => done,
            Err(Undone::Stopped) => return AttemptOutcome::Stopped,
            Err(Undone::Failed(failure, usage)) => return AttemptOutcome::Failed { failure: *failure, usage },
        };
        let captured = Instant::now();
        let capture = Capture {
            scope: &order.scope,
            files: &place.files,
            blobs: &*self.blobs,
            access: (self.files)(&place.files),
            bytes_max: order.disk_bytes_max,
            masks: done.masks,
        };
        let outputs = capture.outputs(&order.outputs, done.said).await;
        let usage = Usage { capture_ms: milliseconds(captured.elapsed()), ..done.usage };
        match outputs {
            Err(failure) => AttemptOutcome::Failed { failure, usage },
            Ok(declared) => {
                let mut outputs = done.always;
                outputs.extend(declared);
                AttemptOutcome::Succeeded(StepResult {
                    outputs,
                    exit_code: done.exit_code,
                    usage,
                    warning: done.warning,
                    concludes: false,
                    cache: None,
                    tree: None,
                    session: done.session,
                })
            }
        }
    }
}

#[async_trait]
impl AttemptRunner for Runner {
    async fn run(&self, order: Order, place: AttemptPlace, stop: StopSignal) -> AttemptReport {
        let attempt = Attempt { order: &order, place: &place, stop, began: Instant::now() };
        let outcome = match caught(self.attempt(attempt)).await {
            Ok(outcome) => outcome,
            Err(reason) => {
                let message = format!("the runner broke: {reason}");
                let failure = StepFailure::new(FailureClass::Launch, message).with_code(codes::BROKEN);
                AttemptOutcome::Failed { failure, usage: Usage::default() }
            }
        };
        let Order { key, attempt, token, .. } = order;
        AttemptReport { key, attempt, token, outcome }
    }
}

/// What a future gives, or what it panicked with: an attempt reports whatever happens.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            std::task::Poll::Ready(Err(text.unwrap_or_else(|| "it does not say why".to_owned())))
        }
    })
    .await
}

/// What is reported where an attempt's folders cannot be used.
pub(crate) fn place_refused(folder: &Path, error: &io::Error) -> Undone {
    let message = format!("the attempt's folder {} cannot be used: {error}", folder.display());
    let failure = StepFailure::new(FailureClass::Launch, message).with_code(codes::PLACE);
    Undone::Failed(Box::new(failure), Usage::default())
}

/// A time as it is reported.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The path of an input that lies outside the workspace.
pub(crate) fn outside(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}
