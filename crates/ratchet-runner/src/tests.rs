//! Attempts from their order to their report, with real processes.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path, sync::Arc, sync::Mutex, time::Duration};

use async_trait::async_trait;
use ratchet_core::{
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    output::{FileValue, Output},
    step::{FailureClass, StepFailure, StepResult},
    workflow::{Expression, OnLimit, SecurityProfile, Uses, ValueType},
};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::{
    order::{AgentOrder, AttemptOutcome, Order, OutputOrder, OutputOrderSource, Work},
    ports::{
        Agent, AgentError, AgentFault, AgentReply, AgentRequest, AttemptFiles, AttemptPlace, AttemptRunner, ModelShare,
        Observer, Secrets, Silent, Stop, StopSignal,
    },
};
use ratchet_testkit::{builders::order, memory::MemoryBlobStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{BaseEnvironment, Runner, codes};

mod checks;
mod secrets;
mod sessions;

/// The files of a folder, as far as these tests read any.
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl FileAccess for Folder {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.read(&file.path)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        Ok(file.path.clone())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(self.0.join(path)).map_err(|_| FileError::NotFound(path.to_owned()))
    }

    fn digest(&self, _path: &str) -> Result<Option<ratchet_core::ids::Digest>, FileError> {
        Err(FileError::Unavailable)
    }

    fn glob(&self, _pattern: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::Unavailable)
    }
}

/// An agent that does what a function says.
pub(crate) struct Doing(pub(crate) fn(&AgentRequest) -> Result<AgentReply, AgentError>);

#[async_trait]
impl Agent for Doing {
    fn identity(&self) -> String {
        "doing".to_owned()
    }

    async fn perform(&self, request: AgentRequest, _stop: StopSignal) -> Result<AgentReply, AgentError> {
        (self.0)(&request)
    }
}

struct World {
    place: TempDir,
    order: Order,
    agent: Doing,
    observer: Arc<dyn Observer>,
    stop: StopSignal,
    secrets: Option<Arc<dyn Secrets>>,
    blobs: Arc<MemoryBlobStore>,
    given: BTreeMap<String, String>,
}

impl World {
    fn new(work: Work) -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["workspace/sub", "attempt"] {
            fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        let path = StepPath::step(StepId::new("build"));
        let execution = ExecutionId::new(place.path().display().to_string());
        let key = StepKey { execution, epoch: Epoch::FIRST, path };
        let timeout = Some(Duration::from_secs(100));
        let order = Order { timeout, idempotency_key: "the-key".to_owned(), ..order(key, 2, work) };
        let path = std::env::var("PATH").unwrap();
        let given = [
            ("PATH", path.as_str()),
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("SECRET", "no"),
        ];
        Self {
            place,
            order,
            agent: Doing(|_| panic!("no agent is asked here")),
            observer: Arc::new(Silent),
            stop: watch::channel(None).1,
            secrets: None,
            blobs: Arc::default(),
            given: given.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    fn bash(script: &str) -> Self {
        Self::argv(&["bash", "-euo", "pipefail", "-c", script])
    }

    fn argv(argv: &[&str]) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Self::new(Work::Command { argv, values: BTreeMap::new(), allow_exit_codes: Vec::new(), profile: None })
    }

    fn output(mut self, name: &str, source: OutputOrderSource) -> Self {
        self.order.outputs.push(OutputOrder { name: name.to_owned(), source });
        self
    }

    fn file(self, name: &str, path: &str) -> Self {
        self.output(name, OutputOrderSource::File(path.to_owned()))
    }

    fn from(self, name: &str, code: &str, value_type: ValueType) -> Self {
        let expression = Expression { source: code.to_owned(), code: code.to_owned(), uses: Uses::default() };
        self.output(name, OutputOrderSource::From { expression, value_type })
    }

    fn with(mut self, change: impl FnOnce(&mut Order)) -> Self {
        change(&mut self.order);
        self
    }

    fn root(&self) -> std::path::PathBuf {
        self.place.path().join("workspace")
    }

    async fn run(self) -> (AttemptOutcome, TempDir) {
        let files = Arc::new(|files: &AttemptFiles| Arc::new(Folder(files.root().to_owned())) as Arc<dyn FileAccess>);
        let runner = Runner::new(self.blobs, Arc::new(self.agent), self.observer, files)
            .with_environment(BaseEnvironment::new(&self.given))
            .with_grace(Duration::from_millis(100));
        let runner = match self.secrets {
            Some(secrets) => runner.with_secrets(secrets),
            None => runner,
        };
        let place = AttemptPlace {
            definitions: None,
            files: AttemptFiles::in_folder(self.place.path().join("workspace")),
            directory: self.place.path().join("attempt"),
            scratch: self.place.path().join("scratch"),
        };
        let (key, attempt, token) = (self.order.key.clone(), self.order.attempt, self.order.token.clone());
        let report = runner.run(self.order, place, self.stop).await;
        assert_eq!((report.key, report.attempt, report.token), (key, attempt, token));
        (report.outcome, self.place)
    }

    async fn succeeds(self) -> (StepResult, TempDir) {
        match self.run().await {
            (AttemptOutcome::Succeeded(result), place) => (result, place),
            (other, _) => panic!("{other:?}"),
        }
    }

    async fn fails(self) -> StepFailure {
        match self.run().await.0 {
            AttemptOutcome::Failed { failure, .. } => failure,
            other => panic!("{other:?}"),
        }
    }
}

fn value(result: &StepResult, name: &str) -> Value {
    match &result.outputs[name] {
        Output::Json(value) => value.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn a_command_sees_its_environment_and_nothing_else() {
    let world =
        World::bash("env -0 | sort -z | tr '\\0' '\\n'; pwd").from("all", "stdout", ValueType::String).with(|order| {
            order.environment =
                BTreeMap::from([("MINE".to_owned(), "a b".to_owned()), ("RATCHET_ATTEMPT".to_owned(), "9".to_owned())]);
            order.working_directory = "sub".to_owned();
            let Work::Command { values, .. } = &mut order.work else { unreachable!() };
            values.insert("RATCHET_VALUE_1".to_owned(), "the value".to_owned());
        });
    let (result, place) = world.succeeds().await;
    let text = value(&result, "all");
    let text = text.as_str().unwrap().replace(&place.path().display().to_string(), "HERE");
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !["PATH=", "_=", "SHLVL=", "PWD=", "OLDPWD="].iter().any(|own| line.starts_with(own)))
        .collect();
    assert_eq!(
        lines,
        [
            "CI=true",
            "GIT_AUTHOR_EMAIL=ada@example.org",
            "GIT_AUTHOR_NAME=Ada",
            "GIT_COMMITTER_EMAIL=ada@example.org",
            "GIT_COMMITTER_NAME=Ada",
            "GIT_CONFIG_COUNT=1",
            "GIT_CONFIG_KEY_0=core.hooksPath",
            "GIT_CONFIG_VALUE_0=HERE/scratch/hooks",
            "HOME=HERE/scratch/0/home",
            "LANG=C.UTF-8",
            "MINE=a b",
            "RATCHET_ATTEMPT=2",
            "RATCHET_EXECUTION_ID=HERE",
            "RATCHET_IDEMPOTENCY_KEY=the-key",
            "RATCHET_STEP=build",
            "RATCHET_VALUE_1=the value",
            "TMPDIR=HERE/scratch/0/tmp",
            "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "TZ=UTC",
            "USER=ratchet",
            "HERE/workspace/sub",
        ]
    );
}

#[tokio::test]
async fn outputs_are_taken_in_order_and_of_their_type() {
    let script = r#"printf '{"n": 3, "list": [1, 2]}\n'; echo warned >&2; mkdir -p out; echo report > out/report.txt; test -w "$TMPDIR" -a -w "$HOME""#;
    let (result, place) = World::bash(script)
        .file("report", "./out/../out/report.txt")
        .from("text", "stdout", ValueType::String)
        .from("n", "json.n + exit_code", ValueType::Number)
        .from("twice", "n * 2", ValueType::Number)
        .from("warning", "stderr", ValueType::String)
        .from("again", "report", ValueType::File)
        .from("named", "'out/report.txt'", ValueType::File)
        .succeeds()
        .await;
    assert_eq!(value(&result, "text"), json!("{\"n\": 3, \"list\": [1, 2]}"));
    assert_eq!((value(&result, "n"), value(&result, "twice")), (json!(3), json!(6)));
    assert_eq!(value(&result, "warning"), json!("warned"));
    let Output::File(file) = &result.outputs["report"] else { panic!("no file") };
    assert_eq!((file.path.as_str(), file.content.size), ("out/report.txt", 7));
    assert_eq!(result.outputs["again"], result.outputs["report"]);
    assert_eq!(result.outputs["named"], result.outputs["report"]);
    assert_eq!(result.exit_code, Some(0));
    assert!(!place.path().join("attempt/tmp").exists() && !place.path().join("attempt/home").exists());
}

#[tokio::test]
async fn exit_codes_that_are_allowed_are_no_failures() {
    let world = World::bash("exit 3").from("code", "exit_code", ValueType::Integer).with(|order| {
        let Work::Command { allow_exit_codes, .. } = &mut order.work else { unreachable!() };
        allow_exit_codes.push(3);
    });
    let (result, _) = world.succeeds().await;
    assert_eq!((result.exit_code, value(&result, "code")), (Some(3), json!(3)));
}

/// A command that fails, and what the failure has to say.
struct Failing {
    world: World,
    class: FailureClass,
    code: &'static str,
    says: &'static str,
}

fn failing(world: World, class: FailureClass, code: &'static str, says: &'static str) -> Failing {
    Failing { world, class, code, says }
}

async fn check(cases: Vec<Failing>) {
    for Failing { world, class, code, says } in cases {
        let failure = world.fails().await;
        let text = format!("{}\n{:?}\n{:?}", failure.message, failure.detail, failure.hint);
        assert_eq!((failure.class, failure.code.as_deref()), (class, Some(code)), "{text}");
        for part in says.split('|') {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}

#[tokio::test]
async fn a_command_that_fails_says_how() {
    use FailureClass::{Exit, Timeout};
    check(vec![
        failing(
            World::bash("echo one; echo two >&2; exit 3"),
            Exit(3),
            codes::EXIT_CODE,
            "the command ended with exit code 3|two",
        ),
        failing(World::bash("echo one; exit 3"), Exit(3), codes::EXIT_CODE, "exit code 3|one"),
        failing(World::bash("false | true; echo not reached"), Exit(1), codes::EXIT_CODE, "exit code 1"),
        failing(World::bash("echo $nothing"), Exit(1), codes::EXIT_CODE, "nothing: unbound variable"),
        failing(World::bash("nosuchprogram --x"), Exit(127), codes::EXIT_CODE, "nosuchprogram: command not found|PATH"),
        failing(
            World::bash("echo 'no tests ran in 0.01s'; exit 5"),
            Exit(5),
            codes::EXIT_CODE,
            "pytest found no tests",
        ),
        failing(World::bash("kill -SEGV $$"), Exit(139), codes::SIGNAL, "signal 11"),
        failing(
            World::bash("tail -f /dev/null").with(|o| o.timeout = Some(Duration::from_millis(50))),
            Timeout,
            codes::TIMEOUT,
            "not done after 0.05 s",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_command_that_cannot_start_says_why() {
    use FailureClass::Launch;
    let long = "x".repeat(3 << 20);
    let within = |path: &str, content: &str, world: World| {
        let path = world.root().join(path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        world
    };
    let escaping = World::bash("true").with(|order| order.working_directory = "up".to_owned());
    symlink("..", escaping.root().join("up")).unwrap();
    check(vec![
        failing(
            World::argv(&["nosuchprogram"]),
            Launch,
            codes::PROGRAM_MISSING,
            "no program `nosuchprogram`|install it",
        ),
        failing(World::argv(&[]), Launch, codes::PROGRAM_MISSING, "the command is empty"),
        failing(World::argv(&["./sub"]), Launch, codes::NOT_STARTED, "may not be run"),
        failing(
            within("bad", "#!/no/such/shell\n", World::argv(&["./bad"])),
            Launch,
            codes::NOT_STARTED,
            "its first line names",
        ),
        failing(
            within("bad", "\x7fELFnonsense", World::argv(&["./bad"])),
            Launch,
            codes::NOT_STARTED,
            "no program for this machine",
        ),
        failing(World::argv(&["true", "a\0b"]), Launch, codes::NOT_STARTED, "NUL byte"),
        failing(World::argv(&["true", &long]), Launch, codes::TOO_LONG, "3145732 bytes of arguments|file first"),
        failing(
            World::bash("true").with(|o| o.working_directory = "nowhere".to_owned()),
            Launch,
            codes::WORKING_DIRECTORY,
            "there is no `nowhere`",
        ),
        failing(
            World::bash("true").with(|o| o.working_directory = "../..".to_owned()),
            Launch,
            codes::WORKING_DIRECTORY,
            "leads out",
        ),
        failing(escaping, Launch, codes::WORKING_DIRECTORY, "leads out"),
    ])
    .await;
}

#[tokio::test]
async fn an_output_that_cannot_be_taken_says_why() {
    use FailureClass::Output;
    let leaking = World::bash("true").file("leak", "link");
    symlink("/etc/passwd", leaking.root().join("link")).unwrap();
    let flood = "head -c 2000000 /dev/zero | tr '\\0' x";
    check(vec![
        failing(
            World::bash("echo x > sub/coverage.xml").file("report", "coverage.xml"),
            Output,
            codes::OUTPUT_MISSING,
            "made no file coverage.xml|did you mean sub/coverage.xml?",
        ),
        failing(
            World::bash("echo x > coverage.xlm").file("report", "coverage.xml"),
            Output,
            codes::OUTPUT_MISSING,
            "did you mean coverage.xlm?",
        ),
        failing(
            World::bash("true").file("report", "coverage.xml"),
            Output,
            codes::OUTPUT_MISSING,
            "relative to the workspace",
        ),
        failing(World::bash("true").file("report", "sub"), Output, codes::OUTPUT_NO_FILE, "`sub` is a folder|tar"),
        failing(World::bash("mkfifo pipe").file("report", "pipe"), Output, codes::OUTPUT_NO_FILE, "no plain file"),
        failing(leaking, Output, codes::OUTPUT_NO_FILE, "leads out of the workspace"),
        failing(
            World::bash("true").file("leak", "/etc/passwd"),
            Output,
            codes::OUTPUT_NO_FILE,
            "leads out of the workspace",
        ),
        failing(
            World::bash("echo text").from("x", "json.n", ValueType::Number),
            Output,
            codes::OUTPUT_EXPRESSION,
            "cannot be evaluated|is no JSON",
        ),
        failing(
            World::bash("echo text").from("x", "stdaut", ValueType::String),
            Output,
            codes::OUTPUT_EXPRESSION,
            "stdaut",
        ),
        failing(
            World::bash("echo text").from("x", "stdout", ValueType::Number),
            Output,
            codes::OUTPUT_TYPE,
            "not of its type",
        ),
        failing(
            World::bash(flood).from("x", "stdout | length", ValueType::Number),
            Output,
            codes::OUTPUT_TOO_LONG,
            "longer than 1 MiB|file",
        ),
        failing(
            World::bash("echo nothing.txt").from("x", "stdout", ValueType::File),
            Output,
            codes::OUTPUT_MISSING,
            "made no file nothing.txt",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_flood_that_nobody_reads_is_no_failure() {
    let world = World::bash("head -c 2000000 /dev/zero | tr '\\0' x; echo; echo last").from(
        "code",
        "exit_code",
        ValueType::Integer,
    );
    assert_eq!(value(&world.succeeds().await.0, "code"), json!(0));
}

#[tokio::test]
async fn what_is_printed_is_logged_and_told_as_it_comes() {
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>, Mutex<Option<watch::Sender<Option<Stop>>>>);
    impl Observer for Told {
        fn step_changed(
            &self,
            _: &ratchet_core::step::StepRow,
            _: &ratchet_core::history::Record<ratchet_core::transition::StepTransition>,
        ) {
        }
        fn execution_changed(
            &self,
            _: &ratchet_core::execution::ExecutionRow,
            _: &ratchet_core::history::Record<ratchet_core::transition::ExecutionTransition>,
        ) {
        }
        fn line_written(&self, key: &StepKey, line: &str) {
            self.0.lock().unwrap().push(format!("{}: {line}", key.path));
            if line == "ready"
                && let Some(stop) = self.1.lock().unwrap().take()
            {
                stop.send(Some(Stop::Gracefully)).unwrap();
            }
        }
    }
    let told = Arc::new(Told::default());
    let (sender, stop) = watch::channel(None);
    *told.1.lock().unwrap() = Some(sender);
    let mut world = World::bash("printf 'in\\xff valid\\n'; echo ready; tail -f /dev/null");
    world.observer = Arc::<Told>::clone(&told);
    world.stop = stop;
    let (outcome, place) = world.run().await;
    assert_eq!(outcome, AttemptOutcome::Stopped);
    assert_eq!(*told.0.lock().unwrap(), ["build: in\u{fffd} valid", "build: ready"]);
    let log = fs::read_to_string(place.path().join("attempt/output.log")).unwrap();
    let lines: Vec<super::LogLine<'_>> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line.text.as_ref()).collect::<Vec<_>>(), ["in\u{fffd} valid", "ready"]);
}

fn agent_order() -> Work {
    Work::Agent(Box::new(AgentOrder {
        prompt: "do it".to_owned(),
        profile: SecurityProfile::Restricted,
        model: None,
        max_turns: None,
        max_cost_usd: None,
        allowed_tools: None,
        output_schema: None,
        append_system_prompt: None,
        stall_timeout: None,
        verify: None,
        on_limit: OnLimit::Fail,
        session: None,
        continues: None,
        keeps_session: false,
    }))
}

#[tokio::test]
async fn an_agents_outputs_are_always_there() {
    let mut world = World::new(agent_order()).from("n", "json.n", ValueType::Integer).with(|order| {
        order.inputs = vec!["src/a.py".to_owned(), "/captured/coverage.xml".to_owned()];
    });
    fs::write(world.root().join("old"), "old").unwrap();
    world.agent = Doing(|request| {
        assert_eq!((request.step.as_str(), request.attempt), ("build", 2));
        assert_eq!(request.readable, [Path::new("/captured/coverage.xml")]);
        assert_eq!(request.environment["RATCHET_STEP"], "build");
        fs::write(request.files.path().join("new"), "").unwrap();
        fs::remove_file(request.files.path().join("old")).unwrap();
        Ok(AgentReply {
            response: r#"{"n": 4}"#.to_owned(),
            cost_usd: 0.5,
            tokens: 9,
            turns: 2,
            models: BTreeMap::from([("m".to_owned(), ModelShare { cost_usd: 0.5, tokens: 9 })]),
            session_id: "s".to_owned(),
            ..AgentReply::default()
        })
    });
    let (result, _) = world.succeeds().await;
    let outputs: BTreeMap<_, _> = result.outputs.keys().map(|name| (name.as_str(), value(&result, name))).collect();
    let expected = json!({
        "response": "{\"n\": 4}", "json": {"n": 4}, "cost_usd": 0.5, "tokens": 9, "turns": 2, "session_id": "s",
        "models": {"m": {"cost_usd": 0.5, "tokens": 9}}, "files_changed": ["new", "old"], "permission_denials": [], "n": 4,
    });
    assert_eq!(json!(outputs), expected);
    assert_eq!((result.usage.cost_usd, result.usage.tokens, result.usage.turns), (Some(0.5), Some(9), Some(2)));
}

#[tokio::test]
async fn an_agents_failure_keeps_its_kind_and_its_cost() {
    for (fault, class, code) in [
        (AgentFault::Unavailable, FailureClass::Launch, codes::AGENT_UNAVAILABLE),
        (AgentFault::RateLimited, FailureClass::RateLimited, codes::AGENT_RATE_LIMITED),
        (AgentFault::Timeout, FailureClass::Timeout, codes::TIMEOUT),
        (AgentFault::Limit, FailureClass::AgentError, codes::AGENT_LIMIT),
        (AgentFault::Profile, FailureClass::Launch, codes::PROFILE),
    ] {
        static FAULT: Mutex<AgentFault> = Mutex::new(AgentFault::Broken);
        *FAULT.lock().unwrap() = fault;
        let mut world = World::new(agent_order());
        world.agent = Doing(|_| {
            let spent = AgentReply { cost_usd: 0.25, ..AgentReply::default() }.into();
            Err(AgentError {
                fault: *FAULT.lock().unwrap(),
                message: "no".to_owned(),
                hint: Some("do".to_owned()),
                spent,
            })
        });
        let AttemptOutcome::Failed { failure, usage } = world.run().await.0 else { panic!("{fault:?}") };
        assert_eq!((failure.class, failure.code.as_deref(), usage.cost_usd), (class, Some(code), Some(0.25)));
        assert_eq!(failure.hint.as_deref(), Some("do"));
    }
}

#[tokio::test]
async fn whatever_happens_there_is_a_report() {
    let mut world = World::new(agent_order());
    world.agent = Doing(|_| panic!("a bug"));
    let failure = world.fails().await;
    assert_eq!(failure.code.as_deref(), Some(codes::BROKEN));
    assert!(failure.message.contains("a bug"));
    let world = World::bash("true");
    fs::write(world.place.path().join("scratch"), "in the way").unwrap();
    assert_eq!(world.fails().await.code.as_deref(), Some(codes::PLACE));
}
