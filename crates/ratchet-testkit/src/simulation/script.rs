//! What the process of each attempt does: it follows from the seed, the step and what the step was given, never from the schedule.

use super::{
    model::{Action, Failing, Model, Step},
    random::{Random, hash, mix},
};

/// What the processes of a run do.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    seed: u64,
    /// In a thousand: how many steps have a failing attempt at all.
    trouble: u32,
    /// The epoch from which on nothing fails any more, as when a person repaired what was broken and resumed; `None` for never.
    pub(crate) healed_from: Option<u32>,
}

/// What an attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Succeeds,
    Fails(Failing),
}

impl Script {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let trouble = *random.pick(&[0, 150, 400]);
        let healed_from = random.chance(300).then(|| random.count(2, 3));
        Self { seed: random.next(), trouble, healed_from }
    }

    /// What the attempt of a step or a child does that comes after so many failed ones of its epoch.
    pub(crate) fn deed(&self, step: &str, child: Option<u32>, failures: u32, epoch: u32) -> Deed {
        if self.healed_from.is_some_and(|from| epoch >= from) {
            return Deed::Succeeds;
        }
        let mut random = Random::new(mix(self.seed ^ hash(&format!("{step}/{child:?}"))));
        if !random.chance(self.trouble) {
            return Deed::Succeeds;
        }
        let fails_for_good = random.chance(500);
        let failing_attempts = random.count(1, 3);
        let mut failing = Failing::Exit(1);
        for _ in 0..=failures {
            failing = match random.below(20) {
                0..=9 => Failing::Exit(1),
                10..=13 => Failing::Exit(75),
                14..=16 => Failing::Timeout,
                17..=18 => Failing::Output,
                _ => Failing::Refused,
            };
        }
        if fails_for_good || failures < failing_attempts { Deed::Fails(failing) } else { Deed::Succeeds }
    }
}

impl Script {
    /// What a person says to a step or a child in an epoch; `None` for one who never looks, which only a step with a timeout meets.
    pub(crate) fn answer(&self, step: &str, child: Option<u32>, has_timeout: bool, epoch: u32) -> Option<bool> {
        if self.healed_from.is_some_and(|from| epoch >= from) {
            return Some(true);
        }
        let mut random = Random::new(mix(self.seed ^ hash(&format!("answer {step}/{child:?}"))));
        if has_timeout && random.chance(self.trouble / 2) { None } else { Some(!random.chance(self.trouble / 2)) }
    }
}

/// The value that a process gives which was given these variables, by name and in the order of their names.
pub(crate) fn value<'a>(step: &str, variables: impl Iterator<Item = (&'a str, &'a str)>) -> i64 {
    let variables: Vec<String> = variables.map(|(name, value)| format!("{name}={value}")).collect();
    i64::try_from(hash(&format!("{step}/{}", variables.join("/"))) % 4).unwrap_or(0)
}

/// The list that a process gives beside its value: 0 to 5 small numbers.
pub(crate) fn list(step: &str, value: i64) -> Vec<i64> {
    let mut random = Random::new(hash(&format!("{step}#{value}")));
    let count = random.below(6);
    (0..count).map(|_| random.between(0, 3)).collect()
}

/// How often the processes of a workflow may be lost or fail before every step is settled: what a run may take at most follows from it.
pub(crate) fn attempts_max(model: &Model) -> u32 {
    let of_step = |step: &Step| match &step.action {
        Action::Group(group, _) => (step.retry.attempts + 4) * (attempts_max(group) + 1),
        _ => step.retry.attempts + 4,
    };
    model.steps.iter().map(of_step).sum()
}
