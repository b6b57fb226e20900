//! `make bench`: what a step costs, beside GNU make, a shell loop and the physical limit.
//!
//! All contenders of a workload run in turn, round after round, in one process of the benchmark, so that a noisy machine is noisy for each of them.
//! Only figures of one report are compared with each other.

mod contender;
mod cost;
mod files;
mod language;
mod limit;
mod process;
mod report;
mod service;
mod workload;

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    contender::{Contender, GnuMake, KeepingMake, Limit, Place, Ratchet, ShellLoop},
    report::Report,
    workload::Workload,
};

/// What can go wrong in a benchmark ends it, with its words.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many processes of steps run at once, for every contender alike.
const PARALLEL: u32 = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["limit", database, chains, steps, joined] => limit::run(database, chains, steps, *joined == "joined"),
        ["service", file, runs] => service::run(file, runs),
        ["spent", words @ ..] if !words.is_empty() => process::account(words),
        ["stamp", file] => cost::stamp(file),
        ["language", binary] => {
            Path::new(binary).canonicalize().map_err(Into::into).and_then(|binary| language(&binary))
        }
        ["steps", binary] => Path::new(binary).canonicalize().map_err(Into::into).and_then(steps),
        ["files", binary] => Path::new(binary).canonicalize().map_err(Into::into).and_then(of_files),
        [binary] => Path::new(binary).canonicalize().map_err(Into::into).and_then(measure),
        _ => Err("usage: ratchet-benches <path of the release binary of ratchet>".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What steps cost beside other programs, and nothing else.
fn steps(binary: PathBuf) -> Outcome<()> {
    let place = Place::new(&binary)?;
    let rounds = rounds()?;
    let mut report = Report::new(rounds);
    compare(&place, &Ratchet { binary }, rounds, &mut report)?;
    report.print(&place.root.join("report.json"))
}

/// What the files of runs cost, and nothing else.
fn of_files(binary: PathBuf) -> Outcome<()> {
    let place = Place::new(&binary)?;
    let rounds = 9;
    let mut report = Report::new(rounds);
    report.files(&files::measure(&place, &Ratchet { binary }, rounds)?);
    report.print(&place.root.join("report.json"))
}

/// What the language costs, and nothing else.
fn language(binary: &Path) -> Outcome<()> {
    let place = Place::new(binary)?;
    let rounds = 9;
    let mut report = Report::new(rounds);
    report.validate(&language::validate(binary, &place.root, rounds)?);
    report.evaluate(&(0..rounds).map(|_| language::evaluate()).collect::<Outcome<Vec<_>>>()?);
    report.hostile(&language::hostile(binary, &place.root)?);
    report.print(&place.root.join("report.json"))
}

fn rounds() -> Outcome<usize> {
    Ok(env::var("ROUNDS").ok().map_or(Ok(9), |text| text.parse())?)
}

/// Every contender of each workload in turn, round after round.
fn compare(place: &Place, ratchet: &Ratchet, rounds: usize, report: &mut Report) -> Outcome<()> {
    let contenders: [&dyn Contender; 5] = [ratchet, &GnuMake, &KeepingMake, &ShellLoop, &Limit];
    for workload in Workload::COMPARED {
        let mut runs = Vec::new();
        for contender in contenders {
            let folder = place.folder(contender.name(), &workload)?;
            let program = contender.prepare(&workload, &folder)?;
            // The first run makes the state's files and warms the disk's cache; it is not counted.
            process::run(&program)?;
            runs.push((contender.name(), program, Vec::new()));
        }
        for _ in 0..rounds {
            for (_, program, times) in &mut runs {
                times.push(process::run(program)?);
            }
        }
        let times: Vec<_> = runs.into_iter().map(|(name, _, times)| (name, times)).collect();
        report.compare(&workload, &times);
    }
    Ok(())
}

fn measure(ratchet: PathBuf) -> Outcome<()> {
    let place = Place::new(&ratchet)?;
    let rounds = rounds()?;
    let mut report = Report::new(rounds);
    let ratchet = Ratchet { binary: ratchet };
    compare(&place, &ratchet, rounds, &mut report)?;

    for workload in Workload::GROWING {
        let folder = place.folder(ratchet.name(), &workload)?;
        let program = ratchet.prepare(&workload, &folder)?;
        let runs = [process::watched(&program)?, process::watched(&program)?, process::watched(&program)?];
        report.grow(&workload, &runs);
    }

    report.syncs(cost::syncs(&place, &[&ratchet, &Limit])?);
    report.first_step(&cost::first_step(&place, &ratchet, rounds)?);
    report.binary(cost::size(&ratchet.binary)?);
    report.files(&files::measure(&place, &ratchet, rounds)?);
    report.validate(&language::validate(&ratchet.binary, &place.root, rounds)?);
    report.evaluate(&(0..rounds).map(|_| language::evaluate()).collect::<Outcome<Vec<_>>>()?);
    report.hostile(&language::hostile(&ratchet.binary, &place.root)?);
    report.overhead(cost::overhead(&place, &ratchet)?);
    report.print(&place.root.join("report.json"))
}
