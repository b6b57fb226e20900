//! What the files of a run cost: a tree of 50,000, as a step first sees it, and what is found and kept of its changes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    contender::{Place, Ratchet},
    cost::now,
    process::{self, Program},
    workload::Workload,
};

/// How many folders the tree has, and how many files each of them.
const FOLDERS: usize = 500;
const FILES: usize = 100;

/// How many steps of a row are cached.
const CACHED: usize = 40;

/// All that is measured of files.
pub(crate) struct Files {
    /// From the start of the command to the first step, on a directory that was never seen.
    pub(crate) cold: Duration,
    /// The same on one that is known.
    pub(crate) first: Vec<Duration>,
    /// The same where the step works in a copy.
    pub(crate) copied: Vec<Duration>,
    /// `cp -a` of the tree.
    pub(crate) cp: Vec<Duration>,
    /// A run whose step changes ten files, and one whose step changes none. Neither is applied.
    pub(crate) ten: Vec<Duration>,
    pub(crate) none: Vec<Duration>,
    /// Forty steps in a row that change nothing, each in a view, and in the directory itself.
    pub(crate) viewed: Vec<Duration>,
    pub(crate) in_place: Vec<Duration>,
    /// Steps for which kept results stand in, and one of them.
    pub(crate) hits: Vec<Duration>,
    pub(crate) one_hit: Vec<Duration>,
}

impl Files {
    /// How many steps the runs of hits differ by.
    pub(crate) const HITS: usize = CACHED - 1;
}

/// Measures, what is compared in turn.
pub(crate) fn measure(place: &Place, ratchet: &Ratchet, rounds: usize) -> Outcome<Files> {
    let folder = place.root.join("files");
    fs::create_dir_all(&folder)?;
    let (tree, stamp) = (folder.join("tree"), folder.join("stamp"));
    make_tree(&tree)?;
    let own = env::current_exe()?.display().to_string();
    let stamped = write(&folder, "stamp", &[step("stamp", &format!("{own} stamp {}", stamp.display()), "")])?;
    let state = folder.join("state");
    let first = |state: &Path| -> Outcome<Duration> {
        let start = now();
        process::run(&on(ratchet, &stamped, &tree, state))?;
        let at = Duration::from_nanos(fs::read_to_string(&stamp)?.trim().parse()?);
        Ok(at.saturating_sub(start))
    };
    let cold = first(&state)?;
    let fails = "  - id: fails\n    type: assert\n    condition: \"false\"\n".to_owned();
    let change = |into: &str| format!("for n in 0 1 2 3 4 5 6 7 8 9; do echo changed > {into}; done");
    let ten = write(&folder, "ten", &[step("change", &change("folder-$n/file-0"), ""), fails.clone()])?;
    let none = write(&folder, "none", &[step("change", &change("\"$TMPDIR\"/file-$n"), ""), fails])?;
    let (ten, none) = (on(ratchet, &ten, &tree, &state), on(ratchet, &none, &tree, &state));
    // A state that lies in the directory itself cannot be hidden from a view of it: such a run works in a copy.
    let within = tree.join("state");
    first(&within)?;
    let small = folder.join("small");
    fs::create_dir_all(&small)?;
    let row = folder.join("row.yaml");
    fs::write(&row, Workload::Chain(40).workflow())?;
    let viewed = on(ratchet, &row, &small, &state);
    let mut in_place = viewed.clone();
    in_place.words.push("--in-place".to_owned());
    let cached = |steps: usize| -> Vec<String> {
        (0..steps).map(|n| step(&format!("s{n}"), "\"true\"", &format!("    cache_key: k{n}\n"))).collect()
    };
    let hits = on(ratchet, &write(&folder, "hits", &cached(CACHED))?, &small, &state);
    let one_hit = on(ratchet, &write(&folder, "one-hit", &cached(1))?, &small, &state);
    for program in [&viewed, &in_place, &hits, &one_hit] {
        process::run(program)?;
    }

    let mut files = Files {
        cold,
        first: Vec::new(),
        copied: Vec::new(),
        cp: Vec::new(),
        ten: Vec::new(),
        none: Vec::new(),
        viewed: Vec::new(),
        in_place: Vec::new(),
        hits: Vec::new(),
        one_hit: Vec::new(),
    };
    for _ in 0..rounds {
        files.first.push(first(&state)?);
        files.ten.push(process::spent(&ten, &[1])?.elapsed);
        files.none.push(process::spent(&none, &[1])?.elapsed);
        files.viewed.push(process::run(&viewed)?);
        files.in_place.push(process::run(&in_place)?);
        files.hits.push(process::run(&hits)?);
        files.one_hit.push(process::run(&one_hit)?);
    }
    for _ in 0..rounds.min(3) {
        files.copied.push(first(&within)?);
        files.cp.push(copy(&tree, &folder.join("cp"))?);
    }
    fs::remove_dir_all(&folder)?;
    Ok(files)
}

fn make_tree(tree: &Path) -> Outcome<()> {
    for folder in 0..FOLDERS {
        let path = tree.join(format!("folder-{folder}"));
        fs::create_dir_all(&path)?;
        for file in 0..FILES {
            fs::write(path.join(format!("file-{file}")), format!("{folder}/{file}\n").repeat(100))?;
        }
    }
    Ok(())
}

fn step(id: &str, command: &str, more: &str) -> String {
    format!("  - id: {id}\n    type: shell\n    command: {command}\n{more}")
}

fn write(folder: &Path, name: &str, steps: &[String]) -> Outcome<PathBuf> {
    let file = folder.join(format!("{name}.yaml"));
    fs::write(&file, format!("name: {name}\nversion: \"1\"\nsteps:\n{}", steps.concat()))?;
    Ok(file)
}

/// A run of a workflow on a directory.
fn on(ratchet: &Ratchet, file: &Path, workspace: &Path, state: &Path) -> Program {
    let words = [
        &ratchet.binary.display().to_string(),
        "run",
        &file.display().to_string(),
        "--quiet",
        "--workspace",
        &workspace.display().to_string(),
        "--state-dir",
        &state.display().to_string(),
    ];
    Program { words: words.map(String::from).to_vec(), folder: workspace.to_path_buf() }
}

fn copy(from: &Path, to: &Path) -> Outcome<Duration> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let start = Instant::now();
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).stdin(Stdio::null()).status()?;
    if !copied.success() {
        return Err("cp -a failed".into());
    }
    Ok(start.elapsed())
}
