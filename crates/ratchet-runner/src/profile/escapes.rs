//! Attempts to get out, made for real by a command and by an agent of each profile: as root, as an ordinary user, and where there are no user namespaces.
//!
//! Each is tried with the profile off first. What does not succeed even then shows nothing about a profile and counts as not run.

mod attempts;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{PermissionsExt, symlink},
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ratchet_core::{
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    output::Output,
    workflow::{Expression, SecurityProfile, Uses, ValueType},
};
use ratchet_definition::files::FileAccess;
use ratchet_engine::{
    order::{AttemptOutcome, OutputOrder, OutputOrderSource, Work},
    ports::{Agent, AttemptFiles, AttemptPlace, AttemptRunner, Silent},
};
use ratchet_testkit::{builders::order, memory::MemoryBlobStore};
use tempfile::TempDir;

use self::attempts::{ATTEMPTS, Attempt, May};
use super::{Confinement, Files, Machine, Network, Rules, Worker, rules};
use crate::{
    BaseEnvironment, Runner,
    agent::{ClaudeCode, testing},
    codes,
    tests::{Doing, Folder},
};

/// What the attempts are after, alive as long as this.
struct World {
    place: TempDir,
    victim: Child,
    port: u16,
    answering: u16,
    shared: std::path::PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        let _ = fs::remove_file(&self.shared);
    }
}

impl World {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for folder in [
            "workspace/.git/hooks",
            "workspace/.claude",
            "outside",
            "state/executions/other",
            "person/.aws",
            "attempt",
            "scratch",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "workspace/.git/config",
            "workspace/.claude/settings.json",
            "workspace/.mcp.json",
            "workspace/a.txt",
            "outside/secret",
            "state/state.db",
            "state/executions/other/file",
            "person/.aws/credentials",
            "attempt/transcript.jsonl",
        ] {
            fs::write(at(file), "canary\n").unwrap();
        }
        symlink("../outside", at("workspace/escape")).unwrap();
        let shared = Path::new("/dev/shm").join(place.path().file_name().unwrap());
        fs::write(&shared, "canary\n").unwrap();
        let mut victim = Command::new("/bin/sh");
        victim.args(["-c", "read word; : canary-among-arguments"]).env_clear().env("KEY", "canary-in-environment");
        let victim = victim.stdin(Stdio::piped()).spawn().unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"canary\n"))));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let answering = socket.local_addr().unwrap().port();
        thread::spawn(move || {
            while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
                let _ = socket.send_to(b"canary\n", from);
            }
        });
        let named = UnixListener::bind(at("outside/socket")).unwrap();
        let hidden = SocketAddr::from_abstract_name(place.path().as_os_str().as_encoded_bytes()).unwrap();
        let hidden = UnixListener::bind_addr(&hidden).unwrap();
        for listener in [named, hidden] {
            thread::spawn(move || {
                listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"canary\n")));
            });
        }
        Self { place, victim, port, answering, shared }
    }

    /// A script that makes every attempt and writes a line about each.
    fn script(&self) -> String {
        let place = self.place.path().display();
        let mut script = format!(
            "export PLACE={place} VICTIM={} PORT={} ANSWERING={} SHARED={}\n\
             try() {{ if said=$(timeout -k 1 10 bash -euo pipefail -c \"$2\" 2>&1 >/dev/null); then echo \"$1|yes|\"; else echo \"$1|no|${{said//$'\\n'/ }}\"; fi; }}\n",
            self.victim.id(),
            self.port,
            self.answering,
            self.shared.display(),
        );
        for (number, attempt) in ATTEMPTS.iter().enumerate() {
            let quoted = attempt.script.replace('\'', "'\\''");
            script.extend(["try ", &number.to_string(), " '", &quoted, "'\n"]);
        }
        script
    }

    /// What came of each attempt, with a profile or with none.
    async fn tried(&self, worker: Worker, profile: Option<SecurityProfile>) -> Result<Vec<Outcome>, String> {
        let said = match worker {
            Worker::Command | Worker::Check => self.command(profile).await?,
            Worker::Agent => self.agent(profile).await?,
        };
        let line = |line: &str| {
            let mut parts = line.splitn(3, '|');
            let (number, succeeded, said) = (parts.next()?.parse().ok()?, parts.next()? == "yes", parts.next()?);
            Some((number, Outcome { succeeded, said: said.to_owned() }))
        };
        let mut outcomes: BTreeMap<usize, Outcome> = said.lines().filter_map(line).collect();
        let all = (0..ATTEMPTS.len()).map(|number| outcomes.remove(&number).ok_or_else(|| format!("{number}: {said}")));
        all.collect()
    }

    async fn command(&self, profile: Option<SecurityProfile>) -> Result<String, String> {
        let argv = ["bash", "-c", &self.script()].map(str::to_owned).to_vec();
        let work = Work::Command { argv, values: BTreeMap::new(), allow_exit_codes: Vec::new(), profile };
        let path = StepPath::step(StepId::new("escape"));
        let execution = ExecutionId::new(self.place.path().display().to_string());
        let mut order = order(StepKey { execution, epoch: Epoch::FIRST, path }, 1, work);
        let expression = Expression { source: "stdout".to_owned(), code: "stdout".to_owned(), uses: Uses::default() };
        let source = OutputOrderSource::From { expression, value_type: ValueType::String };
        order.outputs.push(OutputOrder { name: "said".to_owned(), source });
        let files = Arc::new(|files: &AttemptFiles| Arc::new(Folder(files.root().to_owned())) as Arc<dyn FileAccess>);
        let agent = Arc::new(Doing(|_| panic!("no agent is asked here")));
        let runner = Runner::new(Arc::new(MemoryBlobStore::default()), agent, Arc::new(Silent), files)
            .with_environment(BaseEnvironment::new(&variables()))
            .with_grace(Duration::from_millis(100));
        let place = AttemptPlace {
            definitions: None,
            files: AttemptFiles::in_folder(self.place.path().join("workspace")),
            directory: self.place.path().join("attempt"),
            scratch: self.place.path().join("scratch"),
        };
        match runner.run(order, place, testing::stop()).await.outcome {
            AttemptOutcome::Succeeded(result) => match &result.outputs["said"] {
                Output::Json(said) => Ok(said.as_str().unwrap().to_owned()),
                other => panic!("{other:?}"),
            },
            AttemptOutcome::Failed { failure, .. } => {
                Err(format!("{}: {}", failure.code.unwrap_or_default(), failure.message))
            }
            AttemptOutcome::Stopped => panic!("nobody stops it"),
        }
    }

    /// An agent's command that does what its prompt says, and says what came of it.
    async fn agent(&self, profile: Option<SecurityProfile>) -> Result<String, String> {
        let command = self.place.path().join("agent/claude");
        fs::create_dir_all(command.parent().unwrap()).unwrap();
        let script = "#!/bin/bash\nif [ \"$1\" = --version ]; then echo '2.1.330 (Claude Code)'; exit; fi\n\
                      echo '{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}'\n\
                      said=$(bash -c \"$(cat)\" | base64 -w0)\n\
                      printf '{\"type\":\"result\",\"is_error\":false,\"result\":\"%s\"}\\n' \"$said\"\n";
        fs::write(&command, script).unwrap();
        fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
        let mut given = variables();
        given.insert("RATCHET_CLAUDE".to_owned(), command.display().to_string());
        given.insert("ANTHROPIC_API_KEY".to_owned(), "the-canary-key".to_owned());
        if profile.is_none() {
            given.insert("RATCHET_CONFINEMENT".to_owned(), "off".to_owned());
        }
        let mut request = testing::request(self.place.path(), "escape");
        request.profile = profile.unwrap_or(SecurityProfile::Restricted);
        request.prompt = self.script();
        request.environment = variables();
        let reply =
            ClaudeCode::new(&given).perform(request, testing::stop()).await.map_err(|error| error.to_string())?;
        let mut decoding =
            Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut writing = decoding.stdin.take().unwrap();
        let feeding = thread::spawn(move || writing.write_all(reply.response.as_bytes()).unwrap());
        let mut said = String::new();
        decoding.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        feeding.join().unwrap();
        decoding.wait().unwrap();
        Ok(said)
    }
}

fn variables() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "a@b.example"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

struct Outcome {
    succeeded: bool,
    said: String,
}

/// Whether a row of the table lets an attempt succeed.
fn may(attempt: &Attempt, rules: Rules) -> bool {
    match attempt.may {
        May::Nobody => false,
        May::Writers => rules.files != Files::Read,
        May::WritersOfAll => rules.files == Files::WriteAll,
        May::Online => rules.network == Network::Open,
        May::Everybody => true,
    }
}

/// Makes every attempt with each profile, compares with the table, and gives what was not run.
async fn check(world: &World, user: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let mut not_run = Vec::new();
    for worker in [Worker::Command, Worker::Agent] {
        let off = world.tried(worker, None).await.unwrap();
        let counts: Vec<bool> = off.iter().map(|outcome| outcome.succeeded).collect();
        for (attempt, off) in ATTEMPTS.iter().zip(&off).filter(|(_, off)| !off.succeeded) {
            told(&format!(
                "{user}, {worker:?}: not run: {}: it fails with the profile off: {}",
                attempt.what, off.said
            ));
            not_run.push(attempt.what);
        }
        for profile in SecurityProfile::ALL {
            let outcomes = world.tried(worker, Some(profile)).await.unwrap();
            for ((attempt, outcome), _) in ATTEMPTS.iter().zip(&outcomes).zip(&counts).filter(|(_, counts)| **counts) {
                let may = may(attempt, rules(profile, worker));
                let is_for_its_reason = may || attempt.why.iter().any(|why| outcome.said.contains(why));
                if may != outcome.succeeded || !is_for_its_reason {
                    let is = if outcome.succeeded { "succeeded" } else { "failed" };
                    wrong.push(format!("{user}, {worker:?}, {profile:?}: {} {is}: {}", attempt.what, outcome.said));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What one worker could try is shown.
    let both = |what: &&&str| not_run.iter().filter(|other| other == what).count() == 2;
    not_run.iter().filter(both).copied().collect::<BTreeSet<_>>().into_iter().collect()
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn told(words: &str) {
    eprintln!("{words}");
}

/// Runs something on this thread, and no other.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Gives this thread, and what it starts, a network of its own in which the metadata address answers. Only root may.
fn network_with_metadata() {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    #[expect(unsafe_code, reason = "the kernel's own interface")]
    // SAFETY: descriptors stay shared between threads.
    let made = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    if made.is_err() {
        return told("not run: the metadata address: no network namespace can be made");
    }
    for arguments in ["link set lo up", "address add 169.254.169.254/32 dev lo"] {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        assert!(done.is_ok_and(|status| status.success()), "ip {arguments}");
    }
    thread::spawn({
        let listener = TcpListener::bind("169.254.169.254:80").unwrap();
        move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"canary\n")))
    });
}

/// Makes this thread, and what it starts, an ordinary user's: nobody's, where it is root's.
#[expect(unsafe_code, reason = "the C library would do it to all threads")]
fn become_ordinary() {
    const NOBODY: u32 = 65534;
    if !rustix::process::getuid().is_root() {
        return;
    }
    // SAFETY: these calls take numbers.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u8>()), 0);
        assert_eq!(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY), 0);
        // A process that changed its user may not write what describes it.
        assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    }
}

/// Whether an enclosure can be made here. Where none can, nothing starts within one, which is what is to be.
fn has_walls() -> bool {
    match &Machine::this().lacks {
        None => true,
        Some(lack) => {
            told(&format!("not run: this machine gives no enclosure: {lack}"));
            false
        }
    }
}

#[test]
fn root_gets_out_of_no_profile() {
    if !rustix::process::getuid().is_root() {
        return told("not run: the attempts as root: these tests run as an ordinary user");
    }
    if !has_walls() {
        return;
    }
    network_with_metadata();
    let world = World::new();
    let not_run = block_on(check(&world, "root"));
    table(&not_run);
}

#[test]
fn an_ordinary_user_gets_out_of_no_profile() {
    if rustix::process::getuid().is_root() {
        network_with_metadata();
    }
    become_ordinary();
    if has_walls() {
        block_on(check(&World::new(), "an ordinary user"));
    }
}

/// As in a container without user namespaces: nothing starts, and it is said what is missing.
#[test]
fn where_there_are_no_user_namespaces_nothing_starts_within_walls() {
    become_ordinary();
    let world = World::new();
    without_user_namespaces();
    for worker in [Worker::Command, Worker::Agent] {
        for profile in SecurityProfile::ALL {
            let refused = block_on(world.tried(worker, Some(profile))).map(drop).unwrap_err();
            assert!(refused.contains("this machine cannot keep the"), "{refused}");
            assert!(refused.contains("namespaces for mounts and processes"), "{refused}");
            assert!(worker == Worker::Agent || refused.starts_with(codes::PROFILE), "{refused}");
        }
    }
    assert!(!world.place.path().join("workspace/made").exists());
}

fn without_user_namespaces() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let rules = BTreeMap::from([(libc::SYS_unshare, Vec::new())]);
    let machine = TargetArch::try_from(env::consts::ARCH).unwrap();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// What a profile costs: with and without, in turn.
#[test]
fn a_profile_adds_little_to_a_step() {
    const MOST: Duration = Duration::from_millis(20);
    const TIMES: usize = 15;
    if !has_walls() {
        return;
    }
    let world = World::new();
    let run = |profile| {
        let world = &world;
        async move {
            let began = Instant::now();
            world.idle(profile).await;
            began.elapsed()
        }
    };
    block_on(async {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            without.push(run(None).await);
            with.push(run(Some(SecurityProfile::Standard)).await);
        }
        with.sort_unstable();
        without.sort_unstable();
        // What else the machine does makes single ones slower, never faster.
        let (with, without) = (with[TIMES / 4], without[TIMES / 4]);
        told(&format!("a step takes {without:?} without a profile and {with:?} with one"));
        assert!(with < without + MOST, "a step takes {without:?} without a profile and {with:?} with one");
    });
}

impl World {
    async fn idle(&self, profile: Option<SecurityProfile>) {
        let work = Work::Command {
            argv: vec!["true".to_owned()],
            values: BTreeMap::new(),
            allow_exit_codes: Vec::new(),
            profile,
        };
        let path = StepPath::step(StepId::new("idle"));
        let execution = ExecutionId::new(self.place.path().display().to_string());
        let order = order(StepKey { execution, epoch: Epoch::FIRST, path }, 1, work);
        let files = Arc::new(|files: &AttemptFiles| Arc::new(Folder(files.root().to_owned())) as Arc<dyn FileAccess>);
        let agent = Arc::new(Doing(|_| panic!("no agent is asked here")));
        let runner = Runner::new(Arc::new(MemoryBlobStore::default()), agent, Arc::new(Silent), files)
            .with_environment(BaseEnvironment::new(&variables()))
            .with_confinement(Confinement::default());
        let place = AttemptPlace {
            definitions: None,
            files: AttemptFiles::in_folder(self.place.path().join("workspace")),
            directory: self.place.path().join("attempt"),
            scratch: self.place.path().join("scratch"),
        };
        let outcome = runner.run(order, place, testing::stop()).await.outcome;
        assert!(matches!(outcome, AttemptOutcome::Succeeded(_)), "{outcome:?}");
    }
}

/// Compares the page with what was tried, or writes it: every outcome in it was seen by the test that calls this.
fn table(not_run: &[&str]) {
    let mut rows = vec![
        "| attempt | agent: plan_only | restricted | standard | elevated | command: plan_only | restricted | standard | elevated | what the system says |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for attempt in ATTEMPTS {
        let cell = |worker: Worker| {
            SecurityProfile::ALL
                .map(|profile| if may(attempt, rules(profile, worker)) { "may" } else { "refused" })
                .join(" | ")
        };
        let why = attempt.why.first().copied().unwrap_or_default();
        rows.push(format!("| {} | {} | {} | {why} |", attempt.what, cell(Worker::Agent), cell(Worker::Command)));
    }
    let made = rows.join("\n");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- attempts -->\n").unwrap();
    let (written, after) = rest.split_once("\n<!-- end of attempts -->").unwrap();
    if env::var_os("RATCHET_UPDATE_DOCS").is_some() {
        assert!(not_run.is_empty(), "the page is written where every attempt can be made: not run were {not_run:?}");
        fs::write(&page, format!("{before}<!-- attempts -->\n{made}\n<!-- end of attempts -->{after}")).unwrap();
    } else {
        assert_eq!(written, made, "docs/security.md is not what was tried: RATCHET_UPDATE_DOCS=1 writes it");
    }
}
