//! The figures as a table for people and as JSON for programs.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    Outcome, PARALLEL,
    cost::{FirstStep, to_f64},
    files::Files,
    language::Read,
    process::{Measured, Spent},
    workload::Workload,
};

/// How much slower than the physical limit a workload may be.
const RATIO_MAX: f64 = 1.5;
/// The most memory at 10,000 children, in bytes.
const PEAK_BYTES_MAX: f64 = 60e6;
/// The largest release binary, in bytes.
const BINARY_BYTES_MAX: f64 = 25e6;
/// The longest time to a first step, in milliseconds.
const FIRST_STEP_MS_MAX: f64 = 30.0;
/// The most that the engine may add to a reference workflow, in milliseconds.
const OVERHEAD_MS_MAX: f64 = 200.0;
/// The longest that 1,000 steps may take to be validated, in milliseconds.
const VALIDATE_MS_MAX: f64 = 50.0;
/// The longest that 10,000 expressions may take, in milliseconds.
const EVALUATE_MS_MAX: f64 = 100.0;
/// The longest that a hostile file may take, in milliseconds.
const HOSTILE_MS_MAX: f64 = 1_000.0;
/// The most memory that a hostile file may take, in megabytes.
const HOSTILE_PEAK_MB_MAX: f64 = 200.0;
/// The longest time to a first step in a known tree of 50,000 files, in milliseconds.
const FIRST_IN_TREE_MS_MAX: f64 = 300.0;
/// The longest that the capture of ten changed files of them may take, in milliseconds.
const CAPTURE_MS_MAX: f64 = 100.0;
/// How much slower steps in views may be than in the directory itself.
const VIEW_RATIO_MAX: f64 = 3.0;
/// The longest that a kept result may take to stand in for a step, in milliseconds.
const HIT_MS_MAX: f64 = 10.0;
/// How much more a step may cost in the longest run than in the shortest: a time that is flat but for noise.
const GROWTH_MAX: f64 = 1.25;

/// Collects figures and prints them.
pub(crate) struct Report {
    text: String,
    json: Map<String, Value>,
    growth: Vec<(Workload, f64)>,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let text = format!(
            "Medians of {rounds} rounds, interleaved, on {cores} cores; up to {PARALLEL} processes of steps at once.\n\n\
             {:<40}{:>10}{:>10}{:>12}{:>10}{:>12}{:>12}{:>12}\n",
            "", "ratchet", "limit", "shell loop", "make", "kept make", "x limit", "x make"
        );
        let json = Map::from_iter([
            ("rounds".to_owned(), json!(rounds)),
            ("cores".to_owned(), json!(cores)),
            ("parallel".to_owned(), json!(PARALLEL)),
        ]);
        Self { text, json, growth: Vec::new(), missed: Vec::new() }
    }

    /// A workload that all contenders ran.
    pub(crate) fn compare(&mut self, workload: &Workload, times: &[(&'static str, Vec<Duration>)]) {
        let of =
            |name: &str| times.iter().find(|(other, _)| *other == name).map_or(f64::NAN, |(_, times)| median_ms(times));
        let (ratchet, limit, make, kept_make) = (of("ratchet"), of("limit"), of("make"), of("kept make"));
        let (to_limit, to_make) = (ratchet / limit, ratchet / make);
        let _ = writeln!(
            self.text,
            "{:<40}{:>8.1}ms{limit:>8.1}ms{:>10.1}ms{make:>8.1}ms{:>10.1}ms{to_limit:>12.2}{to_make:>12.2}",
            workload.to_string(),
            ratchet,
            of("shell loop"),
            kept_make,
        );
        self.target(&format!("{workload}: within {RATIO_MAX} times the limit"), to_limit, RATIO_MAX);
        if !matches!(workload, Workload::Chain(_)) {
            // Make that keeps nothing can be ahead of the limit itself. What records each step is then held against the make that does so too.
            let (rival, to_rival) = if make < limit { ("kept make", ratchet / kept_make) } else { ("make", to_make) };
            self.target(&format!("{workload}: ahead of {rival}"), to_rival, 1.0);
        }
        let medians: Map<String, Value> =
            times.iter().map(|(name, times)| ((*name).to_owned(), json!(median_ms(times)))).collect();
        let all: Map<String, Value> = times
            .iter()
            .map(|(name, times)| ((*name).to_owned(), times.iter().map(|time| ms(*time)).collect::<Vec<_>>().into()))
            .collect();
        self.json.insert(workload.key(), json!({"medians_ms": medians, "all_ms": all, "steps": workload.steps()}));
    }

    /// A workload that shows how cost grows: the best of some runs, because noise only ever adds.
    pub(crate) fn grow(&mut self, workload: &Workload, runs: &[Measured]) {
        if self.growth.is_empty() {
            let _ = writeln!(self.text, "\n{:<40}{:>12}{:>14}{:>14}", "", "total", "a step", "peak memory");
        }
        let best = runs.iter().map(|run| ms(run.elapsed)).fold(f64::INFINITY, f64::min);
        let peak = runs.iter().map(|run| run.peak_bytes).max().unwrap_or_default();
        let step = best / f64::from(workload.steps());
        let peak = to_f64(usize::try_from(peak).unwrap_or(usize::MAX));
        let _ = writeln!(self.text, "{:<40}{best:>10.1}ms{step:>12.3}ms{:>12.1}MB", workload.to_string(), peak / 1e6);
        self.json.insert(
            format!("growth-{}", workload.key()),
            json!({"best_ms": best, "step_ms": step, "peak_bytes": peak}),
        );
        self.growth.push((*workload, step));
        if *workload == Workload::FanOut(10_000) {
            self.target("peak memory at 10,000 children, in MB", peak / 1e6, PEAK_BYTES_MAX / 1e6);
        }
    }

    pub(crate) fn syncs(&mut self, counts: Option<Vec<(&'static str, f64)>>) {
        let text = match &counts {
            None => "not counted: strace is not installed, or may not trace here".to_owned(),
            Some(counts) => {
                counts.iter().map(|(name, count)| format!("{name} {count:.2}")).collect::<Vec<_>>().join(", ")
            }
        };
        let _ = writeln!(self.text, "\nsyncs to disk a step, 40 in a row: {text}");
        self.json.insert(
            "syncs_a_step".to_owned(),
            counts.into_iter().flatten().map(|(name, count)| (name.to_owned(), json!(count))).collect(),
        );
    }

    pub(crate) fn first_step(&mut self, times: &FirstStep) {
        let (ratchet, bare) = (median_ms(&times.ratchet), median_ms(&times.bare));
        let _ = writeln!(
            self.text,
            "from the command's start to its first step: {ratchet:.1} ms (the step's program alone: {bare:.1} ms)"
        );
        self.json.insert("first_step_ms".to_owned(), json!({"ratchet": ratchet, "bare": bare}));
        self.target("from the command's start to its first step, in ms", ratchet, FIRST_STEP_MS_MAX);
    }

    /// The command on a workflow of 1,000 steps. The first run warms the disk's cache and is not counted.
    pub(crate) fn validate(&mut self, runs: &[Spent]) {
        let runs = runs.get(1..).unwrap_or_default();
        let elapsed = median_ms(&runs.iter().map(|run| run.elapsed).collect::<Vec<_>>());
        let processor = median_ms(&runs.iter().map(|run| run.processor).collect::<Vec<_>>());
        let _ = writeln!(
            self.text,
            "validate of 1,000 steps: {elapsed:.1} ms, of which {processor:.1} ms of processor time"
        );
        self.json.insert("validate_1000_ms".to_owned(), json!({"elapsed": elapsed, "processor": processor}));
        self.aim("validate of 1,000 steps, in ms", elapsed, VALIDATE_MS_MAX);
    }

    /// 10,000 expressions.
    pub(crate) fn evaluate(&mut self, times: &[Duration]) {
        let elapsed = median_ms(times);
        let _ = writeln!(self.text, "10,000 templates and conditions evaluated: {elapsed:.1} ms");
        self.json.insert("evaluate_10000_ms".to_owned(), json!(elapsed));
        self.aim("10,000 templates and conditions, in ms", elapsed, EVALUATE_MS_MAX);
    }

    /// Files that are made to be slow.
    pub(crate) fn hostile(&mut self, files: &[Read]) {
        let _ = writeln!(self.text, "\n{:<40}{:>12}{:>14}{:>14}", "", "elapsed", "processor", "peak memory");
        let mut all = Map::new();
        for Read { name, spent } in files {
            let (elapsed, processor) = (ms(spent.elapsed), ms(spent.processor));
            let peak = to_f64(usize::try_from(spent.peak_bytes).unwrap_or(usize::MAX)) / 1e6;
            let _ = writeln!(self.text, "{name:<40}{elapsed:>10.1}ms{processor:>12.1}ms{peak:>12.1}MB");
            all.insert((*name).to_owned(), json!({"elapsed_ms": elapsed, "processor_ms": processor, "peak_mb": peak}));
            self.target(&format!("{name}: peak memory, in MB"), peak, HOSTILE_PEAK_MB_MAX);
            self.aim(&format!("{name}: elapsed, in ms"), elapsed, HOSTILE_MS_MAX);
        }
        self.json.insert("hostile".to_owned(), Value::Object(all));
    }

    /// What the files of a run cost.
    pub(crate) fn files(&mut self, files: &Files) {
        let (first, copied, cp) = (median_ms(&files.first), median_ms(&files.copied), median_ms(&files.cp));
        let capture = median_ms(&files.ten) - median_ms(&files.none);
        let (viewed, in_place) = (median_ms(&files.viewed), median_ms(&files.in_place));
        let hit = (median_ms(&files.hits) - median_ms(&files.one_hit)) / to_f64(Files::HITS);
        let cold = ms(files.cold);
        let _ = writeln!(
            self.text,
            "\n50,000 files: first step after {first:.0} ms ({cold:.0} ms when never seen), in a copy after {copied:.0} ms (cp -a: {cp:.0} ms)\n\
             ten of them changed: {capture:.0} ms more than none\n\
             40 steps in a row, each in a view: {viewed:.0} ms, in the directory itself {in_place:.0} ms\n\
             a kept result stands in for a step: {hit:.1} ms"
        );
        let figures = json!({
            "first_ms": first, "cold_ms": cold, "copied_ms": copied, "cp_ms": cp, "capture_ms": capture,
            "viewed_ms": viewed, "in_place_ms": in_place, "hit_ms": hit,
        });
        self.json.insert("files".to_owned(), figures);
        self.aim("50,000 known files, to the first step, in ms", first, FIRST_IN_TREE_MS_MAX);
        self.aim("ten of 50,000 files changed, in ms", capture, CAPTURE_MS_MAX);
        self.target("40 steps in a row, in views beside in place", viewed / in_place, VIEW_RATIO_MAX);
        self.aim("a kept result, in ms", hit, HIT_MS_MAX);
    }

    pub(crate) fn binary(&mut self, bytes: u64) {
        let bytes = to_f64(usize::try_from(bytes).unwrap_or(usize::MAX));
        let _ = writeln!(self.text, "the release binary: {:.1} MB", bytes / 1e6);
        self.json.insert("binary_bytes".to_owned(), json!(bytes));
        self.target("the release binary, in MB", bytes / 1e6, BINARY_BYTES_MAX / 1e6);
    }

    pub(crate) fn overhead(&mut self, measured: Option<Vec<f64>>) {
        let Some(mut measured) = measured else {
            let _ = writeln!(
                self.text,
                "overhead on the reference workflow: not measured, its Python packages are not installed (make run does)"
            );
            return;
        };
        measured.sort_by(f64::total_cmp);
        let middle = measured[measured.len() / 2];
        let _ = writeln!(self.text, "overhead on the reference workflow: {middle:.0} ms");
        self.json.insert("overhead_ms".to_owned(), json!(measured));
        self.target("overhead on the reference workflow, in ms", middle, OVERHEAD_MS_MAX);
    }

    /// Prints the table and the targets, and writes the JSON.
    pub(crate) fn print(mut self, file: &Path) -> Outcome<()> {
        for is_chain in [true, false] {
            let steps: Vec<(Workload, f64)> = self
                .growth
                .iter()
                .copied()
                .filter(|(workload, _)| matches!(workload, Workload::Chain(_)) == is_chain)
                .collect();
            if let (Some((first, least)), Some((last, most))) = (steps.first(), steps.last()) {
                let name = format!("time a step, {last} beside {first}");
                self.target(&name, most / least, GROWTH_MAX);
            }
        }
        let targets = self.json.remove("targets").unwrap_or_default();
        let _ = writeln!(self.text, "\n{:<72}{:>10}{:>10}", "targets", "measured", "at most");
        for target in targets.as_array().into_iter().flatten() {
            let mark = if target["met"] == true { "" } else { "  missed" };
            let _ = writeln!(
                self.text,
                "{:<72}{:>10.2}{:>10.2}{mark}",
                target["name"].as_str().unwrap_or_default(),
                target["measured"].as_f64().unwrap_or_default(),
                target["at_most"].as_f64().unwrap_or_default(),
            );
        }
        self.json.insert("targets".to_owned(), targets);
        fs::write(file, serde_json::to_string_pretty(&self.json)?)?;
        let _ = writeln!(self.text, "\nall figures: {}", file.display());
        std::io::stdout().write_all(self.text.as_bytes())?;
        if self.missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", self.missed.join("; ")).into()) }
    }

    /// A figure that decides how the benchmark ends: where what else the machine does changes nothing, or changes all that it is compared with.
    fn target(&mut self, name: &str, measured: f64, at_most: f64) {
        if measured > at_most {
            self.missed.push(name.to_owned());
        }
        self.aim(name, measured, at_most);
    }

    /// A time on the clock by itself, which a busy machine makes longer: it is told, and decides nothing.
    fn aim(&mut self, name: &str, measured: f64, at_most: f64) {
        let met = measured <= at_most;
        let targets = self.json.entry("targets").or_insert_with(|| json!([]));
        if let Some(targets) = targets.as_array_mut() {
            targets.push(json!({"name": name, "measured": measured, "at_most": at_most, "met": met}));
        }
    }
}

/// Says on standard error what went wrong.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "ratchet-benches: {message}");
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median_ms(times: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|time| ms(*time)).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let times = |all: &[u64]| all.iter().map(|n| Duration::from_millis(*n)).collect::<Vec<_>>();
        assert!((median_ms(&times(&[9, 1, 2])) - 2.0).abs() < 1e-9);
        assert!((median_ms(&times(&[4, 1, 2, 9])) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_missed_target_is_an_error() {
        let mut report = Report::new(1);
        report.binary(30_000_000);
        assert_eq!(report.missed, ["the release binary, in MB"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(report.print(file.path()).is_err());
        assert!(fs::read_to_string(file.path()).unwrap().contains("\"met\": false"));
    }
}
