//! Steps whose results are kept: which are drawn, and what must hold of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use ratchet_core::{
    cached::{CacheUse, Found, Miss},
    ids::{Digest, StepKey},
    status::StepStatus,
    step::{StepRow, StepState},
    transition::StepTransition,
};

use super::{
    laws::Laws,
    model::{Action, Cached, Model},
    random::{Random, mix},
    trace::name,
};

/// The shortest time that another attempt is waited for.
const PATIENCE_MIN: SignedDuration = SignedDuration::from_secs(30);

/// Keeps what is drawn here from changing what else a seed draws.
const STREAM: u64 = 0x6361_6368_6564;

/// What was seen of kept results.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    /// By scope and key, the steps whose attempts compute it, or did.
    by_name: BTreeMap<(String, Digest), BTreeSet<StepKey>>,
}

/// Has the results of some steps be kept, in the runs of two seeds in five.
pub(crate) fn draw(seed: u64, models: &mut [Model]) {
    if seed % 5 >= 2 {
        return;
    }
    let mut random = Random::new(mix(seed ^ STREAM));
    let rate = *random.pick(&[300, 700, 1000]);
    let is_shared = random.chance(500);
    for model in models {
        mark(model, rate, is_shared, &mut random);
    }
}

fn mark(model: &mut Model, rate: u32, is_shared: bool, random: &mut Random) {
    for step in &mut model.steps {
        let has_key = !random.chance(150);
        if step.needs_task() && random.chance(rate) {
            step.cached = Some(Cached { is_shared, has_key });
        }
        if let Action::Group(group, _) = &mut step.action {
            mark(group, rate, is_shared, random);
        }
    }
}

impl Laws {
    /// A step's row was written that has a key.
    pub(super) fn key_written(&mut self, old: Option<&StepRow>, new: &StepRow) {
        let Some(cache) = new.cache.as_deref() else { return };
        let what = || format!("{} with the key {}", name(&new.key), &cache.key.as_str()[..8]);
        if old.is_none() && matches!(new.status(), StepStatus::Completed) {
            let stands_in = cache.hit().and_then(|hit| {
                let made = self.runs.get(&hit.from.execution)?.rows.get(&hit.from)?;
                let same_key = made.cache.as_ref().is_some_and(|own| own.key == cache.key && own.hit().is_none());
                let outputs = |row: &StepRow| row.result.as_ref().map(|result| result.outputs.clone());
                Some(same_key && made.status() == StepStatus::Completed && outputs(made) == outputs(new))
            });
            self.hold(stands_in == Some(true), "what stands in for a step was recorded under its key", what);
        }
        if self.is_calm
            && old.is_none()
            && let Some(StepTransition::Claimed { .. }) = new.records.last().map(|record| &record.transition)
        {
            self.claim_computes(cache, new);
        }
    }

    /// Where nothing goes wrong, what is computed under a key is computed once: nobody begins while another is at it, or has done it.
    fn claim_computes(&mut self, cache: &CacheUse, new: &StepRow) {
        let Found::Miss(missed) = &cache.found else { return };
        let Some(scope) = self.scope_of(&new.key) else { return };
        let others = self.computed.by_name.entry((scope, cache.key.clone())).or_default().clone();
        let of = |key: &StepKey| self.runs.get(&key.execution).and_then(|known| known.rows.get(key));
        let is_agent = |key: &StepKey| {
            let known = self.runs.get(&key.execution)?;
            Some(known.model.steps[known.model.position(key.path.step.as_str())?].asks_agent)
        };
        // What is of an older epoch is on its way to its end, and so is what was at work when its process was killed.
        let goes_on = |row: &StepRow| {
            let execution = self.runs.get(&row.key.execution).and_then(|known| known.row.as_ref());
            execution.is_some_and(|execution| execution.epoch == row.key.epoch)
                && !self.killed.is_away(&row.key.execution)
        };
        // An agent's result may have been withdrawn since.
        let stands = |row: &StepRow| match row.state {
            // Nobody is waited for without an end, and of two handlers the later one may not know that the earlier one waited.
            StepState::Running { .. } => {
                goes_on(row)
                    && *missed != Miss::Refreshed
                    && new.started_at.duration_since(row.started_at) < PATIENCE_MIN
            }
            StepState::Completed => *missed == Miss::Absent && is_agent(&row.key) == Some(false),
            _ => false,
        };
        let waited_long = matches!(missed, Miss::WaitedLong { .. } | Miss::Differs { .. });
        let rival = others.iter().filter_map(of).find(|row| stands(row)).map(|row| name(&row.key));
        self.hold(rival.is_none() || waited_long, "the same is computed once", || {
            format!("{} computes what {rival:?} does or did", name(&new.key))
        });
        if let Some(scope) = self.scope_of(&new.key) {
            self.computed.by_name.entry((scope, cache.key.clone())).or_default().insert(new.key.clone());
        }
    }

    /// Who shares the results of a step.
    fn scope_of(&self, key: &StepKey) -> Option<String> {
        let model = &self.runs.get(&key.execution)?.model;
        let cached = model.steps[model.position(key.path.step.as_str())?].cached.as_ref()?;
        Some(if cached.is_shared { String::new() } else { model.name.clone() })
    }
}
