//! Joins: how a step with several needs learns that all of them are there.
//!
//! Each need, when it settles, is united into a row of the join. From 33 needs on the rows form a tree: a bucket takes 32
//! arrivals and, when it is full, arrives itself at a bucket of the level above, so that no row grows with its run.
//! A union is idempotent: the same arrival twice changes nothing.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, ExecutionId, StepId};

/// Arrivals that one bucket takes.
pub const BUCKET_SIZE: u32 = 32;

/// What a settled step, or a set of them, tells the steps that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedOutcome {
    /// Whether a step that needs this one may run.
    pub satisfied: bool,
    /// Whether this step or an ancestor of it failed or was blocked (`failure()` is true below it).
    pub failed_above: bool,
    /// Whether this step or an ancestor failed and was told to let the run go on.
    pub continued_above: bool,
}

impl NeedOutcome {
    /// Nothing went wrong: also what a step without needs begins with.
    pub const FINE: Self = Self { satisfied: true, failed_above: false, continued_above: false };

    /// The outcome of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            satisfied: self.satisfied && other.satisfied,
            failed_above: self.failed_above || other.failed_above,
            continued_above: self.continued_above || other.continued_above,
        }
    }
}

/// What is being joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    /// The needs of a step.
    Needs,
    /// The children of a step that fans out.
    Children,
}

/// The key of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JoinKey {
    /// The run.
    pub execution: ExecutionId,
    /// The generation of the run.
    pub epoch: Epoch,
    /// The step that waits.
    pub step: StepId,
    /// What it waits for.
    pub kind: JoinKind,
    /// 0 for the buckets that needs arrive at.
    pub level: u8,
    /// The bucket's position in its level.
    pub bucket: u32,
}

/// A bucket. Bit `n` of each set is the bucket's `n`-th place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRow {
    /// Which bucket.
    pub key: JoinKey,
    /// Places whose need lets its dependents run.
    pub ok: u32,
    /// Places with a failure at or above them. A place may be in both sets.
    pub failed: u32,
    /// Places with a failure, at or above them, that was let pass.
    pub continued: u32,
}

impl JoinRow {
    /// A bucket that nothing has arrived at.
    pub fn empty(key: JoinKey) -> Self {
        Self { key, ok: 0, failed: 0, continued: 0 }
    }

    /// Adds an arrival. Idempotent.
    pub fn unite(&mut self, place: u32, outcome: NeedOutcome) {
        debug_assert!(place < BUCKET_SIZE, "a bucket has 32 places");
        let bit = 1_u32 << place;
        if outcome.satisfied {
            self.ok |= bit;
        }
        if outcome.failed_above || !outcome.satisfied {
            self.failed |= bit;
        }
        if outcome.continued_above {
            self.continued |= bit;
        }
    }

    /// The places that something has arrived at.
    pub fn arrived(&self) -> u32 {
        self.ok | self.failed
    }

    /// What all arrivals together say.
    pub fn outcome(&self) -> NeedOutcome {
        NeedOutcome {
            satisfied: self.failed & !self.ok == 0,
            failed_above: self.failed != 0,
            continued_above: self.continued != 0,
        }
    }
}

/// The shape of a join of `count` arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinShape {
    count: u32,
}

/// A place in a join: a bucket and a bit of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The level, 0 at the leaves.
    pub level: u8,
    /// The bucket's position in its level.
    pub bucket: u32,
    /// The bit in the bucket.
    pub bit: u32,
}

impl JoinShape {
    /// The join of so many arrivals (at least one).
    pub fn new(count: u32) -> Self {
        Self { count: count.max(1) }
    }

    /// Where the `ordinal`-th arrival goes.
    pub fn place(self, ordinal: u32) -> Place {
        Place { level: 0, bucket: ordinal / BUCKET_SIZE, bit: ordinal % BUCKET_SIZE }
    }

    /// Where a full bucket arrives, or `None` for the root.
    pub fn parent(self, level: u8, bucket: u32) -> Option<Place> {
        if self.buckets(level) == 1 {
            return None;
        }
        Some(Place { level: level + 1, bucket: bucket / BUCKET_SIZE, bit: bucket % BUCKET_SIZE })
    }

    /// How many buckets a level has.
    pub fn buckets(self, level: u8) -> u32 {
        let mut width = self.count.div_ceil(BUCKET_SIZE);
        for _ in 0..level {
            width = width.div_ceil(BUCKET_SIZE);
        }
        width
    }

    /// The level that has one bucket.
    pub fn root_level(self) -> u8 {
        let mut level = 0;
        while self.buckets(level) > 1 {
            level += 1;
        }
        level
    }

    /// The places of a bucket that must be filled.
    pub fn expected(self, level: u8, bucket: u32) -> u32 {
        let below = if level == 0 { self.count } else { self.buckets(level - 1) };
        let places = (below - bucket * BUCKET_SIZE).min(BUCKET_SIZE);
        if places == BUCKET_SIZE { u32::MAX } else { (1 << places) - 1 }
    }

    /// Whether everything that the bucket waits for has arrived.
    pub fn is_full(self, row: &JoinRow) -> bool {
        row.arrived() == self.expected(row.key.level, row.key.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(level: u8, bucket: u32) -> JoinKey {
        JoinKey {
            execution: ExecutionId::new("e"),
            epoch: Epoch::FIRST,
            step: StepId::new("s"),
            kind: JoinKind::Needs,
            level,
            bucket,
        }
    }

    /// Delivers every arrival in the given order and returns how many unions that took.
    fn unions_until_root(count: u32, order: impl Iterator<Item = u32>) -> u32 {
        let shape = JoinShape::new(count);
        let mut rows = std::collections::BTreeMap::new();
        let mut unions = 0;
        let mut roots = 0;
        for ordinal in order {
            let mut next = Some((shape.place(ordinal), NeedOutcome::FINE));
            while let Some((place, outcome)) = next.take() {
                let row = rows
                    .entry((place.level, place.bucket))
                    .or_insert_with(|| JoinRow::empty(key(place.level, place.bucket)));
                row.unite(place.bit, outcome);
                unions += 1;
                if shape.is_full(row) {
                    next = shape.parent(place.level, place.bucket).map(|parent| (parent, row.outcome()));
                    roots += u32::from(next.is_none());
                }
            }
        }
        assert_eq!(roots, 1, "a join of {count} is complete exactly once");
        unions
    }

    #[test]
    fn every_width_completes_once_in_any_order() {
        for count in [1, 2, 31, 32, 33, 64, 1000, 1024, 1025, 10_000] {
            unions_until_root(count, 0..count);
            unions_until_root(count, (0..count).rev());
        }
    }

    #[test]
    fn a_join_of_a_thousand_takes_at_most_1040_unions() {
        assert!(unions_until_root(1000, 0..1000) <= 1040);
    }

    #[test]
    fn a_blocking_need_blocks_and_a_tainted_one_only_tells() {
        let mut row = JoinRow::empty(key(0, 0));
        row.unite(0, NeedOutcome { satisfied: true, failed_above: true, continued_above: false });
        assert_eq!(row.outcome(), NeedOutcome { satisfied: true, failed_above: true, continued_above: false });
        row.unite(1, NeedOutcome { satisfied: false, failed_above: true, continued_above: false });
        assert!(!row.outcome().satisfied);
    }
}
