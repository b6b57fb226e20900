//! What is still to do for a run.

use std::collections::{HashSet, VecDeque};

use super::Task;

/// A task, and the staged write that it rests on.
pub(super) struct Queued {
    pub(super) task: Task,
    pub(super) after: Option<u64>,
}

/// Tasks in their order, but what tells of a write comes before what starts more: so that it is committed with that write.
#[derive(Default)]
pub(super) struct Queue {
    telling: VecDeque<Queued>,
    rest: VecDeque<Queued>,
}

impl Queue {
    pub(super) fn push(&mut self, task: Task, after: Option<u64>) {
        let tells = matches!(task, Task::Tell(_) | Task::Arrive { .. });
        let queue = if tells { &mut self.telling } else { &mut self.rest };
        queue.push_back(Queued { task, after });
    }

    /// The next task; with `only_telling` the next of those that belong to what was staged already.
    pub(super) fn next(&mut self, only_telling: bool) -> Option<Queued> {
        let rest = if only_telling { None } else { Some(&mut self.rest) };
        self.telling.pop_front().or_else(|| rest.and_then(VecDeque::pop_front))
    }

    /// After a commit: what rested on a write that was dropped is done again with it, the rest goes on.
    pub(super) fn committed(&mut self, dropped: &HashSet<u64>) {
        for queue in [&mut self.telling, &mut self.rest] {
            queue.retain_mut(|queued| !queued.after.take().is_some_and(|after| dropped.contains(&after)));
        }
    }

    pub(super) fn clear(&mut self) {
        self.telling.clear();
        self.rest.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.telling.is_empty() && self.rest.is_empty()
    }
}
