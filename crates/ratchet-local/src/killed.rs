//! For crash tests: this test binary again, as a process that is killed in the middle of its work.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Names the place that the killed process works in, and makes it one.
const PLACE: &str = "RATCHET_TEST_KILLED_IN";

/// The place to work in, where this process is one that will be killed.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// Tells the parent that something is done and must outlive this process.
pub(crate) fn acknowledge(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "acknowledged {what};").and_then(|()| out.flush()).unwrap();
}

/// Runs a test of this binary in a process of its own until it has acknowledged so much, and so long more; kills it, and returns all that it had
/// acknowledged. `test` is the test's whole name.
pub(crate) fn run_until_killed(test: &str, place: &Path, acknowledged: usize, more: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let mut told = Vec::new();
    let mut read = |told: &mut Vec<String>| match lines.next() {
        Some(line) => {
            let line = String::from_utf8(line.unwrap()).unwrap();
            // A line that was cut by the kill has no end mark.
            let what = line.split_once("acknowledged ").and_then(|(_, what)| what.strip_suffix(';'));
            told.extend(what.map(str::to_owned));
            true
        }
        None => false,
    };
    while told.len() < acknowledged {
        assert!(read(&mut told), "the process ended by itself");
    }
    let since = Instant::now();
    while since.elapsed() < more {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while read(&mut told) {}
    told
}

/// Numbers that look random and are the same on every run.
pub(crate) fn scatter(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}
