//! Single costs: syncs to disk, the time to a first step, the size of the command, what the engine adds to a reference workflow.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::{
    Outcome,
    contender::{Contender, Place, Ratchet},
    process::{self, Program},
    workload::Workload,
};

/// Calls of `fsync` and `fdatasync` for a step, by contender, in a row of 40 steps. None where strace is not installed or may not trace.
pub(crate) fn syncs(place: &Place, contenders: &[&dyn Contender]) -> Outcome<Option<Vec<(&'static str, f64)>>> {
    let workload = Workload::Chain(40);
    let usable = Command::new("strace").args(["-e", "trace=none", "true"]).stderr(Stdio::null()).status();
    if !usable.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let mut counts = Vec::new();
    for contender in contenders {
        let folder = place.folder(contender.name(), &workload)?;
        let program = contender.prepare(&workload, &folder)?;
        let log = folder.join("syncs.txt");
        let mut words: Vec<String> =
            ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs", "-o"]
                .map(String::from)
                .to_vec();
        words.push(log.display().to_string());
        words.extend(program.words);
        process::run(&Program { words, folder: folder.clone() })?;
        // Each call is one line, but for one that was cut in two by another thread's: then only its first half names its arguments.
        let text = fs::read_to_string(&log)?;
        let calls = text.lines().filter(|line| line.contains("sync") && !line.contains("resumed>")).count();
        counts.push((contender.name(), to_f64(calls) / f64::from(workload.steps())));
    }
    Ok(Some(counts))
}

/// From the start of a process to the first instruction of its first step's program: for `ratchet`, and for nothing in between.
pub(crate) struct FirstStep {
    pub(crate) ratchet: Vec<Duration>,
    pub(crate) bare: Vec<Duration>,
}

/// Measures [`FirstStep`], both in turn. The step's program is this one, which writes the time at which it started.
pub(crate) fn first_step(place: &Place, ratchet: &Ratchet, rounds: usize) -> Outcome<FirstStep> {
    let folder = place.root.join("first-step");
    fs::create_dir_all(&folder)?;
    let own = env::current_exe()?.display().to_string();
    let stamp = folder.join("stamp");
    let words = vec![own.clone(), "stamp".into(), stamp.display().to_string()];
    let text = format!(
        "name: first-step\nversion: \"1\"\nsteps:\n  - id: stamp\n    type: shell\n    command: {} stamp {}\n",
        own,
        stamp.display()
    );
    fs::write(folder.join("workflow.yaml"), text)?;
    let with = ratchet.run("workflow.yaml", &folder, &[]);
    let without = Program { words, folder };
    process::run(&with)?;
    let mut times = FirstStep { ratchet: Vec::new(), bare: Vec::new() };
    for _ in 0..rounds.max(1) {
        for (program, times) in [(&with, &mut times.ratchet), (&without, &mut times.bare)] {
            let start = now();
            process::run(program)?;
            let stamped = Duration::from_nanos(fs::read_to_string(&stamp)?.trim().parse()?);
            times.push(stamped.saturating_sub(start));
        }
    }
    Ok(times)
}

/// Writes the time on the clock that all processes share.
pub(crate) fn stamp(file: &str) -> Outcome<()> {
    let now = now();
    Ok(fs::write(file, now.as_nanos().to_string())?)
}

/// The time on the clock that all processes share.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The size of a file in bytes.
pub(crate) fn size(file: &Path) -> Outcome<u64> {
    Ok(fs::metadata(file)?.len())
}

/// What the engine adds to the reference workflow with its recorded agent, in milliseconds, as the command itself reports it. None where the Python
/// packages of the sample are not installed.
pub(crate) fn overhead(place: &Place, ratchet: &Ratchet) -> Outcome<Option<Vec<f64>>> {
    let pytest = Command::new("python").args(["-c", "import pytest, coverage"]).stderr(Stdio::null()).status();
    if !pytest.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows/increase-test-coverage").canonicalize()?;
    let folder = place.root.join("reference");
    let mut measured = Vec::new();
    for number in 0..3 {
        let project = folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        let copied = Command::new("cp").arg("-R").arg(reference.join("sample")).arg(&project).status()?;
        if !copied.success() {
            return Err("the sample could not be copied".into());
        }
        let output = Command::new(&ratchet.binary)
            .args(["run", "--json", "--quiet", "--in-place", "--no-cache", "-i", "target_file=parcel/quote.py"])
            .arg("--agent")
            .arg(format!("recorded:{}", reference.join("recording").display()))
            .arg("--workspace")
            .arg(&project)
            .arg("--state-dir")
            .arg(folder.join("state"))
            .arg(reference.join("workflow.yaml"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Err(format!("the reference workflow: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let state: Value = serde_json::from_slice(&output.stdout)?;
        measured.push(state["overhead"]["engine_ms"].as_f64().ok_or("the state has no overhead")?);
    }
    Ok(Some(measured))
}

#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) fn to_f64(count: usize) -> f64 {
    count as f64
}
