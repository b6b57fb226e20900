//! A `ratchet` that runs beside its test, and the gates at which its steps and the test wait for each other.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Done, World};

/// A command that was started and has not been waited for. It ends with the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What a stream gave.
#[derive(Debug)]
struct Heard {
    lines: Receiver<String>,
    text: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Heard::of(child.stdout.take().expect("a pipe"));
        let stderr = Heard::of(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr }
    }

    /// Sends a signal to the process that was started, as a person does who knows its number.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits for a line of standard output that holds some words, and gives it.
    #[track_caller]
    pub fn prints(&mut self, words: &str) -> String {
        self.stdout.wait_for(words)
    }

    /// Waits for a line of standard error that holds some words, and gives it.
    #[track_caller]
    pub fn says(&mut self, words: &str) -> String {
        self.stderr.wait_for(words)
    }

    /// Waits for its end. The exit code is -1 where a signal ended it.
    pub fn end(mut self) -> Done {
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        Done { code: self.child.wait().expect("an end").code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { lines, text: String::new() }
    }

    #[track_caller]
    fn wait_for(&mut self, words: &str) -> String {
        while let Ok(line) = self.lines.recv() {
            self.text.push_str(&line);
            if line.contains(words) {
                return line;
            }
        }
        panic!("'{words}' was not said: {}", self.text);
    }

    fn rest(&mut self) -> String {
        while let Ok(line) = self.lines.recv() {
            self.text.push_str(&line);
        }
        std::mem::take(&mut self.text)
    }
}

/// A named pipe: whoever comes first waits for the other.
#[derive(Debug, Clone)]
pub struct Gate(PathBuf);

impl Gate {
    /// A gate of a world, outside its working directory.
    pub fn new(world: &World, name: &str) -> Self {
        let path = world.outside(name);
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Waits until somebody has written and gone, and gives what was written.
    pub fn wait(&self) -> String {
        fs::read_to_string(&self.0).expect("the gate")
    }

    /// Waits until somebody reads, and lets it go on.
    pub fn open(&self) {
        fs::write(&self.0, "go on\n").expect("the gate");
    }
}
