//! People who edit the definition of a run and let it go on: what they change, and what no longer counts then.

use std::sync::Arc;

use ratchet_core::{
    execution::{DefinitionRef, ExecutionRow},
    history::sha256_hex,
    ids::Digest,
    transition::ExecutionTransition,
    workflow::Workflow,
};
use ratchet_definition::compile::{SourceFile, compile};
use ratchet_engine::EditRequest;

use super::{
    laws::Laws,
    model::{Action, List, Model},
    random::{Random, mix},
    standing::Known,
};

/// Keeps what is drawn here from changing what else a seed draws.
const STREAM: u64 = 0x6564_6974;

/// In a thousand: how many resumes come with an edited file.
const RATE: u32 = 400;

/// Who edits, in the runs of one seed in three.
pub(crate) struct Editor(Option<Random>);

impl Editor {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.is_multiple_of(3).then(|| Random::new(mix(seed ^ STREAM))))
    }

    /// The definition as somebody edited it, where somebody did: one or two steps say something else, which their processes and texts see.
    pub(crate) fn edit(&mut self, model: &Model) -> Option<Model> {
        let random = self.0.as_mut()?;
        let can_say = |position: &usize| {
            let step = &model.steps[*position];
            step.list == List::Work && matches!(step.action, Action::Shell | Action::Template)
        };
        let can_say: Vec<usize> = (0..model.steps.len()).filter(can_say).collect();
        if can_say.is_empty() || !random.chance(RATE) {
            return None;
        }
        let mut edited = model.clone();
        for _ in 0..=random.below(2) {
            edited.steps[*random.pick(&can_say)].edits += 1;
        }
        Some(edited)
    }
}

/// The edited definition, as it is handed in.
pub(crate) fn request(row: &ExecutionRow, model: &Model) -> Option<(EditRequest, Arc<Workflow>)> {
    let source = model.yaml();
    let origin = row.definition.origin.clone();
    let workflow = compile(&SourceFile { name: origin, text: source.clone() }).ok()?.workflow;
    let digest = Digest::new(sha256_hex(source.as_bytes()));
    let definition = DefinitionRef { digest, ..row.definition.clone() };
    Some((EditRequest { definition, source, inputs: row.inputs.clone() }, Arc::new(workflow)))
}

impl Laws {
    /// A run goes on under another definition from now on.
    pub(super) fn edited(&mut self, new: &ExecutionRow) {
        let Some(record) = new.records.last() else { return };
        let ExecutionTransition::Resumed { edit: Some(edit), .. } = &record.transition else { return };
        let edition = self.editions.get(&edit.to.digest).cloned();
        let Some((known, (model, workflow))) = self.runs.get_mut(&new.id).zip(edition) else {
            return self.broken("a run follows what somebody wrote", format!("{} follows {}", new.id, edit.to.digest));
        };
        known.goes_on_under(model, workflow, new.epoch.0);
    }
}

impl Known {
    /// The run follows another definition from an epoch on.
    fn goes_on_under(&mut self, model: Model, workflow: Arc<Workflow>, epoch: u32) {
        let changed = |(old, new): (&super::model::Step, &super::model::Step)| old.edits != new.edits;
        let pairs = self.model.steps.iter().zip(&model.steps);
        let changed = pairs.enumerate().filter_map(|(position, pair)| changed(pair).then_some(position));
        self.edits.push((epoch, changed.collect()));
        (self.model, self.workflow) = (model, workflow);
    }
}
