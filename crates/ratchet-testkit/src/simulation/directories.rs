//! The directories of runs, in which people work meanwhile: a resume goes on with the files as they were, or brings in what changed since.

use std::collections::BTreeMap;

use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, Epoch},
    transition::ExecutionTransition,
};

use super::{
    laws::Laws,
    random::{Random, mix},
};
use crate::memory::MemoryWorkspaces;

/// Keeps what is drawn here from changing what else a seed draws.
const STREAM: u64 = 0x6469_7265_6374;

/// The files that people write: few, so that the same one is written again.
const PATHS: [&str; 3] = ["README", "src/one", "src/two"];

/// Who works in the directories, in the runs of one seed in two.
pub(crate) struct Directories {
    random: Option<Random>,
    /// By run, the files of its directory that somebody wrote.
    files: BTreeMap<usize, BTreeMap<String, Vec<u8>>>,
    written: u64,
}

impl Directories {
    pub(crate) fn of(seed: u64) -> Self {
        let random = seed.is_multiple_of(2).then(|| Random::new(mix(seed ^ STREAM)));
        Self { random, files: BTreeMap::new(), written: 0 }
    }

    /// Somebody may have worked in the directory of a run that is about to be resumed: what changed there since the run looked at it last, where it is to be brought in.
    pub(crate) fn bring_in(&mut self, run: usize, row: &ExecutionRow, workspaces: &MemoryWorkspaces) -> Option<Digest> {
        let (random, source) = (self.random.as_mut()?, row.tree.as_ref()?);
        let files = self.files.entry(run).or_default();
        for _ in 0..random.below(3) {
            self.written += 1;
            let path = *random.pick(&PATHS);
            files.insert(path.to_owned(), format!("{path} of {run}, written as {}", self.written).into_bytes());
        }
        if !random.chance(500) {
            return None;
        }
        let known = row.directory_later().map_or_else(|| source.clone(), |(_, files)| files);
        let before = workspaces.content(&known);
        let changed: Vec<_> = files.iter().filter(|(path, content)| before.get(*path) != Some(content)).collect();
        (!changed.is_empty()).then(|| workspaces.leave(&known, changed))
    }
}

impl Laws {
    /// A run was resumed: with what a person brought into it, or without.
    pub(crate) fn brought_in(&mut self, row: &ExecutionRow, asked: Option<&Digest>) {
        let mut resumes = row.records.iter().filter_map(|record| match &record.transition {
            ExecutionTransition::Resumed { files, .. } => Some(files.as_ref()),
            _ => None,
        });
        self.hold(resumes.next_back() == Some(asked), "a resume brings in what it was asked to", || row.id.to_string());
    }
}

/// What was brought into a run until an epoch, over the files that it began with.
pub(super) fn source_at(workspaces: &MemoryWorkspaces, row: &ExecutionRow, epoch: Epoch) -> BTreeMap<String, Vec<u8>> {
    let mut files = row.tree.as_ref().map(|tree| workspaces.content(tree)).unwrap_or_default();
    let mut at = Epoch::FIRST;
    for record in &row.records {
        match &record.transition {
            ExecutionTransition::EndingBegan { .. } => at = at.next(),
            ExecutionTransition::Resumed { files: brought, .. } => {
                at = at.next();
                if let Some(brought) = brought.as_ref().filter(|_| at <= epoch) {
                    files.extend(workspaces.content(brought));
                }
            }
            _ => {}
        }
    }
    files
}
