//! The deterministic simulation: the real core and handlers over ports that fail, driven by a seed.
//!
//! A run draws a workflow, what its processes do, and what goes wrong, from the seed alone. Handlers are futures that a schedule polls in any order, with a
//! crash at every place where one waits. Every write is held against the [laws](self) as it is applied, and what the run came to against an
//! oracle that does the same workflow one step after the other. `docs/simulation.md` tells more.

mod cached;
mod directories;
mod driver;
mod edits;
mod executor;
mod faults;
mod files;
mod generator;
mod killed;
mod laws;
mod limits;
mod model;
mod mutation;
mod oracle;
mod people;
mod ports;
mod random;
mod script;
mod standing;
mod tasks;
mod trace;
mod verdict;
mod world;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

pub use laws::Breach;
pub use mutation::Mutation;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything may go wrong.
    Faults,
    /// No event of the engine is ever delivered: its wake-ups alone end every run.
    Silent,
    /// Nothing goes wrong: what the oracle and the laws say is checked by what is plain.
    Calm,
    /// Everything may go wrong, and people cancel and resume again and again.
    Storm,
    /// Each run has a process of its own, which is killed at times and comes back later. Nothing else goes wrong. Runs share kept results.
    Killed,
}

impl Mode {
    /// The mode of a seed.
    pub fn of(seed: u64) -> Self {
        match seed % 8 {
            0..=2 => Self::Faults,
            3 => Self::Killed,
            4 => Self::Silent,
            5 => Self::Calm,
            _ => Self::Storm,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed: the same gives the same run.
    pub seed: u64,
    /// What the run was about.
    pub mode: Mode,
    /// The law that was broken, where one was.
    pub breach: Option<Breach>,
    /// The workflows, as their author would write them.
    pub workflows: Vec<String>,
    /// What happened, where it was asked for.
    pub lines: Vec<String>,
    /// How often a future was polled.
    pub polls: u64,
}

/// Drives one run.
pub fn simulate(seed: u64, mutation: Option<Mutation>, traced: bool) -> Report {
    let drive = || driver::drive(seed, mutation, traced);
    catch_unwind(AssertUnwindSafe(drive)).unwrap_or_else(|panic| Report {
        seed,
        mode: Mode::of(seed),
        breach: Some(Breach { law: "nothing panics", what: panic_message(panic.as_ref()) }),
        workflows: Vec::new(),
        lines: Vec::new(),
        polls: 0,
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

/// Drives the runs of some seeds, on as many threads as asked, until one breaks a law. Returns how many went well and the breach of the lowest seed that was
/// found to break one.
pub fn simulate_all(first: u64, count: u64, threads: usize, mutation: Option<Mutation>) -> (u64, Option<Report>) {
    let next = AtomicU64::new(first);
    let broken = AtomicU64::new(u64::MAX);
    let end = first.saturating_add(count);
    let work = || {
        let mut done = 0;
        let mut found: Option<Report> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.min(broken.load(Ordering::Relaxed)) {
                return (done, found);
            }
            let report = simulate(seed, mutation, false);
            if report.breach.is_some() {
                broken.fetch_min(seed, Ordering::Relaxed);
                found = Some(report);
                return (done, found);
            }
            done += 1;
        }
    };
    let results: Vec<(u64, Option<Report>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let done = results.iter().map(|(done, _)| done).sum();
    let worst = results.into_iter().filter_map(|(_, report)| report).min_by_key(|report| report.seed);
    (done, worst)
}

/// The whole story of a seed that broke a law: the law, the workflows and the last lines, as text.
pub fn story(report: &Report, lines: usize) -> String {
    let held = || "every law held".to_owned();
    let law = report.breach.as_ref().map_or_else(held, |breach| format!("broken law: {breach}"));
    let from = report.lines.len().saturating_sub(lines);
    format!(
        "seed {} ({:?})\n{law}\n\n---\n{}---\n\n{}\n",
        report.seed,
        report.mode,
        report.workflows.join("\n---\n"),
        report.lines[from..].join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many threads: the machines that run the tests have two processors or more.
    const THREADS: usize = 2;

    #[test]
    fn two_thousand_runs_keep_every_law() {
        let (_, broken) = simulate_all(1, 2000, THREADS, None);
        if let Some(broken) = broken {
            panic!("{}", story(&simulate(broken.seed, None, true), 60));
        }
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        for seed in 1..=24 {
            let [first, second] = [(), ()].map(|()| simulate(seed, None, true));
            assert_eq!(first.lines, second.lines, "seed {seed}");
        }
    }

    #[test]
    fn every_broken_contract_is_noticed() {
        let unnoticed: Vec<&str> = Mutation::ALL
            .into_iter()
            .filter(|mutation| simulate_all(1, 1000, THREADS, Some(*mutation)).1.is_none())
            .map(Mutation::name)
            .collect();
        assert!(unnoticed.is_empty(), "no law was broken by {unnoticed:?}");
    }
}
