//! The keys of items: which rows lie in one partition, and in which order.
//!
//! A run's row and those of its steps share a partition. Children of a fan-out lie 32 to a partition of their own, and each bucket of a join has one, so that
//! no partition takes all the writes of a wide fan-out.

use ratchet_core::{
    artifact::ArtifactName,
    ids::{Epoch, ExecutionId, StepId, StepKey},
    join::{JoinKey, JoinKind},
};

/// Children that share a partition.
pub(super) const CHILDREN_EACH: u32 = 32;

/// Partitions of an index: what is written of one kind at once spreads over them.
pub(super) const SHARDS: u32 = 8;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) partition: String,
    pub(super) sort: String,
}

fn key(partition: String, sort: impl Into<String>) -> Key {
    Key { partition, sort: sort.into() }
}

/// The partition of a run, its steps and their earlier attempts.
pub(super) fn run(id: &ExecutionId) -> String {
    format!("run/{id}")
}

/// The partition of a step's row and its earlier attempts.
pub(super) fn partition_of(step: &StepKey) -> String {
    match step.path.child {
        None => run(&step.execution),
        Some(child) => children(&step.execution, step.epoch, &step.path.step, child / CHILDREN_EACH),
    }
}

/// The partition of some children of a fan-out.
pub(super) fn children(id: &ExecutionId, epoch: Epoch, step: &StepId, bucket: u32) -> String {
    format!("run/{id}/{epoch}/{step}/{bucket}")
}

pub(super) fn execution(id: &ExecutionId) -> Key {
    key(run(id), "execution")
}

pub(super) fn step(of: &StepKey) -> Key {
    let sort = match of.path.child {
        None => step_sort(&of.path.step, of.epoch),
        Some(child) => child_sort(child),
    };
    key(partition_of(of), sort)
}

/// Rows of one step lie together, the oldest epoch first.
pub(super) fn step_sort(step: &StepId, epoch: Epoch) -> String {
    format!("{STEP}{step}/{:010}", epoch.0)
}

pub(super) const STEP: &str = "step/";

pub(super) fn child_sort(child: u32) -> String {
    format!("child/{child:010}")
}

/// What the earlier attempts of a step have in common.
pub(super) fn attempts(of: &StepKey) -> String {
    match of.path.child {
        None => format!("attempt/{}/{:010}/", of.path.step, of.epoch.0),
        Some(child) => format!("attempt/{child:010}/"),
    }
}

pub(super) fn attempt(of: &StepKey, attempt: u32) -> Key {
    key(partition_of(of), format!("{}{attempt:010}", attempts(of)))
}

/// What is known of an attempt's task lies in a partition of its own: tasks may write to such partitions, and to no others.
pub(super) fn task(of: &StepKey, attempt: u32) -> Key {
    let StepKey { execution, epoch, path } = of;
    key(format!("task/{execution}/{epoch}/{path}/{attempt}"), "task")
}

pub(super) fn join(of: &JoinKey) -> Key {
    let JoinKey { execution, epoch, step, kind, level, bucket } = of;
    let kind = match kind {
        JoinKind::Needs => "needs",
        JoinKind::Children => "children",
    };
    key(format!("run/{execution}/{epoch}/{step}/{kind}/{level}/{bucket}"), "join")
}

pub(super) fn budget(owner: &ExecutionId) -> Key {
    key(run(owner), "budget")
}

pub(super) fn group(name: &str) -> Key {
    key(format!("group/{name}"), "group")
}

/// The partition of all that is known of an artifact.
pub(super) fn artifact(name: &ArtifactName) -> String {
    format!("artifact/{}/{}", name.workflow, name.name)
}

/// The partition of an index that a run's entry lies in.
pub(super) fn shard(id: &ExecutionId) -> u32 {
    shard_of(id.as_str())
}

/// The partition of an index that what is named so lies in.
pub(super) fn shard_of(name: &str) -> u32 {
    // FNV-1a: the same on every machine and in every version.
    name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) % SHARDS
}

#[cfg(test)]
mod tests {
    use ratchet_core::ids::StepPath;

    use super::*;

    #[test]
    fn epochs_and_children_sort_by_number() {
        let id = StepId::new("build");
        assert!(step_sort(&id, Epoch(9)) < step_sort(&id, Epoch(10)));
        assert!(child_sort(9) < child_sort(10));
    }

    #[test]
    fn a_wide_fan_out_spreads_over_partitions() {
        let of = |child| StepKey {
            execution: ExecutionId::new("e"),
            epoch: Epoch::FIRST,
            path: StepPath::child(StepId::new("s"), child),
        };
        let partitions: std::collections::BTreeSet<String> =
            (0..10_000).map(|child| partition_of(&of(child))).collect();
        assert_eq!(partitions.len(), 313);
        assert_eq!(step(&of(33)).partition, attempt(&of(33), 1).partition);
    }

    #[test]
    fn every_shard_is_used() {
        let shards: std::collections::BTreeSet<u32> =
            (0..200).map(|n| shard(&ExecutionId::new(format!("20260101-000000-{n:06}")))).collect();
        assert_eq!(shards.len(), SHARDS as usize);
    }
}
