//! Executions under way: started or gone on with here, shown while they run, ended by Ctrl-C, summed up at their end.

mod agent;
#[cfg(feature = "aws")]
pub(crate) mod deployed;
mod interrupts;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::{
    cached::CacheMode,
    execution::{DefinitionRef, ExecutionRow, RunOptions, TraceParent},
    history::Actor,
    ids::{ExecutionId, StepKey},
    output::Output,
    status::ExecutionStatus,
    step::Answer,
    transition::Ending,
    workflow::{Step, Workflow},
};
use ratchet_engine::{
    ResumeRequest, StartRequest,
    masks::Masks,
    ports::{AttemptFiles, BlobStore, Secrets},
    values::load_large,
    view::ExecutionRows,
};
use ratchet_local::{
    blob_store::LocalBlobStore,
    directory::StateDirectory,
    engine::{CACHE_BYTES_MAX, DriveError, LocalConfig, LocalEngine},
    error::LocalError,
    lock::EngineLock,
    rehearsal::Rehearsal,
    secrets::LocalSecrets,
    supervise,
    workspace::{Application, ConfinedFiles},
};
use ratchet_runner::{AllowedHosts, FilesOf, Runner, SECRET_LENGTH_MIN, Web, profile::Confinement};
use serde_json::Value;
use tokio::task::JoinSet;

pub(crate) use self::agent::{AgentChoice, identity as agent_identity};
use self::{interrupts::Interrupts, told::Told};
use crate::{
    arguments::CommonArguments,
    bytes,
    command_error::CommandError,
    console::Console,
    definition,
    exit_code::ExitCode,
    nested,
    progress::{Progress, Stream},
    report::Report,
    state::{Outcome, State},
    state_directory,
    summary::summary,
    telemetry::{Spans, new_trace},
};

/// The variable that lists hosts that requests may go to though their addresses are not public.
const ALLOW_HOSTS: &str = "RATCHET_ALLOW_HOSTS";

/// The variable that names a file of secrets.
const SECRETS_FILE: &str = "RATCHET_SECRETS_FILE";

/// How much the results of steps may take that are kept for other runs.
const CACHE_SIZE: &str = "RATCHET_CACHE_SIZE";

/// How often an execution that another process drives is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Its steps are read every so many looks.
const LOOKS_A_READING: u32 = 10;

/// How often it is looked who is before an execution that waits for its turn.
const LOOK_AT_TURN: Duration = Duration::from_millis(500);

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Shown {
    /// Print the state as one JSON object at the end; everything else goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Show only what went wrong, and the end
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What a new execution begins with.
#[derive(Clone)]
pub(crate) struct Start {
    /// How it is called.
    pub(crate) execution: ExecutionId,
    /// What it follows.
    pub(crate) definition: DefinitionRef,
    /// The same, compiled.
    pub(crate) workflow: Arc<Workflow>,
    /// The same, as text.
    pub(crate) text: String,
    /// The values of its inputs.
    pub(crate) inputs: BTreeMap<String, Output>,
    /// The caller's variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// What started it.
    pub(crate) trigger: Value,
    /// What the caller chose.
    pub(crate) options: RunOptions,
}

impl Start {
    /// What the engine is asked for, with these options in the place of the caller's.
    fn request(self, options: RunOptions, trace: TraceParent) -> StartRequest {
        StartRequest {
            execution: self.execution,
            definition: self.definition,
            source: self.text,
            inputs: self.inputs,
            environment: self.environment,
            trigger: self.trigger,
            options,
            actor: person(),
            trace,
            parent: None,
            tree: None,
        }
    }
}

/// What is done with an execution that is there.
pub(crate) enum Going {
    /// It goes on as it stands: the process that drove it died, or its changes are still to be applied.
    On,
    /// It goes on in a new epoch.
    Anew(ResumeRequest),
    /// A person answers a step of it, and it goes on.
    Answered { key: StepKey, answer: Answer },
    /// It is ended.
    ToItsEnd,
    /// What it changed is applied to the directory, also where that was refused before.
    IntoTheDirectory,
}

/// Puts this process under supervision, so that no process of a step outlives it. To be called before there is a thread.
pub(crate) fn supervise(common: &CommonArguments) -> Result<(), CommandError> {
    supervise::enter(&state_directory::locate(common.state_dir.as_deref())?)?;
    Ok(())
}

/// Starts an execution and drives it to its end.
pub(crate) async fn start(
    common: &CommonArguments,
    start: Start,
    shown: Shown,
    console: Console,
) -> Result<ExitCode, CommandError> {
    refuse_short_secrets(&start.workflow).await?;
    let caller = std::env::var("TRACEPARENT").ok();
    let trace = new_trace(entropy(), caller.as_deref());
    let masks = Masks::of(&start.workflow, &start.inputs);
    let (workflow, caller) = (start.workflow.clone(), caller.map(TraceParent));
    let place = state_directory::locate(common.state_dir.as_deref())?;
    let desk = Desk::open(&place, workflow, &start.options, masks, caller, shown, console)?;
    desk.local.engine().keep_workflow(start.definition.digest.clone(), Arc::clone(&start.workflow));
    let (definition, inputs, id) = (start.definition.digest.clone(), start.inputs.clone(), start.execution.clone());
    let options = RunOptions { agent: Some(desk.agent.clone()), ..start.options.clone() };
    let request = start.request(options, trace);
    let mut interrupts = Interrupts::listen()?;
    let started = tokio::select! {
        started = desk.local.start(request) => started?,
        () = interrupts.next() => return Ok(ExitCode::Interrupted),
    };
    if !started.created {
        refuse_other_work(&started.row, &*desk.local.engine().ports().blobs, &definition, &inputs).await?;
        if started.row.status != ExecutionStatus::Running {
            return desk.end(&id, false).await;
        }
    }
    desk.drive(&id, interrupts).await
}

/// Plays an execution up to the steps that would start processes. Nothing of it stays.
pub(crate) async fn rehearse(state: Option<&State>, start: &Start) -> Result<Rehearsal, CommandError> {
    let in_place = start.options.place["in_place"] == Value::Bool(true);
    let options = RunOptions {
        agent: Some(agent_identity(&start.options.place)?),
        // What works in the directory itself keeps no results; here it works beside it, so that nothing is changed.
        cache: if in_place { CacheMode::Off } else { start.options.cache },
        ..start.options.clone()
    };
    let request = start.clone().request(options, new_trace(entropy(), None));
    let state = state.map(State::here).transpose()?.map(|here| (&here.directory, Arc::clone(&here.store)));
    Ok(Rehearsal::of(state, request, &start.workflow).await?)
}

/// Goes on with an execution and drives it to its end.
pub(crate) async fn go_on(
    common: &CommonArguments,
    row: &ExecutionRow,
    going: Going,
    shown: Shown,
    console: Console,
) -> Result<ExitCode, CommandError> {
    #[cfg(feature = "aws")]
    if let Some(stack) = common.stack() {
        return deployed::go_on(&State::of_stack(stack).await?, row, going, shown, console).await;
    }
    let state = State::open(common)?;
    // What a step started is driven with the run at the root.
    let named = row;
    let root = if named.id.is_nested() { state.store.execution(&named.id.root()).await? } else { None };
    let row = root.as_ref().unwrap_or(named);
    let workflow = Arc::new(match &going {
        Going::Anew(ResumeRequest { edit: Some(edit), .. }) => {
            let edited = ExecutionRow { definition: edit.definition.clone(), ..row.clone() };
            definition::stored(&edited, &edit.source)?
        }
        _ => state.workflow(row).await?,
    });
    let masks = state.masks(row, Some(&workflow)).await?;
    drop(state);
    let place = state_directory::locate(common.state_dir.as_deref())?;
    let desk = Desk::open(&place, workflow, &row.options, masks, None, shown, console)?;
    let interrupts = Interrupts::listen()?;
    match going {
        Going::On => {}
        Going::Anew(request) => {
            desk.local.resume(&row.id, request).await?;
        }
        Going::Answered { key, answer } => {
            let actor = Actor::Person(answer.by.clone());
            desk.local.answer(&key, answer, actor).await?;
        }
        Going::IntoTheDirectory => {
            desk.local.apply_again(&row.id).await?;
            return desk.end(&row.id, false).await;
        }
        Going::ToItsEnd => {
            desk.local.cancel(&named.id, person(), "by a person").await?;
        }
    }
    desk.tell_what_is_known(&row.id).await?;
    desk.drive(&row.id, interrupts).await
}

/// How much the step cache keeps: what the caller's environment says, else what is usual.
pub(crate) fn cache_bytes_max() -> Result<u64, CommandError> {
    let Some(size) = std::env::var(CACHE_SIZE).ok().filter(|size| !size.is_empty()) else {
        return Ok(CACHE_BYTES_MAX);
    };
    bytes::parse(&size).map_err(|reason| CommandError::Argument {
        argument: CACHE_SIZE,
        reason,
        hint: "it is how much the results of steps may take that are kept for other runs",
    })
}

/// Everything that one execution needs to be driven and shown.
struct Desk {
    workflow: Arc<Workflow>,
    /// Who plays the agent, as the keys of results name it.
    agent: String,
    local: LocalEngine,
    told: Arc<Told>,
    shown: Shown,
    console: Console,
}

impl Desk {
    fn open(
        place: &Path,
        workflow: Arc<Workflow>,
        options: &RunOptions,
        masks: Masks,
        caller: Option<TraceParent>,
        shown: Shown,
        console: Console,
    ) -> Result<Arc<Self>, CommandError> {
        let state = StateDirectory::open(place)?;
        let stream = if shown.json { Stream::Err } else { Stream::Out };
        let progress = if shown.quiet { Progress::quiet() } else { Progress::start(&workflow, stream) };
        let told = Arc::new(Told { masks, progress, spans: Spans::start(caller, console), console });
        let blobs: Arc<dyn BlobStore> = Arc::new(LocalBlobStore::new(state.blobs()));
        let agent = agent::of_place(&options.place)?;
        let identity = agent.identity();
        let secrets = secrets()?;
        let runner = Runner::new(blobs, agent, told.clone(), files_of(state.clone()))
            .with_secrets(secrets.clone())
            .with_web(web()?)
            .with_confinement(confinement()?);
        let runner = Arc::new(runner);
        if let Some(workspace) = options.place["workspace"].as_str().map(PathBuf::from) {
            let runner = runner.clone();
            tokio::spawn(async move { runner.get_ready(&workspace).await });
        }
        let local = LocalEngine::open(LocalConfig {
            cache_bytes_max: cache_bytes_max()?,
            secrets: secrets.clone(),
            state_dir: state.root().to_owned(),
            runner,
            observer: told.clone(),
            max_parallel: usize::try_from(options.max_parallel).ok().and_then(NonZeroUsize::new),
        })?;
        Ok(Arc::new(Self { workflow, agent: identity, local, told, shown, console }))
    }

    /// What drives an execution to its end that another one is waiting for. Nothing of it is shown.
    async fn for_end_of(state: &State, row: &ExecutionRow, console: Console) -> Result<Arc<Self>, CommandError> {
        let workflow = Arc::new(state.workflow(row).await?);
        let masks = state.masks(row, Some(&workflow)).await?;
        let shown = Shown { json: false, quiet: true };
        Self::open(state.here()?.directory.root(), workflow, &row.options, masks, None, shown, console)
    }

    /// Drives the execution until it has ended or paused; Ctrl-C ends it, twice at once.
    async fn drive(self: Arc<Self>, id: &ExecutionId, mut interrupts: Interrupts) -> Result<ExitCode, CommandError> {
        let mut pressed = 0;
        // A task of its own: it is where the handlers are then, and no thread has to be woken for each event.
        let mut driving = tokio::spawn({
            let (desk, id) = (Arc::clone(&self), id.clone());
            async move { desk.drive_or_watch(&id).await }
        });
        let mut waits = self.workflow.concurrency.is_some();
        let mut said = Vec::new();
        let mut others = Others::default();
        let mut look = tokio::time::interval(LOOK_AT_TURN);
        loop {
            tokio::select! {
                _ = look.tick(), if waits => waits = self.look_at_turn(id, &mut said, &mut others).await?,
                driven = &mut driving => {
                    driven.map_err(|error| LocalError::Handler(error.to_string()))??;
                    break;
                }
                () = interrupts.next() => {
                    pressed += 1;
                    if pressed > 1 && !self.local.abandon(id) {
                        // Another process drives it, and was told to end it.
                        driving.abort();
                        break;
                    }
                    if pressed == 1 {
                        self.cancel(id).await;
                    }
                }
            }
        }
        // What was begun for others is brought to its end, unless the person wants to be gone.
        while pressed == 0 && others.tasks.join_next().await.is_some() {}
        self.end(id, pressed > 0).await
    }

    async fn cancel(&self, id: &ExecutionId) {
        self.note("cancelling: what runs is ended, `finally` runs; again ends everything at once");
        if let Err(error) = self.local.cancel(id, person(), "interrupted").await {
            // It may have ended by itself in this very moment.
            tracing::debug!(%error, "the interrupt came too late");
        }
    }

    /// An execution that another process drives is waited for.
    async fn drive_or_watch(&self, id: &ExecutionId) -> Result<(), CommandError> {
        let mut is_told = false;
        loop {
            match self.local.drive(id).await {
                Ok(_) => return Ok(()),
                Err(DriveError::Local(LocalError::Driven { .. })) => {}
                Err(error) => return Err(error.into()),
            }
            if !std::mem::replace(&mut is_told, true) {
                self.note("another process drives it: this one waits for its end");
            }
            let mut looks = 0_u32;
            while EngineLock::is_held(self.local.state(), id) {
                if looks.is_multiple_of(LOOKS_A_READING) {
                    self.tell_what_is_known(id).await?;
                }
                looks = looks.wrapping_add(1);
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Says something while the run is drawn.
    fn note(&self, text: &str) {
        self.told.note(text);
    }

    /// Ends what is drawn and sums up.
    async fn end(&self, id: &ExecutionId, interrupted: bool) -> Result<ExitCode, CommandError> {
        self.told.progress.finish();
        self.told.spans.finish();
        let state = State::over(self.local.state().clone(), Arc::clone(self.local.store()));
        let row = state.store.execution(id).await?;
        let row = row.ok_or_else(|| CommandError::UnknownExecution { name: id.to_string() })?;
        let workflow = self.local.engine().workflow(&row).await?;
        let outcome = state.outcome(&row, &workflow).await?;
        show(&outcome, self.shown, self.console)?;
        if interrupted {
            return Ok(ExitCode::Interrupted);
        }
        Ok(match outcome.application {
            Some(Application::NotApplied { .. }) => ExitCode::NotApplied,
            _ => ExitCode::of_execution(row.status, row.continued),
        })
    }

    /// Says who is before the execution, where it waits for its turn and that has changed, and sees to those that were cancelled for it and that nobody
    /// drives. Whether it may wait still.
    async fn look_at_turn(
        &self,
        id: &ExecutionId,
        said: &mut Vec<String>,
        others: &mut Others,
    ) -> Result<bool, CommandError> {
        let state = State::over(self.local.state().clone(), Arc::clone(self.local.store()));
        let Some(row) = state.store.execution(id).await?.filter(ExecutionRow::waits_for_turn) else { return Ok(false) };
        let outcome = state.outcome(&row, &self.workflow).await?;
        let lines = Report::of(&outcome, self.console.err, Timestamp::now()).waits();
        let is_known = outcome.view.waits_for.is_some_and(|turn| !turn.running.is_empty() || turn.queued_before > 0);
        if is_known && lines != *said && !self.shown.quiet {
            for line in &lines {
                self.note(line);
            }
            *said = lines;
        }
        for other in outcome.abandoned.iter().filter(|other| !other.is_nested()) {
            let row = state.store.execution(other).await?;
            if let Some(row) = row.filter(|row| row.endings.contains(&Ending::Cancelled))
                && others.begin(&row.id)
            {
                self.note(&format!("{other} was cancelled, and its process is gone: its `finally` runs here"));
                let desk = Self::for_end_of(&state, &row, self.console).await?;
                others.tasks.spawn(async move {
                    // Whatever comes of it: what is left to do is left to its next process.
                    if let Err(error) = desk.drive_or_watch(&row.id).await {
                        tracing::warn!(execution = %row.id, %error, "it was not brought to its end");
                    }
                });
            }
        }
        Ok(true)
    }

    /// What was done before this process is shown as done.
    async fn tell_what_is_known(&self, id: &ExecutionId) -> Result<(), CommandError> {
        let ports = self.local.engine().ports();
        if let Some(rows) = ExecutionRows::load(&*ports.store, &*ports.blobs, &self.workflow, id).await? {
            let known = self.workflow.steps.iter().filter_map(|step| rows.step(&step.id));
            self.told.progress.know(known);
            let state = State::over(self.local.state().clone(), Arc::clone(self.local.store()));
            let below = nested::below(&state, rows.nested(&self.workflow)).await?;
            self.told.progress.know_below(&rows.execution, &below);
        }
        Ok(())
    }
}

/// Sums up.
fn show(outcome: &Outcome, shown: Shown, console: Console) -> Result<(), CommandError> {
    let now = Timestamp::now();
    let paint = if shown.json { console.err } else { console.out };
    let text = if shown.quiet {
        let report = Report::of(outcome, paint, now);
        let mut lines = report.head();
        lines.extend(report.failures());
        lines.join("\n") + "\n"
    } else {
        format!("\n{}", summary(outcome, paint, now))
    };
    if !shown.json {
        return console.text(&text);
    }
    if !shown.quiet {
        console.say(text.trim_end());
    }
    console.json(outcome)
}

/// A key that names other work is refused.
async fn refuse_other_work(
    row: &ExecutionRow,
    blobs: &dyn BlobStore,
    definition: &ratchet_core::ids::Digest,
    inputs: &BTreeMap<String, Output>,
) -> Result<(), CommandError> {
    let taken = |difference| CommandError::KeyTaken { execution: row.id.clone(), difference };
    if row.definition.digest != *definition {
        return Err(taken("follows another definition"));
    }
    let theirs = load_large(blobs, &row.inputs).await?;
    if theirs == *inputs { Ok(()) } else { Err(taken("has other inputs")) }
}

/// Executions that are driven besides the one that is shown. They are given up with it.
#[derive(Default)]
struct Others {
    tasks: JoinSet<()>,
    begun: HashSet<ExecutionId>,
}

impl Others {
    /// Whether an execution is not among them yet; then it is now.
    fn begin(&mut self, id: &ExecutionId) -> bool {
        self.begun.insert(id.clone())
    }
}

/// How a runner reads the files of an attempt.
pub(crate) fn files_of(state: StateDirectory) -> FilesOf {
    Arc::new(move |files: &AttemptFiles| Arc::new(ConfinedFiles::of(files, state.clone())))
}

/// What requests may reach.
pub(crate) fn web() -> Result<Web, CommandError> {
    let text = std::env::var_os(ALLOW_HOSTS).unwrap_or_default();
    let allowed = AllowedHosts::parse(&text.to_string_lossy()).map_err(|part| CommandError::Argument {
        argument: ALLOW_HOSTS,
        reason: format!("'{part}' is no host"),
        hint: "list hosts with commas between them, each with a port or without: localhost:8080,build.example.org",
    })?;
    Ok(Web::default().allowing(allowed))
}

/// What the caller says of profiles.
pub(crate) fn confinement() -> Result<Confinement, CommandError> {
    Confinement::of_this_process().map_err(|reason| CommandError::Argument {
        argument: "RATCHET_CONFINEMENT and RATCHET_PROFILE_MAX",
        reason,
        hint: "the first is `kernel` or `off`, the second the widest profile that a step may have; or unset them",
    })
}

/// The secrets that the caller gave: in the environment, and in the file that a variable names.
fn secrets() -> Result<Arc<dyn Secrets>, CommandError> {
    let file = std::env::var_os(SECRETS_FILE).map(PathBuf::from);
    Ok(Arc::new(LocalSecrets::read(std::env::vars_os(), file.as_deref())?))
}

/// A step would refuse such a secret too, after others have done their work.
async fn refuse_short_secrets(workflow: &Workflow) -> Result<(), CommandError> {
    let asked: BTreeSet<&str> = workflow.steps.iter().flat_map(Step::secret_names).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let secrets = secrets()?;
    for name in asked {
        // What is not there may be there for whoever resumes the run.
        if secrets.get(name).await.is_ok_and(|value| value.trim_end().len() < SECRET_LENGTH_MIN) {
            return Err(CommandError::ShortSecret { name: name.to_owned() });
        }
    }
    Ok(())
}

/// The name of a new execution.
pub(crate) fn fresh_name() -> ExecutionId {
    ExecutionId::fresh(Timestamp::now(), entropy())
}

/// How many processes run at once where nobody said.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)).max(2)
}

/// The person who called the command.
pub(crate) fn person() -> Actor {
    Actor::Person(person_name())
}

/// The name of the person who called the command.
pub(crate) fn person_name() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// A directory of the caller's, absolute.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    path.canonicalize().map_err(|source| CommandError::File { path: path.to_owned(), source })
}

fn entropy() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}
