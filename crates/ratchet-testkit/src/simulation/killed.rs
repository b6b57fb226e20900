//! Runs that have a process each, as on one machine: it is killed, and what it was at is nobody's until it comes back.

use std::collections::BTreeMap;

use ratchet_core::ids::{ExecutionId, StepKey};
use ratchet_engine::ports::{Lease, Leased};

use super::{
    laws::Laws,
    model::{Action, Cached, Model},
    random::{Random, mix},
    trace::name,
    world::{HOUR, MINUTE, SECOND, Timer, World},
};

/// Keeps what is drawn here from changing what else a seed draws.
const STREAM: u64 = 0x6b69_6c6c_6564;

/// Has more runs do the same work, and keep for each other what it gives.
pub(crate) fn draw(seed: u64, models: &mut Vec<Model>) {
    let mut random = Random::new(mix(seed ^ STREAM));
    models.truncate(1);
    models[0].concurrency = None;
    share(&mut models[0]);
    for number in 0..=random.below(3) {
        models.push(Model { name: format!("same-{number}"), ..models[0].clone() });
    }
}

fn share(model: &mut Model) {
    for step in &mut model.steps {
        if step.needs_task() {
            step.cached = Some(Cached { is_shared: true, has_key: true });
        }
        if let Action::Group(group, _) = &mut step.action {
            share(group);
        }
    }
}

/// Plans when the process of a run is killed, and when it is back.
pub(crate) fn plan(world: &mut World, run: usize, calm_at: i64) {
    for _ in 0..world.random.below(4) {
        let at = match world.random.below(3) {
            0 => world.random.between(0, SECOND),
            1 => world.random.between(0, 10 * SECOND),
            _ => world.random.between(0, calm_at),
        };
        world.after(at, Timer::Killed(run));
        let away = if world.random.chance(500) {
            world.random.between(SECOND, MINUTE)
        } else {
            world.random.between(MINUTE, 3 * HOUR)
        };
        world.after(at + away, Timer::Back(run));
    }
}

/// Which runs nobody drives, and what those were told who asked for the lease of a key.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    /// How often the process of a run was killed and is not back.
    away: BTreeMap<ExecutionId, u32>,
    /// The steps that were last told that another one computes what they need, which nobody drove already then.
    held_by_dead: BTreeMap<StepKey, Lease>,
}

impl Killed {
    pub(crate) fn is_away(&self, execution: &ExecutionId) -> bool {
        self.away.contains_key(&execution.root())
    }

    /// The process of a run is killed.
    pub(crate) fn kill(&mut self, execution: &ExecutionId) {
        *self.away.entry(execution.clone()).or_default() += 1;
        self.held_by_dead.retain(|asking, _| asking.execution.root() != *execution);
    }

    /// It is back, unless it was killed again meanwhile. Whether it is.
    pub(crate) fn come_back(&mut self, execution: &ExecutionId) -> bool {
        let Some(times) = self.away.get_mut(execution) else { return false };
        *times -= 1;
        let is_back = *times == 0;
        if is_back {
            self.away.remove(execution);
            self.held_by_dead.retain(|_, lease| lease.holder.execution.root() != *execution);
        }
        is_back
    }
}

impl Laws {
    /// A step asked for a lease.
    pub(crate) fn lease_asked(&mut self, asking: &StepKey, leased: &Leased) {
        self.killed.held_by_dead.remove(asking);
        if let Leased::Held(lease) = leased
            && self.killed.is_away(&lease.holder.execution)
        {
            self.killed.held_by_dead.insert(asking.clone(), lease.clone());
        }
    }

    /// A step is put off until another one may have computed what it needs.
    pub(crate) fn put_off(&mut self, waiting: &StepKey) {
        let dead = self.killed.held_by_dead.get(waiting).map(|lease| name(&lease.holder));
        self.hold(dead.is_none(), "nobody waits for what nobody computes", || {
            format!("{} waits for {dead:?}, whose process is dead", name(waiting))
        });
    }
}
