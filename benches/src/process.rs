//! Starts programs and measures them from outside.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
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
    /// The greatest resident sets of its processes, in bytes.
    pub(crate) peak_bytes: u64,
}

/// Runs a program, which must end well.
pub(crate) fn run(program: &Program) -> Outcome<Duration> {
    measured(program, |_| ()).map(|(elapsed, ())| elapsed)
}

/// Runs a program, which must end well, and watches its memory. The watching takes some of the machine's time.
pub(crate) fn watched(program: &Program) -> Outcome<Measured> {
    let (elapsed, watch) = measured(program, watch)?;
    Ok(Measured { elapsed, peak_bytes: watch.join().unwrap_or_default() })
}

/// What one run took of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    /// Processor time, of the program and of the system for it: a busy machine changes it less than the clock.
    pub(crate) processor: Duration,
    /// Its greatest resident set, in bytes, as the kernel counts it.
    pub(crate) peak_bytes: u64,
}

/// Runs a program that ends with one of these codes, and asks the kernel what it took.
///
/// A small process of this benchmark starts it and asks: what a process held when it became another program counts as the other's.
pub(crate) fn spent(program: &Program, codes: &[i32]) -> Outcome<Spent> {
    let mut words = vec![env::current_exe()?.display().to_string(), "spent".to_owned()];
    words.extend(program.words.iter().cloned());
    let output =
        Program { words, ..program.clone() }.command().stdout(Stdio::piped()).stderr(Stdio::null()).output()?;
    let figures = String::from_utf8(output.stdout)?;
    let figures: Vec<i64> = figures.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [code, elapsed, processor, peak] = figures[..] else {
        return Err(format!("nothing was measured of {}", program.words.join(" ")).into());
    };
    if !codes.iter().any(|known| i64::from(*known) == code) {
        return Err(format!("{} ended with {code}", program.words.join(" ")).into());
    }
    Ok(Spent {
        elapsed: Duration::from_micros(elapsed.unsigned_abs()),
        processor: Duration::from_micros(processor.unsigned_abs()),
        peak_bytes: peak.unsigned_abs(),
    })
}

/// Runs a program, and prints its exit code, the time that it took, its processor time and its greatest resident set.
pub(crate) fn account(words: &[&str]) -> Outcome<()> {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let program = Program { words, folder: env::current_dir()? };
    let start = Instant::now();
    let child = program.command().stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("{}: {error}", program.words[0]))?;
    let (code, usage) = wait(&child)?;
    let elapsed = start.elapsed().as_micros();
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let processor = micros(usage.ru_utime) + micros(usage.ru_stime);
    let figures = format!("{code} {elapsed} {processor} {}", usage.ru_maxrss * 1024);
    Ok(io::stdout().write_all(figures.as_bytes())?)
}

/// Waits for a child's end, and gives its exit code, -1 where a signal ended it, and what it took.
#[expect(unsafe_code, reason = "the kernel's account of one child is given by this call alone")]
fn wait(child: &Child) -> Outcome<(i32, libc::rusage)> {
    let mut status = 0;
    let id = libc::pid_t::try_from(child.id())?;
    // SAFETY: both pointers are to values of this frame of the types that the call writes, and zeroes are a valid `rusage`.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(id, &raw mut status, 0, &raw mut usage), usage)
    };
    if waited != id {
        return Err(io::Error::last_os_error().into());
    }
    Ok((if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }, usage))
}

fn measured<T>(program: &Program, meanwhile: impl FnOnce(&Child) -> T) -> Outcome<(Duration, T)> {
    let start = Instant::now();
    let child = program.command().stderr(Stdio::piped()).spawn();
    let child = child.map_err(|error| format!("{}: {error}", program.words[0]))?;
    let given = meanwhile(&child);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{} ended with {}: {said}", program.words.join(" "), output.status).into());
    }
    Ok((start.elapsed(), given))
}

/// Readings after which a process counts: one that was forked and has not yet become another program shows its parent's memory as its own.
const READINGS_MIN: u32 = 20;

/// Reads the high-water marks of a process and of its descendants that go on running the same program (a command may work in a child that ends with it)
/// until it has ended, and adds them up. The marks only rise, so the last reading is the peak but for its last milliseconds.
fn watch(child: &Child) -> thread::JoinHandle<u64> {
    let root = child.id();
    thread::spawn(move || {
        let (_open, tick) = mpsc::channel::<()>();
        let mut peaks: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
        while let Some(name) = is_alive(root) {
            let mut family = vec![root];
            while let Some(process) = family.pop() {
                let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
                if let (true, Some(bytes)) = (field(&status, "Name:") == Some(&name), high_water_mark(&status)) {
                    let (peak, readings) = peaks.entry(process).or_insert((0, 0));
                    *peak = bytes.max(*peak);
                    *readings += 1;
                    family.extend(children(process));
                }
            }
            let _ = tick.recv_timeout(Duration::from_millis(5));
        }
        peaks.values().filter(|(_, readings)| *readings >= READINGS_MIN).map(|(peak, _)| peak).sum()
    })
}

/// The name of a process that has not ended.
fn is_alive(process: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    high_water_mark(&status)?;
    field(&status, "Name:").map(String::from)
}

/// The processes that any thread of a process has started.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// `VmHWM` in bytes; none for a process that has ended.
fn high_water_mark(status: &str) -> Option<u64> {
    field(status, "VmHWM:")?.strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
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
