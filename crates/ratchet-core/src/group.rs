//! Concurrency groups: which runs of a group go on at once, and which wait for their turn.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, ExecutionId};

/// How many runs may wait in a group: the row does not grow beyond them.
pub const QUEUE_MAX: usize = 500;

/// The most runs of a group that may go on at once.
pub const LIMIT_MAX: u32 = 100;

/// The turn of a run in its group, as its own row has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The group's name, which several workflows may share.
    pub group: String,
    /// Whether it has come; else the run waits for it, and nothing of it runs.
    pub has_come: bool,
}

/// The row of a group: whose turn it is and who waits. A set, never a counter, so that who is gone can be found and taken out. A group that nobody is
/// in has no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its name.
    pub group: String,
    /// Whose turn it is, by the time at which it came.
    pub holders: Vec<Member>,
    /// Who waits, in the order of arrival.
    pub queue: Vec<Member>,
}

/// A run in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub execution: ExecutionId,
    /// The epoch in which it asked: who finds that the run ended in an epoch does not take out what it asked for in a later one.
    pub epoch: Epoch,
    /// How many go on at once by the word of its workflow. The least of those who are concerned holds.
    pub limit: u32,
}

/// How a run stands in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is its turn.
    Holds,
    /// It waits.
    Waits {
        /// So many wait before it.
        ahead: usize,
    },
    /// It is not in it.
    Out,
}

impl GroupRow {
    /// A group that nobody is in.
    pub fn empty(group: String) -> Self {
        Self { group, holders: Vec::new(), queue: Vec::new() }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// How a run stands.
    pub fn standing(&self, execution: &ExecutionId) -> Standing {
        let is_it = |member: &Member| member.execution == *execution;
        if self.holders.iter().any(is_it) {
            return Standing::Holds;
        }
        self.queue.iter().position(is_it).map_or(Standing::Out, |ahead| Standing::Waits { ahead })
    }

    /// Makes it a run's turn where that has come: not before those who came earlier, and never for more than the least limit of all concerned. Else it waits, where it
    /// `waits` and the queue has room. Asked again it changes nothing but the epoch in which it asked.
    pub fn take_turn(&mut self, member: Member, waits: bool) -> Standing {
        let of_it = |other: &&mut Member| other.execution == member.execution;
        if let Some(held) = self.holders.iter_mut().find(of_it) {
            held.epoch = held.epoch.max(member.epoch);
            return Standing::Holds;
        }
        let position = self.queue.iter().position(|other| other.execution == member.execution);
        let ahead = position.unwrap_or(self.queue.len());
        if ahead < self.room(ahead, member.limit) {
            if let Some(position) = position {
                self.queue.remove(position);
            }
            self.holders.push(member);
            return Standing::Holds;
        }
        match position {
            Some(position) => self.queue[position] = member,
            None if waits && ahead < QUEUE_MAX => self.queue.push(member),
            None => return Standing::Out,
        }
        Standing::Waits { ahead }
    }

    /// Takes a run out that asked in this epoch or an earlier one. Whether it was in.
    pub fn leave(&mut self, execution: &ExecutionId, epoch: Epoch) -> bool {
        let before = self.holders.len() + self.queue.len();
        let stays = |member: &Member| member.execution != *execution || member.epoch > epoch;
        self.holders.retain(stays);
        self.queue.retain(stays);
        before > self.holders.len() + self.queue.len()
    }

    /// Those who wait though their turn has come.
    pub fn next(&self) -> &[Member] {
        let may_go = |(ahead, member): &(usize, &Member)| *ahead < self.room(*ahead, member.limit);
        let count = self.queue.iter().enumerate().take_while(may_go).count();
        &self.queue[..count]
    }

    /// Those who must be gone before it is the turn of a run that waits, the oldest first.
    pub fn in_the_way(&self, execution: &ExecutionId) -> Vec<&Member> {
        let Standing::Waits { ahead } = self.standing(execution) else { return Vec::new() };
        let before: Vec<&Member> = self.holders.iter().chain(&self.queue[..ahead]).collect();
        let limit = before.iter().map(|member| member.limit).min().unwrap_or(LIMIT_MAX).min(self.queue[ahead].limit);
        let too_many = (before.len() + 1).saturating_sub(limit.max(1) as usize);
        before.into_iter().take(too_many).collect()
    }

    /// How many more may go on, where the first `ahead` of the queue and one with this limit are concerned.
    fn room(&self, ahead: usize, limit: u32) -> usize {
        let concerned = self.holders.iter().chain(&self.queue[..ahead]).map(|member| member.limit);
        let limit = concerned.chain([limit]).min().unwrap_or(limit).max(1);
        (limit as usize).saturating_sub(self.holders.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(number: u32, limit: u32) -> Member {
        Member { execution: ExecutionId::new(format!("run-{number}")), epoch: Epoch::FIRST, limit }
    }

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.execution.as_str()).collect()
    }

    #[test]
    fn turns_come_in_the_order_of_arrival() {
        let mut row = GroupRow::empty("deploy".to_owned());
        assert_eq!(row.take_turn(member(1, 1), true), Standing::Holds);
        assert_eq!(row.take_turn(member(2, 1), true), Standing::Waits { ahead: 0 });
        assert_eq!(row.take_turn(member(3, 1), true), Standing::Waits { ahead: 1 });
        assert_eq!(row.take_turn(member(4, 1), false), Standing::Out);
        assert!(row.next().is_empty());
        assert!(row.leave(&ExecutionId::new("run-1"), Epoch::FIRST));
        assert_eq!(names(row.next()), ["run-2"]);
        // It is for who came first.
        assert_eq!(row.take_turn(member(3, 1), true), Standing::Waits { ahead: 1 });
        assert_eq!(row.take_turn(member(4, 1), false), Standing::Out);
        assert_eq!(row.take_turn(member(2, 1), true), Standing::Holds);
        assert_eq!((names(&row.holders), names(&row.queue)), (vec!["run-2"], vec!["run-3"]));
    }

    #[test]
    fn the_least_limit_holds_for_all() {
        let mut row = GroupRow::empty("deploy".to_owned());
        row.take_turn(member(1, 3), true);
        assert_eq!(row.take_turn(member(2, 1), true), Standing::Waits { ahead: 0 });
        // It would have room, and would keep the one before it waiting for ever.
        assert_eq!(row.take_turn(member(3, 3), true), Standing::Waits { ahead: 1 });
        row.leave(&ExecutionId::new("run-1"), Epoch::FIRST);
        assert_eq!(row.take_turn(member(2, 1), true), Standing::Holds);
        assert_eq!(row.take_turn(member(3, 3), true), Standing::Waits { ahead: 0 });
    }

    #[test]
    fn who_left_in_an_epoch_is_not_taken_out_of_a_later_one() {
        let mut row = GroupRow::empty("deploy".to_owned());
        row.take_turn(Member { epoch: Epoch(3), ..member(1, 1) }, true);
        assert!(!row.leave(&ExecutionId::new("run-1"), Epoch(2)));
        assert_eq!(row.standing(&ExecutionId::new("run-1")), Standing::Holds);
        assert!(row.leave(&ExecutionId::new("run-1"), Epoch(4)) && row.is_empty());
    }

    #[test]
    fn as_many_are_in_the_way_as_must_go() {
        let mut row = GroupRow::empty("deploy".to_owned());
        for number in 1..=4 {
            row.take_turn(member(number, 2), true);
        }
        let in_the_way = |row: &GroupRow, number: u32| {
            let members = row.in_the_way(&member(number, 2).execution);
            members.into_iter().map(|member| member.execution.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(in_the_way(&row, 3), ["run-1"]);
        assert_eq!(in_the_way(&row, 4), ["run-1", "run-2"]);
        assert!(in_the_way(&row, 1).is_empty());
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_everyone_gets_a_turn(
            acts in proptest::collection::vec((0_u32..8, 1_u32..4, any::<bool>()), 0..120),
        ) {
            let mut row = GroupRow::empty("deploy".to_owned());
            for (number, limit, comes) in acts {
                if comes {
                    row.take_turn(member(number, limit), true);
                } else {
                    row.leave(&member(number, limit).execution, Epoch::FIRST);
                }
                prop_assert!(row.holders.iter().all(|holder| row.holders.len() <= holder.limit as usize));
                let mut all = names(&row.holders);
                all.extend(names(&row.queue));
                let count = all.len();
                all.sort_unstable();
                all.dedup();
                prop_assert_eq!(all.len(), count, "a run is in twice");
                prop_assert!(!row.holders.is_empty() || row.queue.is_empty() || !row.next().is_empty());
            }
            // Whoever waits comes to its turn, in the order of the queue.
            let mut turns = Vec::new();
            let waiting: Vec<ExecutionId> = row.queue.iter().map(|member| member.execution.clone()).collect();
            while let Some(holder) = row.holders.first().cloned().or_else(|| row.next().first().cloned()) {
                if row.standing(&holder.execution) == Standing::Holds {
                    row.leave(&holder.execution, holder.epoch);
                } else {
                    turns.push(holder.execution.clone());
                    row.take_turn(holder, true);
                }
            }
            prop_assert_eq!(turns, waiting);
        }
    }
}
