//! Runs a program to its end: all that it prints is heard, and nothing of it is left when it is over.

mod pipes;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use ratchet_engine::ports::{AttemptFiles, Stop, StopSignal};
use tokio::{
    process::Command,
    time::{Instant as Moment, sleep, sleep_until, timeout},
};

use self::pipes::Pipes;

use crate::{
    family::{Family, Mark},
    output_log::Stream,
    profile::Enclosure,
};

/// A program as it is started.
#[derive(Debug)]
pub(crate) struct Program {
    /// The file that is run. A path, never a name to be searched: the cheap way of starting a process needs that.
    pub(crate) file: PathBuf,
    /// What follows its name.
    pub(crate) arguments: Vec<OsString>,
    /// All of its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The files that it sees.
    pub(crate) files: AttemptFiles,
    /// Where in them it starts, relative to their root.
    pub(crate) directory: PathBuf,
    /// What it reads; nothing where there is none.
    pub(crate) stdin: Option<File>,
    /// What its descendants are known by.
    pub(crate) mark: Mark,
    /// The walls around it; none where it may do what its user may.
    pub(crate) enclosure: Option<Enclosure>,
}

/// How long a program may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// All of it.
    pub(crate) timeout: Option<Duration>,
    /// How long it may print nothing.
    pub(crate) stall: Option<Duration>,
    /// From the request to end until it is killed.
    pub(crate) grace: Duration,
}

/// Hears what a program prints.
pub(crate) trait Listener: Send {
    /// Takes some bytes of a stream.
    fn hear(&mut self, stream: Stream, bytes: &[u8]);

    /// Whether all that counts was said: the program then has a moment to end by itself.
    fn is_satisfied(&self) -> bool {
        false
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// By itself or by us.
    pub(crate) reason: Reason,
    /// What the system says.
    pub(crate) status: ExitStatus,
    /// When it was started.
    pub(crate) spawned: Instant,
    /// How long it ran.
    pub(crate) ran: Duration,
}

/// Who ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It did.
    Itself,
    /// It had said all that counts and did not end.
    Lingered,
    /// Its time was over.
    TimedOut,
    /// It had printed nothing for too long.
    Stalled,
    /// It was told to stop.
    Stopped,
}

impl Ended {
    /// The exit code, as a shell tells it: 128 + n for signal n.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }
}

/// How long a satisfied listener waits for the program's own end.
const LINGER: Duration = Duration::from_secs(10);
/// How long the pipes are read after everything that was found has ended: whoever still holds them is none of ours.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the dead are waited for where whoever should does not: a zombie of another parent keeps its group for ever.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Runs a program until it ends, its time is over, or it is told to stop. Every process of it has ended then.
pub(crate) async fn run(
    program: Program,
    limits: Limits,
    mut stop: StopSignal,
    listener: &mut dyn Listener,
) -> io::Result<Ended> {
    let mut command = Command::new(&program.file);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .stdin(program.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    program.files.place(command.as_std_mut(), &program.directory)?;
    // Kept to the end: what was made to hold the walls goes with it.
    let told = program.enclosure.map(|enclosure| enclosure.put_around(command.as_std_mut())).transpose()?;
    let mut child = match (command.spawn(), &told) {
        (Ok(child), _) => child,
        (Err(error), None) => return Err(error),
        (Err(error), Some(told)) => return Err(told.lack(&error).map_or(error, io::Error::other)),
    };
    let spawned = Instant::now();
    let mut family = Family::of(&child, program.mark);
    let mut pipes = Pipes::of(&mut child);
    let mut ending = Ending::new(limits);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            Some((stream, length)) = pipes.read() => {
                listener.hear(stream, pipes.bytes(stream, length));
                ending.heard();
                if listener.is_satisfied() {
                    ending.satisfied();
                }
            }
            () = sleep_until(ending.next().unwrap_or_else(Moment::now)), if ending.next().is_some() => ending.time_is_over(&family),
            how = told_to_stop(&mut stop, ending.told) => ending.stop(how, &family),
        }
    };
    let ran = spawned.elapsed();
    family.parent_ended();
    end_rest(&family, limits.grace, ending.is_at_once(), &mut pipes, listener).await;
    family.all_ended();
    let drained = async {
        while let Some((stream, length)) = pipes.read().await {
            listener.hear(stream, pipes.bytes(stream, length));
        }
    };
    // At its end a pipe says so at once; one that somebody else still holds is left alone.
    let _ = timeout(DRAIN, drained).await;
    drop(told);
    Ok(Ended { reason: ending.reason, status, spawned, ran })
}

/// Ends what outlived the program itself, while the pipes go on being read.
async fn end_rest(family: &Family, grace: Duration, at_once: bool, pipes: &mut Pipes, listener: &mut dyn Listener) {
    if !family.is_alive() {
        return;
    }
    family.signal(if at_once { Signal::Kill } else { Signal::Terminate });
    let mut killed = at_once;
    let deadline = Moment::now() + grace;
    let give_up = deadline + GIVE_UP;
    let mut pause = Duration::from_millis(1);
    while family.is_alive() && Moment::now() < give_up {
        if killed || Moment::now() >= deadline {
            // Again each time: a process that was just forked missed the signal before.
            family.signal(Signal::Kill);
            killed = true;
        }
        tokio::select! {
            Some((stream, length)) = pipes.read() => listener.hear(stream, pipes.bytes(stream, length)),
            () = sleep(pause) => pause = (pause * 2).min(Duration::from_millis(50)),
        }
    }
}

/// The two ways of telling a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Asks.
    Terminate,
    /// Does not ask.
    Kill,
}

/// How far the end of a program has come.
struct Ending {
    limits: Limits,
    reason: Reason,
    /// When the next thing happens by itself.
    due: Option<Moment>,
    /// When its silence has lasted too long. Only while it works: nobody waits for words of what has said all, or is being ended.
    silent_until: Option<Moment>,
    /// The signal that was sent last.
    sent: Option<Signal>,
    /// How it was told to stop.
    told: Option<Stop>,
}

impl Ending {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            reason: Reason::Itself,
            due: after(limits.timeout),
            silent_until: after(limits.stall),
            sent: None,
            told: None,
        }
    }

    /// When something happens by itself next.
    fn next(&self) -> Option<Moment> {
        self.due.into_iter().chain(self.silent_until).min()
    }

    fn heard(&mut self) {
        if self.silent_until.is_some() {
            self.silent_until = after(self.limits.stall);
        }
    }

    fn satisfied(&mut self) {
        if self.reason == Reason::Itself && self.sent.is_none() {
            self.reason = Reason::Lingered;
            self.silent_until = None;
            self.due = Some(Moment::now() + LINGER);
        }
    }

    fn time_is_over(&mut self, family: &Family) {
        match self.sent {
            None => {
                if self.reason == Reason::Itself {
                    let is_silence = self.silent_until.is_some() && self.silent_until == self.next();
                    self.reason = if is_silence { Reason::Stalled } else { Reason::TimedOut };
                }
                self.send(Signal::Terminate, family);
            }
            Some(_) => self.send(Signal::Kill, family),
        }
    }

    fn stop(&mut self, how: Stop, family: &Family) {
        self.reason = Reason::Stopped;
        self.told = Some(how);
        match how {
            Stop::Gracefully if self.sent.is_none() => self.send(Signal::Terminate, family),
            Stop::Gracefully => {}
            Stop::AtOnce => self.send(Signal::Kill, family),
        }
    }

    fn send(&mut self, signal: Signal, family: &Family) {
        family.signal(signal);
        self.sent = Some(signal);
        self.silent_until = None;
        self.due = match signal {
            Signal::Terminate => Some(Moment::now() + self.limits.grace),
            // What is killed ends; only a child that was just forked may have missed it.
            Signal::Kill => Some(Moment::now() + Duration::from_millis(50)),
        };
    }

    fn is_at_once(&self) -> bool {
        self.sent == Some(Signal::Kill)
    }
}

/// The moment after a time from now; none where there is no such time, or it lies beyond what a clock can count.
fn after(time: Option<Duration>) -> Option<Moment> {
    time.and_then(|time| Moment::now().checked_add(time))
}

/// Waits until the program is told to stop in a way that it was not told before.
async fn told_to_stop(stop: &mut StopSignal, told: Option<Stop>) -> Stop {
    loop {
        let now = *stop.borrow_and_update();
        match (now, told) {
            (Some(how), None) => return how,
            (Some(Stop::AtOnce), Some(Stop::Gracefully)) => return Stop::AtOnce,
            _ => {}
        }
        if stop.changed().await.is_err() {
            // Nobody is left who could tell.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::watch;

    use super::*;
    use crate::{
        family::{adopt_orphans, marked, zombies},
        find::find,
        output_log::{Bounds, OutputLog},
    };

    /// Hears everything, and tells the program to stop when it says `ready`.
    struct Heard {
        text: String,
        stop: watch::Sender<Option<Stop>>,
        when_ready: Option<Stop>,
        satisfied_by: Option<&'static str>,
    }

    impl Listener for Heard {
        fn hear(&mut self, _stream: Stream, bytes: &[u8]) {
            self.text.push_str(&String::from_utf8_lossy(bytes));
            if self.when_ready.is_some() && self.text.contains("ready") {
                self.stop.send(self.when_ready).unwrap();
            }
        }

        fn is_satisfied(&self) -> bool {
            self.satisfied_by.is_some_and(|word| self.text.contains(word))
        }
    }

    fn environment(attempt: &str) -> BTreeMap<String, String> {
        let own = std::process::id().to_string();
        [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("RATCHET_EXECUTION_ID", &own),
            ("RATCHET_STEP", attempt),
            ("RATCHET_ATTEMPT", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn here() -> AttemptFiles {
        AttemptFiles::in_folder(std::env::temp_dir())
    }

    fn bash(script: &str, attempt: &str) -> Program {
        let environment = environment(attempt);
        Program {
            file: find("bash", "/usr/bin:/bin", Path::new("/"), &here()).unwrap(),
            arguments: vec!["-c".into(), script.into()],
            mark: Mark::of(&environment),
            environment,
            files: here(),
            directory: PathBuf::new(),
            stdin: None,
            enclosure: None,
        }
    }

    struct Case {
        script: &'static str,
        timeout: Option<Duration>,
        stall: Option<Duration>,
        stop: Option<Stop>,
        reason: Reason,
        code: i32,
    }

    const LONG: Duration = Duration::from_secs(100);
    const SHORT: Duration = Duration::from_millis(100);

    fn ends(script: &'static str, code: i32) -> Case {
        Case { script, timeout: Some(LONG), stall: None, stop: None, reason: Reason::Itself, code }
    }

    fn times_out(script: &'static str, code: i32) -> Case {
        Case { timeout: Some(SHORT), reason: Reason::TimedOut, ..ends(script, code) }
    }

    fn stalls(script: &'static str, code: i32) -> Case {
        Case { stall: Some(SHORT), reason: Reason::Stalled, ..ends(script, code) }
    }

    fn stops(script: &'static str, how: Stop, code: i32) -> Case {
        Case { stop: Some(how), reason: Reason::Stopped, ..ends(script, code) }
    }

    /// How many cases were begun: of two tests in one process neither takes the other's programs for its own.
    static BEGUN: AtomicUsize = AtomicUsize::new(0);

    async fn check(cases: &[Case]) {
        for case in cases {
            let script = case.script;
            let (sender, stop) = watch::channel(None);
            let mut heard = Heard { text: String::new(), stop: sender, when_ready: case.stop, satisfied_by: None };
            let limits = Limits { timeout: case.timeout, stall: case.stall, grace: SHORT };
            let attempt = format!("case{}", BEGUN.fetch_add(1, Ordering::Relaxed));
            let began = Instant::now();
            let ended = run(bash(script, &attempt), limits, stop, &mut heard).await.unwrap();
            assert_eq!((ended.reason, ended.code()), (case.reason, case.code), "{script}: {}", heard.text);
            assert!(began.elapsed() < LONG / 4, "{script} took {:?}", began.elapsed());
            assert_eq!(marked(&Mark::of(&environment(&attempt))), Vec::<i32>::new(), "{script} left processes");
            // Where all tests are in one process, the others' leavings are waited for by whoever runs next.
            let reaped = async {
                while !zombies().is_empty() {
                    let (_sender, stop) = watch::channel(None);
                    let (next, _) = watch::channel(None);
                    let mut heard = Heard { text: String::new(), stop: next, when_ready: None, satisfied_by: None };
                    run(bash("true", "next"), limits, stop, &mut heard).await.unwrap();
                }
            };
            timeout(LONG / 4, reaped).await.unwrap_or_else(|_| panic!("{script} left the zombies {:?}", zombies()));
        }
    }

    #[tokio::test]
    async fn a_program_runs_to_its_end() {
        check(&[
            ends("exit 0", 0),
            ends("exit 3", 3),
            ends("kill -9 $$", 137),
            ends("cat", 0),
            ends("[ \"$(cut -d ' ' -f 5 /proc/$$/stat)\" = $$ ]", 0),
            ends("[ \"$(env | grep -vc -e ^PATH= -e ^RATCHET_ -e ^PWD= -e ^SHLVL= -e ^_=)\" = 0 ]", 0),
            ends("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", 0),
        ])
        .await;
    }

    /// Programs that leave something behind, each in its own way.
    fn leavers() -> Vec<Case> {
        vec![
            ends("tail -f /dev/null & exit 5", 5),
            ends("tail -f /dev/null > /dev/null 2>&1 & exit 0", 0),
            ends("(trap '' TERM; tail -f /dev/null) & exit 0", 0),
            ends("setsid tail -f /dev/null & exit 0", 0),
            ends("setsid -f tail -f /dev/null > /dev/null 2>&1; exit 0", 0),
            ends("setsid -f bash -c 'trap \"\" TERM; tail -f /dev/null & tail -f /dev/null'; exit 0", 0),
            ends("set -m; tail -f /dev/null & exit 0", 0),
            ends("for n in 1 2 3 4 5 6 7 8; do setsid -f true; done; true & exit 0", 0),
            times_out("tail -f /dev/null", 143),
            times_out("trap '' TERM; setsid -f tail -f /dev/null; while :; do tail -f /dev/null; done", 137),
            times_out("trap 'exit 7' TERM; tail -f /dev/null & wait", 7),
            stops("echo ready; tail -f /dev/null", Stop::Gracefully, 143),
            stops("trap 'echo ended; exit 0' TERM; echo ready; tail -f /dev/null & wait", Stop::Gracefully, 0),
            stops("trap '' TERM; echo ready; while :; do tail -f /dev/null; done", Stop::Gracefully, 137),
            stops(
                "setsid -f tail -f /dev/null; trap '' TERM; echo ready; while :; do tail -f /dev/null; done",
                Stop::AtOnce,
                137,
            ),
        ]
    }

    #[tokio::test]
    async fn nothing_is_left_where_orphans_are_adopted() {
        adopt_orphans().unwrap();
        check(&leavers()).await;
    }

    #[tokio::test]
    async fn nothing_is_left_where_they_are_not() {
        check(&leavers()).await;
    }

    #[tokio::test]
    async fn a_pipe_that_a_stranger_holds_does_not_hold_the_step() {
        // Without the mark and out of the group, it cannot be told from anybody else's process.
        let script = "env -i setsid tail -f /dev/null & echo $!; exit 0";
        let (sender, stop) = watch::channel(None);
        let mut heard = Heard { text: String::new(), stop: sender, when_ready: None, satisfied_by: None };
        let limits = Limits { timeout: Some(LONG), stall: None, grace: SHORT };
        let ended = run(bash(script, "stranger"), limits, stop, &mut heard).await.unwrap();
        assert_eq!((ended.reason, ended.code()), (Reason::Itself, 0));
        let stranger = rustix::process::Pid::from_raw(heard.text.trim().parse().unwrap()).unwrap();
        // Where it was quick it has left the group and lives; where the group's end was quicker it is gone. Either way the step went on.
        let _ = rustix::process::kill_process(stranger, rustix::process::Signal::KILL);
    }

    #[tokio::test]
    async fn a_run_that_is_dropped_is_killed() {
        adopt_orphans().unwrap();
        let (sender, stop) = watch::channel(None);
        let (ready, mut is_ready) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut heard =
                Heard { text: String::new(), stop: ready, when_ready: Some(Stop::AtOnce), satisfied_by: None };
            let script = "setsid -f tail -f /dev/null; trap '' TERM; echo ready; while :; do tail -f /dev/null; done";
            run(bash(script, "dropped"), Limits { timeout: None, stall: None, grace: LONG }, stop, &mut heard).await
        });
        is_ready.changed().await.unwrap();
        task.abort();
        assert!(task.await.is_err());
        let mark = Mark::of(&environment("dropped"));
        let gone = async {
            while !marked(&mark).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG / 4, gone).await.expect("what a dropped run started is killed");
        drop(sender);
        check(&[ends("true", 0)]).await;
    }

    #[tokio::test]
    async fn a_program_that_has_said_all_may_end_by_itself() {
        let (sender, stop) = watch::channel(None);
        let mut heard = Heard { text: String::new(), stop: sender, when_ready: None, satisfied_by: Some("result") };
        let limits = Limits { timeout: Some(LONG), stall: None, grace: SHORT };
        let ended = run(bash("echo result; exit 4", "satisfied"), limits, stop, &mut heard).await.unwrap();
        assert_eq!(ended.code(), 4);
    }

    #[tokio::test]
    async fn a_program_that_says_nothing_is_ended_and_one_that_goes_on_is_not() {
        check(&[
            stalls("tail -f /dev/null", 143),
            stalls("echo once; tail -f /dev/null", 143),
            stalls("trap '' TERM; while :; do tail -f /dev/null; done", 137),
            // What is said while it is being ended does not take it back.
            stalls("trap 'while :; do echo no; done' TERM; tail -f /dev/null & wait", 137),
            Case { stall: Some(LONG), ..times_out("tail -f /dev/null", 143) },
            Case { stall: Some(LONG), ..ends("echo said", 0) },
        ])
        .await;
        let mut ending = Ending::new(Limits { timeout: None, stall: Some(LONG), grace: SHORT });
        let (first, began) = (ending.next(), Moment::now());
        while Moment::now() == began {}
        ending.heard();
        assert!(ending.next() > first, "each word gives it as long again");
        ending.satisfied();
        assert!(ending.next() < first, "and none is waited for once all is said");
    }

    #[tokio::test]
    async fn a_flood_is_heard_in_bounded_memory() {
        struct Flood(OutputLog<'static>, u64);
        impl Listener for Flood {
            fn hear(&mut self, stream: Stream, bytes: &[u8]) {
                self.1 += bytes.len() as u64;
                self.0.print(stream, bytes);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let log = OutputLog::new(folder.path().join("output.log"), Instant::now(), Bounds::default(), |_| {});
        let mut flood = Flood(log, 0);
        let (_sender, stop) = watch::channel(None);
        let script = "head -c 536870912 /dev/zero & yes 'a line of some length, as compilers print them' | head -c 536870912 >&2; wait";
        let ended =
            run(bash(script, "flood"), Limits { timeout: Some(LONG), stall: None, grace: SHORT }, stop, &mut flood)
                .await;
        assert_eq!(ended.unwrap().code(), 0);
        flood.0.end();
        assert_eq!(flood.1, 1 << 30);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        // Where all tests are in one process, the others count as well.
        assert!(kilobytes < 200 << 10, "{kilobytes} kB at the peak");
        assert!(std::fs::metadata(folder.path().join("output.log")).unwrap().len() < 80 << 20);
    }
}
