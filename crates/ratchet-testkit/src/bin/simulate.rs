//! Drives random runs of the engine over failing ports, and tells the story of the first that breaks a law.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use ratchet_testkit::simulation::{Mutation, simulate, simulate_all, story};

const USAGE: &str = "\
usage: simulate [--seeds N] [--from SEED] [--threads N] [--mutate NAME]
       simulate --seed SEED [--verbose] [--mutate NAME]

Drives N random runs from a seed on. With --seed, drives that one and tells its story; all of it with --verbose.
";

/// How many lines of a run's story are told where not all of it is asked for.
const LINES: usize = 60;

struct Arguments {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    threads: usize,
    verbose: bool,
    mutation: Option<Mutation>,
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let told = match arguments() {
        Some(arguments) => run(&arguments, &mut out),
        None => write!(out, "{USAGE}").map(|()| ExitCode::from(2)),
    };
    told.unwrap_or(ExitCode::FAILURE)
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments { seeds: 2000, from: 1, seed: None, threads: 2, verbose: false, mutation: None };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => arguments.seeds = words.next()?.parse().ok()?,
            "--from" => arguments.from = words.next()?.parse().ok()?,
            "--seed" => arguments.seed = Some(words.next()?.parse().ok()?),
            "--threads" => arguments.threads = words.next()?.parse().ok()?,
            "--verbose" => arguments.verbose = true,
            "--mutate" => {
                let name = words.next()?;
                arguments.mutation = Some(Mutation::ALL.into_iter().find(|mutation| mutation.name() == name)?);
            }
            _ => return None,
        }
    }
    Some(arguments)
}

fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<ExitCode> {
    if let Some(seed) = arguments.seed {
        let report = simulate(seed, arguments.mutation, true);
        let lines = if arguments.verbose { usize::MAX } else { LINES };
        write!(out, "{}", story(&report, lines))?;
        return Ok(if report.breach.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let begun = Instant::now();
    let (done, broken) = simulate_all(arguments.from, arguments.seeds, arguments.threads, arguments.mutation);
    if let Some(broken) = broken {
        write!(out, "{}", story(&simulate(broken.seed, arguments.mutation, true), LINES))?;
        writeln!(out, "\n{done} seeds went well before; again: --seed {} --verbose", broken.seed)?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "{done} seeds, every law held, {:.1} s", begun.elapsed().as_secs_f64())?;
    Ok(ExitCode::SUCCESS)
}
