//! How runs end, and that a resume from any of their steps ends alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ratchet_tests::world::World;
use serde_json::Value;

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(crate) struct End {
    /// The status of each of its steps.
    pub(crate) steps: BTreeMap<String, String>,
    /// What it gave.
    pub(crate) outputs: Value,
    /// The files of its directory, but for git's own.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl End {
    /// How the newest run ended that works on a folder.
    pub(crate) fn of(world: &World, folder: &Path) -> Self {
        let done = world.ratchet(["status", "last", "--json"]).expect_code(0);
        let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let steps = state["steps"].as_object().into_iter().flatten();
        let status = |step: &Value| step["status"].as_str().unwrap_or_default().to_owned();
        Self {
            steps: steps.map(|(id, step)| (id.clone(), status(step))).collect(),
            outputs: state["outputs"].clone(),
            files: files(folder),
        }
    }

    /// The files below a folder, but for git's own.
    pub(crate) fn of_folder(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        files(folder)
    }

    /// The same, without what measures the machine and the moment.
    pub(crate) fn roughly(self) -> (BTreeMap<String, String>, BTreeSet<String>, BTreeSet<PathBuf>) {
        let names = self.outputs.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        (self.steps, names, self.files.into_keys().collect())
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().expect("it is there");
        if metadata.is_dir() {
            let inner = fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path());
            open.extend(inner.filter(|path| path.file_name().is_none_or(|name| name != ".git")));
        } else if metadata.is_file() {
            let name = path.strip_prefix(folder).expect("it lies there").to_owned();
            found.insert(name, fs::read(&path).expect("it can be read"));
        }
    }
    found
}

/// The steps of a workflow's text that stand under `steps`, in its order.
pub(crate) fn steps_of(text: &str) -> Vec<String> {
    let work = text.lines().skip_while(|line| *line != "steps:").skip(1);
    let work = work.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let begins = work.filter_map(|line| line.strip_prefix("  - "));
    let ids = begins.filter_map(|line| line.trim_start_matches(['{', ' ']).strip_prefix("id: "));
    ids.map(|rest| rest.split([',', ' ', '}']).next().unwrap_or_default().to_owned()).collect()
}

/// Resumes the newest run from each of its steps, one after the other, with the files that the step saw then. Gives how it ended each time.
pub(crate) fn from_each_step(world: &World, text: &str, folder: &Path) -> Vec<(String, End)> {
    let resume = |step: String| {
        world.ratchet(["resume", "last", "--from", &step, "--files", "then", "--quiet"]).expect_code(0);
        let end = End::of(world, folder);
        (step, end)
    };
    steps_of(text).into_iter().map(resume).collect()
}
