//! What a person at a terminal sees.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Stdio},
};

use ratchet_tests::{ratchet, world::World};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal with `ratchet` on it, as its shell would start it: the terminal is its own, so that what is typed reaches it.
pub(super) struct Terminal {
    screen: File,
    child: Child,
    shown: Vec<u8>,
}

impl Terminal {
    pub(super) fn start(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("a terminal");
        unlockpt(&ours).expect("a terminal");
        let name = ptsname(&ours, Vec::new()).expect("a name").into_string().expect("a path");
        let theirs =
            || Stdio::from(File::options().read(true).write(true).open(&name).expect("the terminal's other end"));
        let mut command = world.program("setsid");
        command.arg("--ctty").arg(ratchet()).args(arguments);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(variables.iter().copied());
        let child = command.stdin(theirs()).stdout(theirs()).stderr(theirs()).spawn().expect("ratchet can be started");
        Self { screen: File::from(ours), child, shown: Vec::new() }
    }

    /// Reads what is shown until some words are among it.
    #[track_caller]
    pub(super) fn shows(&mut self, words: &str) {
        while !String::from_utf8_lossy(&self.shown).contains(words) {
            assert!(self.read(), "'{words}' was not shown: {}", String::from_utf8_lossy(&self.shown));
        }
    }

    pub(super) fn types(&mut self, keys: &[u8]) {
        self.screen.write_all(keys).expect("the terminal");
    }

    /// All that reached the terminal, and the exit code.
    pub(super) fn end(mut self) -> (String, Option<i32>) {
        while self.read() {}
        let code = self.child.wait().expect("an end").code();
        (String::from_utf8_lossy(&self.shown).into_owned(), code)
    }

    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        // Reading fails when nobody has the other end open any more.
        let Ok(count @ 1..) = self.screen.read(&mut chunk) else { return false };
        self.shown.extend_from_slice(&chunk[..count]);
        true
    }
}

/// Runs `ratchet` on a terminal of its own to its end.
pub(super) fn on_a_terminal(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> (String, Option<i32>) {
    Terminal::start(world, arguments, variables).end()
}

const TWO: &str = "\
name: two
version: \"1\"
steps:
  - { id: one, type: shell, command: echo one }
  - { id: two, type: shell, command: echo two }
";

#[test]
fn steps_are_drawn_in_place_and_end_in_the_order_of_the_file() {
    let world = World::new();
    world.write("workflow.yaml", TWO);
    let (shown, code) = on_a_terminal(&world, &["run", "."], &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("\u{1b}[?25l") && shown.contains("\u{1b}[?25h"),
        "the cursor is hidden and shown again: {shown:?}"
    );
    let end = shown.rsplit("\u{1b}[J").next().unwrap_or_default();
    assert!(end.contains("completed") && end.contains("\u{1b}[32m"), "the summary is painted: {shown:?}");
    let done = |step: &str| shown.rfind(&format!("\u{1b}[32m✓\u{1b}[0m {step}\u{1b}[2m"));
    assert!(done("one").is_some() && done("one") < done("two"), "{shown:?}");
}

#[test]
fn without_colour_or_on_a_dumb_terminal_it_reads_the_same() {
    let world = World::new();
    world.write("workflow.yaml", TWO);
    let (plain, code) = on_a_terminal(&world, &["run", "."], &[("TERM", "dumb")]);
    assert_eq!(code, Some(0), "{plain}");
    assert!(!plain.contains('\u{1b}') && plain.contains("one completed"), "{plain:?}");
    let (colourless, _) = on_a_terminal(&world, &["run", "."], &[("NO_COLOR", "1")]);
    assert!(!colourless.contains("\u{1b}[3") && colourless.contains("✓ one"), "{colourless:?}");
}

#[test]
fn colour_is_forced_where_it_is_asked_for() {
    let mut world = World::new();
    world.write("workflow.yaml", TWO);
    world.variables.extend([("NO_COLOR".to_owned(), String::new()), ("CLICOLOR_FORCE".to_owned(), "1".to_owned())]);
    let done = world.ratchet(["run", "."]).expect_code(0);
    assert!(done.stdout.contains("\u{1b}[32m"), "{}", done.stdout);
}

#[test]
fn control_c_reaches_the_run_and_the_terminal_is_left_as_it_was() {
    let world = World::new();
    world.write("workflow.yaml", &TWO.replace("echo two", "echo waiting for you; tail -f /dev/null"));
    let mut terminal = Terminal::start(&world, &["run", "."], &[]);
    terminal.shows("waiting for you");
    terminal.types(b"\x03");
    let (shown, code) = terminal.end();
    assert_eq!(code, Some(130), "{shown}");
    let said = shown.find("cancelling: what runs is ended").expect("what Ctrl-C does is said");
    // It stands above what is drawn, which is drawn again below it.
    assert!(shown[said..].contains("■\u{1b}[0m two"), "{shown:?}");
    assert!(shown.rfind("\u{1b}[?25h") > shown.rfind("\u{1b}[?25l"), "the cursor is there again: {shown:?}");
    assert!(shown.contains("cancelled") && shown.contains("ratchet resume"), "{shown:?}");
}
