//! One run of the simulation: what polls, what happens next, and when it is over.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    execution::{DefinitionRef, RunOptions},
    history::{Actor, sha256_hex},
    ids::{Digest, ExecutionId},
    output::Output,
    workflow::Workflow,
};
use ratchet_definition::compile::{SourceFile, compile};
use ratchet_engine::{
    EditRequest, Engine, Ports, ResumeRequest, StartRequest,
    ports::{Event, Silent},
};
use serde_json::{Value, json};

use super::{
    Breach, Mode, Mutation, Report, cached,
    directories::Directories,
    edits::{self, Editor},
    executor::{Delivery, Executor, Running},
    faults::Faults,
    generator, killed,
    laws::Laws,
    limits,
    model::Model,
    people,
    ports::{
        SimulatedBlobs, SimulatedBus, SimulatedClock, SimulatedLauncher, SimulatedStepCache, SimulatedStore,
        SimulatedWorkspaces, task_ends,
    },
    random::{Random, mix},
    script::{Script, attempts_max},
    standing::Known,
    tasks::Tasks,
    trace::{Trace, brief},
    verdict,
    world::{Act, HOUR, MINUTE, SECOND, Shared, Timer, World, lock, moment},
};
use crate::memory::{MemoryBlobStore, MemoryStateStore, MemoryStepCache, MemoryWorkspaces};

/// More polls than any run needs: one that takes more goes round in circles.
const POLLS_MAX: u64 = 400_000;
/// How many runs a look at what is due gives.
const DUE_MAX: usize = 100;
/// How often a handler's event comes again after it failed.
const TRIES_MAX: u32 = 5;

/// A run of the simulation.
pub(crate) struct Driver {
    pub(crate) world: Shared,
    executor: Executor,
    engines: Vec<Arc<Engine>>,
    pub(crate) store: Arc<MemoryStateStore>,
    blobs: Arc<MemoryBlobStore>,
    /// Whether an engine that begins reads every definition again, which takes most of the time.
    reads_definitions: bool,
    pub(super) workspaces: Arc<MemoryWorkspaces>,
    step_cache: Arc<MemoryStepCache>,
    pub(crate) models: Vec<Model>,
    requests: Vec<StartRequest>,
    editor: Editor,
    directories: Directories,
    pub(crate) script: Script,
    mutation: Option<Mutation>,
    pub(crate) mode: Mode,
    schedule: Random,
    /// How often, in a thousand cases, two processes look at once at what is due.
    twice: u32,
    /// When the index of what is due may be asked again.
    sweep_after: i64,
    /// When every run must have ended.
    bound: i64,
    polls: u64,
}

/// Drives the run of a seed to its end.
pub(crate) fn drive(seed: u64, mutation: Option<Mutation>, traced: bool) -> Report {
    let mode = Mode::of(seed);
    let mut random = Random::new(mix(seed));
    let mut models = vec![generator::draw("one", has_groups(seed), &mut random)];
    if random.chance(150) {
        models.push(generator::draw("two", has_groups(seed), &mut random));
    }
    limits::draw(seed, &mut models);
    cached::draw(seed, &mut models);
    if mode == Mode::Killed {
        killed::draw(seed, &mut models);
    }
    let workflows = models.iter().map(Model::yaml).collect();
    let mut driver = match Driver::new(seed, mode, models, mutation, traced, &mut random) {
        Ok(driver) => driver,
        Err(breach) => {
            return Report { seed, mode, breach: Some(breach), workflows, lines: Vec::new(), polls: 0 };
        }
    };
    driver.run();
    let mut world = lock(&driver.world);
    let breach = world.laws.breach.take();
    let lines = world.trace.lines().to_vec();
    Report { seed, mode, breach, workflows, lines, polls: driver.polls }
}

/// Whether the workflows of a seed have groups of steps: those of three in five.
fn has_groups(seed: u64) -> bool {
    seed % 5 >= 2
}

/// Has an engine know a workflow, and those that its steps run.
fn know(engine: &Engine, digest: &Digest, workflow: &Arc<Workflow>) {
    engine.keep_workflow(digest.clone(), workflow.clone());
    for sub in workflow.steps.iter().filter_map(|step| step.action.sub_workflow()) {
        know(engine, &sub.definition.digest, &sub.workflow);
    }
}

impl Driver {
    fn new(
        seed: u64,
        mode: Mode,
        models: Vec<Model>,
        mutation: Option<Mutation>,
        traced: bool,
        random: &mut Random,
    ) -> Result<Self, Breach> {
        let script = Script::draw(random);
        let faults = Faults::draw(mode, random);
        let calm_at = if mode == Mode::Calm { 0 } else { random.between(MINUTE, 4 * HOUR) };
        let max_parallel = random.count(1, 6);
        let mut laws = Laws::new(max_parallel, matches!(mode, Mode::Calm | Mode::Killed));
        let mut requests = Vec::new();
        let blobs = Arc::new(MemoryBlobStore::default());
        let workspaces = Arc::new(MemoryWorkspaces::new(blobs.clone()));
        for (number, model) in models.iter().enumerate() {
            let source = model.yaml();
            let origin = format!("{}.yaml", model.name);
            let compiled = compile(&SourceFile { name: origin.clone(), text: source.clone() })
                .map_err(|error| Breach { law: "what the generator writes compiles", what: error.to_string() })?;
            let id = ExecutionId::new(format!("run-{number}"));
            laws.runs.insert(id.clone(), Known::new(model.clone(), Arc::new(compiled.workflow)));
            requests.push(StartRequest {
                execution: id,
                definition: DefinitionRef {
                    name: model.name.clone(),
                    version: "1".to_owned(),
                    digest: Digest::new(sha256_hex(source.as_bytes())),
                    origin,
                },
                source,
                inputs: BTreeMap::from([("n".to_owned(), Output::Json(json!(model.input)))]),
                environment: BTreeMap::new(),
                trigger: Value::Null,
                options: RunOptions { max_parallel, ..RunOptions::default() },
                actor: Actor::Person("ada".to_owned()),
                trace: crate::builders::trace(),
                parent: None,
                // The others work in the directory itself.
                tree: random.chance(800).then(|| workspaces.empty_tree()),
            });
        }
        let attempts: u32 = models.iter().map(attempts_max).sum();
        let slots = random.below(6) + 1;
        let (keeps_reports, die_with_process) = (random.chance(500), random.chance(500));
        let tasks = Tasks::new(slots, keeps_reports, die_with_process || mode == Mode::Killed);
        let mut world = World::new(random.fork(), faults, tasks, laws, Trace::new(traced));
        if mode != Mode::Calm {
            world.after(calm_at, Timer::Calm);
        }
        for run in 0..models.len() {
            people::plan(&mut world, mode, run, calm_at);
            if mode == Mode::Killed {
                killed::plan(&mut world, run, calm_at);
            }
        }
        world.say(|| {
            format!("seed {seed} {mode:?}, {slots} slots, {max_parallel} at once, calm after {} s", calm_at / SECOND)
        });
        let faults = format!("{:?}", world.faults);
        world.say(|| faults);
        let world = Arc::new(std::sync::Mutex::new(world));
        let store = Arc::new(MemoryStateStore::default());
        let mut driver = Self {
            world,
            executor: Executor::default(),
            engines: Vec::new(),
            store,
            blobs,
            workspaces,
            step_cache: Arc::default(),
            reads_definitions: mix(seed).is_multiple_of(8),
            models,
            requests,
            editor: Editor::of(seed),
            directories: Directories::of(seed),
            script,
            mutation,
            mode,
            schedule: random.fork(),
            twice: if mode == Mode::Calm { 0 } else { [0, 200, 700][random.below(3)] },
            sweep_after: 0,
            bound: calm_at + 12 * HOUR + i64::from(attempts) * 3 * HOUR,
            polls: 0,
        };
        let processes = random.below(3) + 1;
        let processes = if mode == Mode::Killed { driver.models.len() } else { processes };
        for process in 0..processes {
            let engine = driver.engine(process);
            driver.engines.push(engine);
        }
        Ok(driver)
    }

    /// The content of a blob, without waiting and without faults.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Vec<u8> {
        self.blobs.read(digest).unwrap_or_default()
    }

    /// An engine as a process that begins has it.
    fn engine(&self, process: usize) -> Arc<Engine> {
        let world = || self.world.clone();
        let engine = Engine::new(Ports {
            store: Arc::new(SimulatedStore { world: world(), inner: self.store.clone(), mutation: self.mutation }),
            blobs: Arc::new(SimulatedBlobs { world: world(), inner: self.blobs.clone() }),
            bus: Arc::new(SimulatedBus(world())),
            launcher: Arc::new(SimulatedLauncher {
                world: world(),
                process,
                store: self.store.clone(),
                blobs: self.blobs.clone(),
                script: self.script.clone(),
                workspaces: self.workspaces.clone(),
                mutation: self.mutation,
            }),
            clock: Arc::new(SimulatedClock(world())),
            workspaces: Arc::new(SimulatedWorkspaces {
                world: world(),
                inner: self.workspaces.clone(),
                mutation: self.mutation,
            }),
            step_cache: Arc::new(SimulatedStepCache {
                world: world(),
                inner: self.step_cache.clone(),
                mutation: self.mutation,
            }),
            observer: Arc::new(Silent),
        });
        if !self.reads_definitions {
            for known in lock(&self.world).laws.runs.values() {
                let request = self.requests.iter().find(|request| request.definition.name == known.workflow.name);
                let followed = known.row.as_ref().map(|row| &row.definition.digest);
                if let Some(digest) = followed.or(request.map(|request| &request.definition.digest)) {
                    know(&engine, digest, &known.workflow);
                }
            }
        }
        Arc::new(engine)
    }

    fn run(&mut self) {
        loop {
            if lock(&self.world).laws.breach.is_some() {
                return;
            }
            if self.polls > POLLS_MAX {
                let labels = self.executor.labels().join(", ");
                lock(&self.world).laws.broken("every run ends", format!("it goes round in circles: {labels}"));
                return;
            }
            self.fire_timers();
            let runnable = self.executor.runnable();
            if !runnable.is_empty() {
                self.step(&runnable);
            } else if !self.pass_time() {
                break;
            }
        }
        verdict::judge(self);
    }

    /// Lets one future go on, or crashes it.
    fn step(&mut self, runnable: &[u64]) {
        let id = *self.schedule.pick(runnable);
        self.polls += 1;
        let (crash, crash_process, jumps) = {
            let mut world = lock(&self.world);
            // Time passes while handlers work.
            world.now += [0, 0, 0, 1, 2][self.schedule.below(5)];
            (world.faults.crash, world.faults.crash_process, world.faults.clock_jumps)
        };
        if self.schedule.chance(jumps) {
            let mut world = lock(&self.world);
            world.skew = self.schedule.between(-20 * MINUTE, 20 * MINUTE);
            world.say(|| "the clock jumps".to_owned());
        }
        if self.schedule.chance(crash) {
            let label = self.executor.label(id).to_owned();
            lock(&self.world).say(|| format!("crash of {label}"));
            let crashed = self.executor.crash(id);
            self.recover(crashed.into_iter().collect());
            return;
        }
        if self.schedule.chance(crash_process) {
            let process = self.schedule.below(self.engines.len());
            self.crash_process(process);
            return;
        }
        self.executor.poll(id);
    }

    fn crash_process(&mut self, process: usize) {
        {
            let mut world = lock(&self.world);
            world.say(|| format!("process {process} dies"));
            if world.tasks.die_with_process {
                for named in world.tasks.of_process(process) {
                    world.tasks.lose(&named);
                }
            }
        }
        let crashed = self.executor.crash_process(process);
        self.recover(crashed);
        self.engines[process] = self.engine(process);
    }

    /// What a handler did not get to the end of comes again, or is lost for good.
    fn recover(&mut self, crashed: Vec<Running>) {
        for delivery in crashed.into_iter().filter_map(|running| running.handles) {
            comes_again(&mut lock(&self.world), delivery);
        }
    }

    fn fire_timers(&mut self) {
        loop {
            let Some(timer) = lock(&self.world).take_due() else { return };
            match timer {
                Timer::Wake(waker) => waker.wake(),
                Timer::Deliver(delivery) => self.deliver(*delivery),
                Timer::TaskEnds(key, attempt) => task_ends(&mut lock(&self.world), &key, attempt),
                Timer::Person(act) => self.person(act),
                Timer::Killed(run) => self.kill(run),
                Timer::Back(run) => {
                    let mut world = lock(&self.world);
                    let is_back = world.laws.killed.come_back(&self.requests[run].execution);
                    world.say(|| format!("process {run} is {}", if is_back { "back" } else { "still away" }));
                }
                Timer::Calm => {
                    let mut world = lock(&self.world);
                    world.faults = world.faults.calm();
                    world.skew = 0;
                    world.say(|| "all is calm".to_owned());
                }
            }
        }
    }

    /// The process that does something next for a run, by its number where it has one of its own; `None` while that is away.
    fn process_for(&mut self, execution: &ExecutionId) -> Option<usize> {
        if self.mode != Mode::Killed {
            return Some(self.schedule.below(self.engines.len()));
        }
        let root = execution.root();
        let run = self.requests.iter().position(|request| request.execution == root)?;
        (!lock(&self.world).laws.killed.is_away(&root)).then_some(run)
    }

    /// The process of a run is killed: what it was told, and what its tasks were about to tell it, is lost with it.
    fn kill(&mut self, run: usize) {
        lock(&self.world).laws.killed.kill(&self.requests[run].execution);
        for handled in self.executor.crash_process(run).into_iter().filter_map(|running| running.handles) {
            arrived(&mut lock(&self.world), &handled, false);
        }
        self.crash_process(run);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Some(process) = self.process_for(&delivery.envelope.execution) else {
            return arrived(&mut lock(&self.world), &delivery, false);
        };
        let engine = self.engines[process].clone();
        let world = self.world.clone();
        let label = brief(&delivery.envelope.event);
        lock(&self.world).say(|| format!("deliver {label} to {process}"));
        let mut handled = delivery.clone();
        if let (Some(Mutation::TokensIgnored), Event::StepFinished(report)) =
            (self.mutation, &mut handled.envelope.event)
            && let Some(token) = lock(&self.world).tasks.later_token(&report.key, report.attempt)
        {
            report.token = token;
        }
        self.executor.spawn(label, process, Some(delivery), async move {
            let result = engine.handle(handled.envelope.clone()).await;
            let mut world = lock(&world);
            match result {
                Ok(()) => arrived(&mut world, &handled, true),
                Err(error) => {
                    world.say(|| format!("{} fails: {error}", brief(&handled.envelope.event)));
                    comes_again(&mut world, handled);
                }
            }
        });
    }

    fn person(&mut self, act: Act) {
        let (Act::Start(run) | Act::Cancel(run) | Act::Look(run) | Act::Resume { run, .. }) = act;
        let execution = self.requests[run].execution.clone();
        let Some(process) = self.process_for(&execution) else {
            return lock(&self.world).after(MINUTE, Timer::Person(act));
        };
        let engine = self.engines[process].clone();
        let from = match act {
            Act::Resume { from_some: true, .. } => people::some_steps(&self.models[run], &mut self.schedule),
            _ => Vec::new(),
        };
        if let Act::Look(_) = act
            && (!self.is_over(run) || self.goes_on_later(run))
        {
            lock(&self.world).after(10 * MINUTE, Timer::Person(act));
        }
        let edit = match act {
            Act::Resume { from_some: false, .. } => self.edit(run).map(Box::new),
            _ => None,
        };
        let files = if let Act::Resume { .. } = act { self.bring_in(run) } else { None };
        let label = format!("{act:?} from {from:?}{}", if edit.is_some() { " edited" } else { "" });
        lock(&self.world).say(|| format!("{label}{}", if files.is_some() { ", with what changed" } else { "" }));
        let resume = ResumeRequest { from, edit, files, added_usd: None, actor: Actor::Person("ada".to_owned()) };
        let future =
            people::perform(engine, self.world.clone(), act, self.requests[run].clone(), resume, self.script.clone());
        self.executor.spawn(label, process, None, future);
    }

    /// An edited definition for a run, where somebody edits it now.
    fn edit(&mut self, run: usize) -> Option<EditRequest> {
        let mut world = lock(&self.world);
        let known = world.laws.runs.get(&self.requests[run].execution)?;
        let row = known.row.as_ref()?;
        let model = self.editor.edit(&known.model)?;
        let (request, workflow) = edits::request(row, &model)?;
        let digest = request.definition.digest.clone();
        if !self.reads_definitions {
            self.engines.iter().for_each(|engine| know(engine, &digest, &workflow));
        }
        world.laws.editions.insert(digest, (model, workflow));
        Some(request)
    }

    /// What changed in the directory of a run, where somebody brings it in now. Of two who resume at once, the later one does not: they hold the directory by turns.
    fn bring_in(&mut self, run: usize) -> Option<Digest> {
        if self.is_being_resumed(run) {
            return None;
        }
        let world = lock(&self.world);
        let row = world.laws.runs.get(&self.requests[run].execution)?.row.as_ref()?;
        self.directories.bring_in(run, row, &self.workspaces)
    }

    fn is_being_resumed(&self, run: usize) -> bool {
        let on_its_way = format!("Resume {{ run: {run},");
        self.executor.labels().iter().any(|label| label.starts_with(&on_its_way))
    }

    /// Whether a person still means to take the run up again.
    fn goes_on_later(&self, run: usize) -> bool {
        let resumes = |timer: &Timer| matches!(timer, Timer::Person(Act::Resume { run: other, .. }) if *other == run);
        lock(&self.world).timers.values().any(resumes) || self.is_being_resumed(run)
    }

    fn is_over(&self, run: usize) -> bool {
        let world = lock(&self.world);
        let row = world.laws.runs.get(&self.requests[run].execution).and_then(|known| known.row.as_ref());
        row.is_some_and(|row| row.status.is_ended())
    }

    /// Goes on to the next thing that happens; false where nothing will.
    fn pass_time(&mut self) -> bool {
        let mut world = lock(&self.world);
        let only_people = world.timers.values().all(|timer| matches!(timer, Timer::Person(_)));
        if self.mode == Mode::Calm && only_people && self.executor.is_empty() {
            world.laws.only_people_go_on();
        }
        let wake = world
            .laws
            .runs
            .values()
            .filter_map(|known| known.row.as_ref())
            .filter(|row| !world.laws.killed.is_away(&row.id))
            .filter_map(|row| row.wake_at)
            .map(|at| (moment(at) - world.skew).max(self.sweep_after))
            .min();
        let timer = world.next_timer();
        let next = match (timer, wake) {
            (None, None) => return false,
            (Some(timer), wake) if wake.is_none_or(|wake| timer <= wake) => {
                world.now = world.now.max(timer);
                return self.in_time(world.now, &mut world);
            }
            (_, wake) => wake.unwrap_or(world.now),
        };
        world.now = world.now.max(next);
        let now = world.now;
        let in_time = self.in_time(now, &mut world);
        drop(world);
        self.sweep_after = now + self.schedule.between(SECOND, 30 * SECOND);
        // At times two processes find at once that a run is due.
        for _ in 0..=usize::from(self.schedule.chance(self.twice)) {
            self.sweep();
        }
        in_time
    }

    fn in_time(&self, now: i64, world: &mut World) -> bool {
        if now <= self.bound {
            return true;
        }
        let open: Vec<String> = world
            .laws
            .runs
            .values()
            .filter(|known| known.row.as_ref().is_none_or(|row| !row.status.is_ended()))
            .map(|known| {
                known.row.as_ref().map_or_else(|| "not there".to_owned(), |row| format!("{} is {}", row.id, row.status))
            })
            .collect();
        if !open.is_empty() {
            world.laws.broken("every run ends", format!("after {} hours: {}", now / HOUR, open.join(", ")));
        }
        open.is_empty()
    }

    /// Asks the index what is due and wakes it.
    fn sweep(&mut self) {
        if self.mode != Mode::Killed {
            let process = self.schedule.below(self.engines.len());
            return self.sweep_in(process, None);
        }
        for run in 0..self.requests.len() {
            let execution = self.requests[run].execution.clone();
            if let Some(process) = self.process_for(&execution) {
                self.sweep_in(process, Some(execution));
            }
        }
    }

    /// Has a process do so: for one run and what belongs to it, where it has only that.
    fn sweep_in(&mut self, process: usize, own: Option<ExecutionId>) {
        let engine = self.engines[process].clone();
        let world = self.world.clone();
        self.executor.spawn("sweep".to_owned(), process, None, async move {
            let now = lock(&world).clock();
            let Ok(due) = engine.ports().store.due(now, DUE_MAX).await else { return };
            for id in due.into_iter().filter(|id| own.as_ref().is_none_or(|own| id.is_within(own))) {
                lock(&world).say(|| format!("wake {id}"));
                if let Err(error) = engine.wake(&id).await {
                    lock(&world).say(|| format!("wake {id} fails: {error}"));
                }
            }
        });
    }
}

/// An event was handled, or is lost for good.
fn arrived(world: &mut World, delivery: &Delivery, handled: bool) {
    if let Event::StepFinished(report) = &delivery.envelope.event
        && let Some(task) = world.tasks.by_name.get_mut(&(report.key.clone(), report.attempt))
    {
        task.in_flight = task.in_flight.saturating_sub(1);
        task.handled |= handled;
    }
}

/// Delivers an event again, some times at most.
fn comes_again(world: &mut World, delivery: Delivery) {
    let lost = world.faults.event_lost;
    if delivery.tries + 1 >= TRIES_MAX || world.random.chance(lost) {
        world.say(|| format!("bus: gives up {}", brief(&delivery.envelope.event)));
        arrived(world, &delivery, false);
        return;
    }
    let wait = world.random.between(0, 30 * SECOND);
    world.after(wait, Timer::Deliver(Box::new(Delivery { tries: delivery.tries + 1, ..delivery })));
}
