//! A command as an attempt.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Seek as _, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use ratchet_core::{
    output::Output,
    step::{FailureClass, StepFailure, Usage},
    workflow::SecurityProfile,
};
use ratchet_engine::{
    masks::{MaskedStream, Masks},
    order::{Order, SecretText},
    ports::SecretError,
};
use serde_json::Value;

use crate::{
    advice,
    capture::{Said, Withheld},
    codes,
    family::Mark,
    find::{self, NotFound},
    hooks,
    output_log::{Bounds, OutputLog, Stream},
    paths,
    process::{self, Ended, Limits, Listener, Program, Reason},
    profile::{self, Enclosure, Lack, Needs, Worker},
    runner::{Attempt, Done, Runner, Undone, milliseconds, outside, place_refused},
    scratch::Scratch,
};

/// A program to run.
pub(crate) struct Invocation<'a> {
    /// The program and its arguments.
    pub(crate) argv: &'a [String],
    /// Values that it reads as variables of its own.
    pub(crate) values: &'a BTreeMap<String, String>,
    /// Exit codes besides 0 that are not failures.
    pub(crate) allow_exit_codes: &'a [i32],
    /// What its processes may do; `None` for whatever this process's user may.
    pub(crate) profile: Option<SecurityProfile>,
    /// Who works by it.
    pub(crate) worker: Worker,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    /// What it reads; nothing where there is none.
    pub(crate) stdin: Option<&'a str>,
    /// Where a program lies that is named by a relative path; else that is where it starts.
    pub(crate) beside: Option<&'a Path>,
}

/// How many last lines of each stream an agent is told of a check.
const CHECK_LINES: usize = 100;

/// A text as what a process reads.
fn as_file(text: &str) -> io::Result<fs::File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

impl Runner {
    /// Runs a program to its end.
    pub(crate) async fn command(&self, attempt: &Attempt<'_>, invocation: Invocation<'_>) -> Result<Done, Undone> {
        let Invocation { argv, values, allow_exit_codes, profile, worker, timeout, stdin, beside } = invocation;
        let (order, place) = (attempt.order, attempt.place);
        let scratch = self.scratch.take(&place.scratch).map_err(|error| place_refused(&place.scratch, &error))?;
        let mut environment = self.environment.of_attempt(order, place, &scratch.home(), &scratch.temporary()).await;
        let mark = Mark::of(&environment);
        environment.extend(values.clone());
        let masks = self.add_secrets(order, &scratch.temporary(), &mut environment).await?;
        let directory = working_directory(attempt)?;
        let starts_in = place.files.path().join(&directory);
        let search = environment.get("PATH").map_or("", String::as_str);
        let (name, arguments) = argv.split_first().map_or(("", argv), |(name, rest)| (name.as_str(), rest));
        let file = find::find(name, search, beside.unwrap_or(&starts_in), &place.files)
            .map_err(|why| not_found(name, &why, search))?;
        let sizes = Sizes::of(argv, &environment);
        let enclosure = profile
            .map(|profile| {
                let needs = Needs {
                    workspace: place.files.path(),
                    workspace_here: place.files.root(),
                    directory: &starts_in,
                    home: &scratch.home(),
                    temporary: &scratch.temporary(),
                    writable: &[],
                    readable: &readable(attempt, argv, values),
                    program: &file,
                    search: environment.get("PATH").map_or("", String::as_str),
                    door: None,
                    grace: self.grace,
                };
                self.enclosed(profile, worker, &needs)
            })
            .transpose()?;
        let program = Program {
            file,
            arguments: arguments.iter().map(Into::into).collect(),
            environment,
            files: place.files.clone(),
            directory,
            stdin: stdin.map(as_file).transpose().map_err(|error| place_refused(&std::env::temp_dir(), &error))?,
            mark,
            enclosure,
        };
        let observer = &self.observer;
        let bounds = match worker {
            Worker::Check => Bounds { tail: CHECK_LINES, ..Bounds::default() },
            Worker::Agent | Worker::Command => Bounds::default(),
        };
        let log = OutputLog::new(place.directory.join("output.log"), attempt.began, bounds, |line| {
            observer.line_written(&order.key, line);
        });
        let log = log.masking(&order.masks);
        let mut log = Logged { log, stdout: MaskedStream::new(&masks), stderr: MaskedStream::new(&masks) };
        let limits = Limits { timeout, stall: None, grace: self.grace };
        let ended = process::run(program, limits, attempt.stop.clone(), &mut log).await;
        let ended = ended.map_err(|error| match error.downcast::<Lack>() {
            Ok(lack) => not_confined(profile, &lack),
            Err(error) => not_started(name, &error, &sizes),
        })?;
        let mut log = log.end();
        let usage = Usage {
            start_ms: milliseconds(ended.spawned.duration_since(attempt.began)),
            process_ms: milliseconds(ended.ran),
            ..Usage::default()
        };
        let words = if worker == Worker::Check { log.last_of_both() } else { log.last_words() };
        let judged = judge(&ended, timeout, argv, allow_exit_codes, words.as_deref());
        // What a step with secrets left in its home is not kept, whatever came of it.
        self.put_away(scratch, judged.is_ok() || !masks.is_empty(), &place.directory);
        judged
            .map_err(|failure| failure.map_or(Undone::Stopped, |failure| Undone::Failed(Box::new(failure), usage)))?;
        let warning = log.trouble().map(|error| format!("its output.log is not complete: {error}"));
        let said =
            if order.outputs.is_empty() && stdin.is_none() { Said::default() } else { said(&mut log, ended.code()) };
        Ok(Done { said, always: BTreeMap::new(), exit_code: Some(ended.code()), usage, warning, masks, session: None })
    }
}

impl Runner {
    /// The walls of a profile, or why there are none: nothing weaker takes their place.
    fn enclosed(&self, profile: SecurityProfile, worker: Worker, needs: &Needs<'_>) -> Result<Enclosure, Undone> {
        self.can_keep(profile)?;
        Enclosure::new(profile::rules(profile, worker), needs).map_err(|error| not_confined(Some(profile), &error))
    }

    /// Whether the person who runs it lets commands be kept to a profile.
    pub(crate) fn can_keep(&self, profile: SecurityProfile) -> Result<(), Undone> {
        if let Some(message) = self.confinement.refusal(profile) {
            let hint = "ask whoever set RATCHET_PROFILE_MAX, or give the step a narrower profile";
            return Err(launch_failure(codes::PROFILE, message, hint));
        }
        if !self.confinement.is_on {
            let message =
                format!("nothing would keep the command to its profile {}: RATCHET_CONFINEMENT is off", profile.word());
            return Err(launch_failure(codes::PROFILE, message, "unset RATCHET_CONFINEMENT, or remove the profile"));
        }
        Ok(())
    }
}

fn not_confined(profile: Option<SecurityProfile>, error: &dyn std::fmt::Display) -> Undone {
    let name = profile.map_or("", SecurityProfile::word);
    let message = format!("this machine cannot keep the command to its profile {name}: {error}");
    launch_failure(codes::PROFILE, message, profile::HINT)
}

/// What a command within walls may read besides its workspace: its inputs, the hooks that say whose commits are, and the copies of captured files that it was given the
/// paths of.
fn readable(attempt: &Attempt<'_>, argv: &[String], values: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let (order, place) = (attempt.order, attempt.place);
    let mut readable: Vec<PathBuf> = order.inputs.iter().filter_map(|path| outside(path)).collect();
    readable.extend(hooks::folder(&place.scratch));
    let given = argv.iter().chain(values.values()).chain(order.environment.values()).map(Path::new);
    // Copies lie beside the folders of attempts, in folders that are named by digests: nobody knows one who was not given it.
    let is_copy = |path: &&Path| {
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        !goes_up && place.directory.ancestors().any(|above| path.starts_with(above.join("captured")))
    };
    readable.extend(given.filter(is_copy).filter(|path| path.is_file()).map(Path::to_owned));
    readable
}

impl Runner {
    /// After a success nobody looks for what is in the home and temporary folders. After a failure a person may.
    fn put_away(&self, scratch: Scratch, did_well: bool, directory: &Path) {
        let away = if did_well {
            self.scratch.give_back(scratch)
        } else {
            fs::create_dir_all(directory).and_then(|()| scratch.keep_in(directory))
        };
        if let Err(error) = away {
            tracing::warn!(%error, folder = %directory.display(), "an attempt's home and temporary folders stay where they are");
        }
    }
}

impl Runner {
    /// Puts the secrets that the step asks for into its variables, and into files of its temporary folder. Says what may not be kept of what it prints.
    pub(crate) async fn add_secrets(
        &self,
        order: &Order,
        temporary: &Path,
        environment: &mut BTreeMap<String, String>,
    ) -> Result<Masks, Undone> {
        let mut names = secrets_in(order.secrets.values());
        names.extend(order.secret_files.keys().map(String::as_str));
        let known = self.secrets_of(names).await?;
        for (name, parts) in &order.secrets {
            environment.insert(name.clone(), filled_in(parts, &known));
        }
        for (name, file) in &order.secret_files {
            let path = temporary.join(SECRETS_FOLDER).join(file);
            write_secret(&path, known.get(name.as_str()).map_or("", String::as_str))
                .map_err(|error| place_refused(temporary, &error))?;
            environment.insert(name.clone(), path.display().to_string());
        }
        Ok(Masks::new(known.into_values()))
    }

    /// The secrets of these names.
    pub(crate) async fn secrets_of<'a>(&self, names: Vec<&'a str>) -> Result<BTreeMap<&'a str, String>, Undone> {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for name in names {
            let given = match &self.secrets {
                Some(secrets) => secrets.get(name).await,
                None => Err(SecretError::NotFound(name.to_owned())),
            };
            let value = given.map_err(|error| launch_failure(error.code(), error.to_string(), SECRET_HINT))?;
            if value.trim_end().len() < SECRET_LENGTH_MIN {
                let message = format!(
                    "the secret {name} has fewer than {SECRET_LENGTH_MIN} characters, so that it cannot be masked"
                );
                return Err(launch_failure(codes::SECRET_TOO_SHORT, message, "use a longer one"));
            }
            known.insert(name, value);
        }
        Ok(known)
    }
}

/// Where in the temporary folder of an attempt its secrets' files lie.
const SECRETS_FOLDER: &str = "secrets";

/// Writes a file that only its owner can read, in a folder of which that is true too.
fn write_secret(path: &Path, value: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(value.as_bytes())
}

/// The names of the secrets that stand in some texts.
pub(crate) fn secrets_in<'a>(texts: impl Iterator<Item = &'a Vec<SecretText>>) -> Vec<&'a str> {
    let name = |part: &'a SecretText| match part {
        SecretText::Secret(name) => Some(name.as_str()),
        SecretText::Plain(_) => None,
    };
    texts.flatten().filter_map(name).collect()
}

/// A text with the secrets in their places.
pub(crate) fn filled_in(parts: &[SecretText], known: &BTreeMap<&str, String>) -> String {
    let part = |part: &SecretText| match part {
        SecretText::Plain(text) => text.clone(),
        SecretText::Secret(name) => known.get(name.as_str()).cloned().unwrap_or_default(),
    };
    parts.iter().map(part).collect()
}

/// The fewest bytes of a secret: shorter ones stand in any text.
pub const SECRET_LENGTH_MIN: usize = 6;
const SECRET_HINT: &str = "give it to the command that drives the run: `RATCHET_SECRET_<NAME>` in its environment, or a line of the file that \
                           `RATCHET_SECRETS_FILE` names";

/// What a command prints goes to its log.
struct Logged<'a> {
    log: OutputLog<'a>,
    stdout: MaskedStream,
    stderr: MaskedStream,
}

impl<'a> Logged<'a> {
    fn masking(&mut self, stream: Stream) -> &mut MaskedStream {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// The log, closed.
    fn end(mut self) -> OutputLog<'a> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.masking(stream).end();
            self.log.print(stream, &rest);
        }
        self.log.end();
        self.log
    }
}

impl Listener for Logged<'_> {
    fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        let masking = self.masking(stream);
        if masking.is_idle() {
            self.log.print(stream, bytes);
        } else {
            let shown = masking.take(bytes);
            self.log.print(stream, &shown);
        }
    }
}

/// What a command's outputs can read of it.
fn said(log: &mut OutputLog<'_>, code: i32) -> Said {
    let mut said = Said::default();
    for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
        match log.whole(stream) {
            None => {
                said.withheld.insert(name, Withheld::TooLong);
                if stream == Stream::Stdout {
                    said.withheld.insert("json", Withheld::TooLong);
                }
            }
            Some(mut text) => {
                if stream == Stream::Stdout {
                    match serde_json::from_str::<Value>(&text) {
                        Ok(json) => {
                            said.locals.insert("json".to_owned(), Output::Json(json));
                        }
                        Err(error) => {
                            said.withheld.insert("json", Withheld::NoJson(error.to_string()));
                        }
                    }
                }
                if text.ends_with('\n') {
                    text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
                }
                said.value(name, text);
            }
        }
    }
    said.value("exit_code", code);
    said
}

/// Whether an ended command did well; `Err(None)` where it was told to stop.
fn judge(
    ended: &Ended,
    timeout: Option<Duration>,
    argv: &[String],
    allow_exit_codes: &[i32],
    words: Option<&str>,
) -> Result<(), Option<StepFailure>> {
    let code = ended.code();
    let failed = |class, code: &'static str, message: String| {
        let failure = StepFailure::new(class, message).with_code(code);
        match words {
            Some(words) => failure.with_detail(words.to_owned()),
            None => failure,
        }
    };
    match ended.reason {
        Reason::Stopped => return Err(None),
        // No command has a limit of silence.
        Reason::TimedOut | Reason::Stalled => {
            let seconds = timeout.unwrap_or_default().as_secs_f64();
            let message = format!("the command was not done after {seconds} s and was ended");
            let hint = "raise the step's `timeout`, or find out what it waits for: its standard input is empty";
            return Err(Some(failed(FailureClass::Timeout, codes::TIMEOUT, message).with_hint(hint)));
        }
        Reason::Itself | Reason::Lingered => {}
    }
    if code == 0 || allow_exit_codes.contains(&code) {
        return Ok(());
    }
    let failure = if ended.status.code().is_none() {
        failed(FailureClass::Exit(code), codes::SIGNAL, format!("the command was ended by signal {}", code - 128))
    } else {
        failed(FailureClass::Exit(code), codes::EXIT_CODE, format!("the command ended with exit code {code}"))
    };
    let hint = advice::on_exit(code, argv, words.unwrap_or_default());
    Err(Some(match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }))
}

fn launch_failure(code: &'static str, message: String, hint: &str) -> Undone {
    let failure = StepFailure::new(FailureClass::Launch, message).with_code(code).with_hint(hint);
    Undone::Failed(Box::new(failure), Usage::default())
}

/// Where the command starts: a folder of the workspace, relative to its root.
fn working_directory(attempt: &Attempt<'_>) -> Result<PathBuf, Undone> {
    let (files, given) = (&attempt.place.files, attempt.order.working_directory.as_str());
    if given.is_empty() && files.root().is_dir() {
        return Ok(PathBuf::new());
    }
    let given = if given.is_empty() { "." } else { given };
    let refuse = |reason: String| {
        let message = format!("the command cannot start in its working directory: {reason}");
        launch_failure(
            codes::WORKING_DIRECTORY,
            message,
            "`working_directory` is a folder of the workspace, relative to its root, that is there when the step starts",
        )
    };
    let found = paths::existing(files, given).map_err(|error| refuse(error.to_string()))?;
    if files.root().join(&found).is_dir() { Ok(found) } else { Err(refuse(format!("`{given}` is not a folder"))) }
}

fn not_found(name: &str, why: &NotFound, search: &str) -> Undone {
    match why {
        NotFound::Missing if name.is_empty() => {
            launch_failure(codes::PROGRAM_MISSING, "the command is empty".to_owned(), "give the step a `command`")
        }
        NotFound::Missing => launch_failure(
            codes::PROGRAM_MISSING,
            format!("there is no program `{name}`"),
            &format!("install it, or say in `environment` where it is; the step's PATH is {search}"),
        ),
        NotFound::NotExecutable(path) => launch_failure(
            codes::NOT_STARTED,
            format!("{} may not be run", path.display()),
            &format!("`chmod +x {}`, or name the program that runs it (`bash {name}`)", path.display()),
        ),
    }
}

/// How much of what a process is started with is how long, for the one error that needs it.
struct Sizes {
    arguments: usize,
    variables: usize,
    longest: usize,
}

impl Sizes {
    fn of(argv: &[String], environment: &BTreeMap<String, String>) -> Self {
        let arguments = || argv.iter().map(String::len);
        let variables = || environment.iter().map(|(name, value)| name.len() + value.len() + 1);
        Self {
            arguments: arguments().sum(),
            variables: variables().sum(),
            longest: arguments().chain(variables()).max().unwrap_or(0),
        }
    }
}

fn not_started(name: &str, error: &io::Error, sizes: &Sizes) -> Undone {
    let Sizes { arguments, variables, longest } = sizes;
    let errno = error.raw_os_error();
    if errno == Some(rustix::io::Errno::TOOBIG.raw_os_error()) {
        let message = format!(
            "the command is too long for the system: {arguments} bytes of arguments and {variables} of variables, the longest of them {longest}"
        );
        let hint = "write long values to a file first, and give the command its path";
        return launch_failure(codes::TOO_LONG, message, hint);
    }
    let hint = if errno == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        "it is no program for this machine; a script begins with a line like `#!/bin/sh`"
    } else if error.kind() == io::ErrorKind::NotFound {
        "the program that its first line names (`#!…`) is not there"
    } else if error.kind() == io::ErrorKind::InvalidInput {
        "an argument or variable holds a NUL byte, which no process can be given"
    } else {
        "the system refuses to start it: see what it says, and how many processes and how much memory are left"
    };
    launch_failure(codes::NOT_STARTED, format!("`{name}` cannot be started: {error}"), hint)
}
