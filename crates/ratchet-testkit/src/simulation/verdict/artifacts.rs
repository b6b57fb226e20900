//! The artifacts that the runs made, held against what their rows say.

use std::collections::BTreeMap;

use ratchet_core::{
    artifact::{ArtifactName, ArtifactVersion},
    execution::ExecutionRow,
    ids::{StepKey, StepPath},
    output::{FileValue, Output},
    status::{ExecutionStatus, StepStatus},
    step::StepRow,
};
use ratchet_engine::ports::{ArtifactFilter, ArtifactStore as _};

use super::{breach, now};
use crate::simulation::{driver::Driver, laws::Breach, standing::Known};

const LAW: &str = "what a step keeps is one version";

/// Each artifact output of a completed step has exactly one version, and what is registered is there.
pub(super) fn registered(driver: &Driver, known: &Known, row: &ExecutionRow) -> Result<(), Breach> {
    let made = now(driver.store.artifacts_made_by(&row.id)).unwrap_or_default();
    numbered(driver, &made)?;
    let mut newest: BTreeMap<&StepPath, &StepRow> = BTreeMap::new();
    for row in known.rows.values().filter(|row| counts(driver, known, row)) {
        if newest.get(&row.key.path).is_none_or(|other| other.key.epoch < row.key.epoch) {
            newest.insert(&row.key.path, row);
        }
    }
    for row in newest.into_values().filter(|row| row.status() == StepStatus::Completed) {
        for (name, file) in kept(known, row) {
            let path = &row.key.path;
            let name = path.child.map_or_else(|| name.to_owned(), |child| format!("{name}[{child}]"));
            one_version(known, &made, &name, Some(path), file)?;
        }
    }
    if row.status == ExecutionStatus::Completed {
        for (name, output) in &row.outputs {
            if let Output::File(file) = output {
                one_version(known, &made, name, None, file)?;
            }
        }
    }
    match made.iter().find(|version| driver.read_blob(&version.artifact.file.content.digest).is_empty()) {
        Some(version) => breach(LAW, format!("the content of {} is not there", version.reference())),
        None => Ok(()),
    }
}

/// A child's row counts where its fan-out took what it gave: nobody waits for one that was left behind.
fn counts(driver: &Driver, known: &Known, row: &StepRow) -> bool {
    let Some(child) = row.key.path.child else { return true };
    let parent = StepKey { path: StepPath::step(row.key.path.step.clone()), ..row.key.clone() };
    let result = known.rows.get(&parent).and_then(|parent| parent.result.as_ref());
    result.into_iter().flat_map(|result| result.outputs.values()).any(|output| {
        let given = match output {
            Output::Stored(blob) => serde_json::from_slice(&driver.read_blob(&blob.digest)).ok(),
            other => Some(other.clone()),
        };
        matches!(given, Some(Output::Each(given)) if given.get(child as usize).is_some_and(Option::is_some))
    })
}

fn kept<'a>(known: &'a Known, row: &'a StepRow) -> impl Iterator<Item = (&'a str, &'a FileValue)> {
    let step = known.workflow.step(&row.key.path.step);
    let outputs = step.into_iter().flat_map(|step| &step.outputs).filter(|output| output.artifact);
    outputs.filter_map(|output| match row.result.as_ref()?.outputs.get(&output.name) {
        Some(Output::File(file)) => Some((output.name.as_str(), file)),
        _ => None,
    })
}

/// The newest version of an origin is what it gave, and it has no two of one epoch. An output of the run may be the version of the step whose it is.
fn one_version(
    known: &Known,
    made: &[ArtifactVersion],
    name: &str,
    path: Option<&StepPath>,
    file: &FileValue,
) -> Result<(), Breach> {
    let is_it = |version: &&ArtifactVersion| {
        let maker = version.artifact.origin.maker();
        let is_its = path.is_none() || maker.is_some_and(|maker| maker.step.as_ref() == path);
        version.artifact.name.name == name && version.artifact.name.workflow == known.workflow.name && is_its
    };
    let of_origin: Vec<&ArtifactVersion> = made.iter().filter(is_it).collect();
    let epochs: Vec<_> =
        of_origin.iter().map(|version| version.artifact.origin.maker().map(|maker| maker.epoch)).collect();
    let newest = of_origin.last().map(|version| &version.artifact.file);
    let what = || {
        format!("{}/{name} of {path:?}: {epochs:?}, the newest {newest:?}, and {file:?} was given", known.workflow.name)
    };
    if newest != Some(file) || !epochs.is_sorted_by(|one, other| one < other) { breach(LAW, what()) } else { Ok(()) }
}

/// No number is left out, as no version was dropped.
fn numbered(driver: &Driver, made: &[ArtifactVersion]) -> Result<(), Breach> {
    for version in made {
        let ArtifactName { workflow, name } = version.artifact.name.clone();
        let filter = ArtifactFilter { workflow: Some(workflow), name: Some(name) };
        let all = now(driver.store.artifacts(&filter, None, usize::MAX)).map(|page| page.rows).unwrap_or_default();
        let is_numbered = all.iter().map(|version| version.number).eq(1..=all.len() as u64);
        let last = now(driver.store.last_artifact(&version.artifact.name)).flatten();
        if !is_numbered || last != Some(all.len() as u64) {
            return breach("versions count up", format!("{}: {} of {last:?}", version.artifact.name, all.len()));
        }
    }
    Ok(())
}
