//! Starts programs and measures them from outside.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::Outcome;

/// What is started, as data, so that the same can be started again.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) words: Vec<String>,
    /// Where it starts.
    pub(crate) folder: std::path::PathBuf,
}

impl Program {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        // What the caller's make says to its own children is not for those of the benchmark.
        for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
            command.env_remove(name);
        }
        command
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) elapsed: Duration,
    /// The greatest resident set of the first program, in bytes.
    pub(crate) peak_bytes: u64,
}

/// Starts all programs at once and waits for all of them. Each must end well.
pub(crate) fn together(programs: &[Program]) -> Outcome<Measured> {
    let start = Instant::now();
    let mut children = Vec::with_capacity(programs.len());
    for program in programs {
        children.push(
            program
                .command()
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{}: {error}", program.words[0]))?,
        );
    }
    let watch = children.first().map(watch);
    for (child, program) in children.into_iter().zip(programs) {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{} ended with {}: {said}", program.words.join(" "), output.status).into());
        }
    }
    let elapsed = start.elapsed();
    let peak_bytes = watch.map(|watch| watch.join().unwrap_or_default()).unwrap_or_default();
    Ok(Measured { elapsed, peak_bytes })
}

/// Reads the high-water mark of a process until it has ended. The mark only rises, so the last reading is the peak but for its last milliseconds.
fn watch(child: &Child) -> thread::JoinHandle<u64> {
    let path = format!("/proc/{}/status", child.id());
    thread::spawn(move || {
        let (_open, tick) = mpsc::channel::<()>();
        let mut peak = 0;
        while let Some(bytes) = fs::read_to_string(&path).ok().as_deref().and_then(high_water_mark) {
            peak = peak.max(bytes);
            let _ = tick.recv_timeout(Duration::from_millis(5));
        }
        peak
    })
}

/// `VmHWM` in bytes; none for a process that has ended.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(high_water_mark("VmPeak:\t  9 kB\nVmHWM:\t     2048 kB\n"), Some(2_097_152));
        assert_eq!(high_water_mark("State:\tZ (zombie)\n"), None);
    }
}
