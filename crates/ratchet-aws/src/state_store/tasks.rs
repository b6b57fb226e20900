//! What is known of an attempt's task beside its step's row: whoever launches it, the task itself and whoever looks after the run agree on it by conditional writes.

use jiff::{SignedDuration, Timestamp};
use ratchet_core::ids::{Digest, StepKey};
use ratchet_engine::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::{DynamoStateStore, conditional::There, item, key, shared::Changed};

/// How far an attempt's task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStage {
    /// Somebody asked after it before it began: the handler that claimed it may be about to ask for it, or the task may be on its way.
    #[serde(alias = "launched")]
    Expected {
        /// Since when.
        #[serde(alias = "at")]
        since: Timestamp,
    },
    /// A task has begun, and no other one of the attempt will.
    Begun {
        /// Which one: a name that it gave itself.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It has ended, and this is its report.
    Reported {
        /// Which one.
        by: String,
        /// The content that the report's envelope is.
        report: Digest,
        /// When.
        at: Timestamp,
    },
    /// It is gone, or will never begin.
    Gone,
}

const ACTION: &str = "note what became of a task";

/// How long a row is kept after it was written: longer than any attempt takes.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

impl DynamoStateStore {
    /// How far an attempt's task has come; `None` where it has not begun and nobody asked after it.
    pub async fn task(&self, key: &StepKey, attempt: u32) -> Result<Option<TaskStage>, StoreError> {
        self.get(&key::task(key, attempt)).await?.as_ref().map(item::row).transpose()
    }

    /// Notes that somebody asked after a task that has not begun. How far it has come.
    pub async fn expect_task(&self, key: &StepKey, attempt: u32, since: Timestamp) -> Result<TaskStage, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            None => Changed::Is(TaskStage::Expected { since }, TaskStage::Expected { since }),
            Some(stage) => Changed::Stays(stage),
        };
        self.change_until(key::task(key, attempt), since.checked_add(KEPT).ok(), ACTION, change).await
    }

    /// The fence: of all tasks that an attempt may have, the first that says so has begun. Whether it is this one.
    pub async fn begin_task(&self, key: &StepKey, attempt: u32, by: &str, at: Timestamp) -> Result<bool, StoreError> {
        let begun = TaskStage::Begun { by: by.to_owned(), at };
        let mut item = item::with_body(key::task(key, attempt), &begun)?;
        let until = at.checked_add(KEPT).ok();
        item.extend(until.map(item::ends));
        // Mostly nobody was there before.
        if self.put_where(There::Nothing, item, ACTION).await?.is_none() {
            return Ok(true);
        }
        let change = |stage: Option<TaskStage>| match stage {
            None | Some(TaskStage::Expected { .. }) => Changed::Is(begun.clone(), true),
            Some(TaskStage::Begun { by: other, .. }) => Changed::Stays(other == by),
            Some(TaskStage::Reported { .. } | TaskStage::Gone) => Changed::Stays(false),
        };
        self.change_until(key::task(key, attempt), until, ACTION, change).await
    }

    /// Notes the report of the task that has begun. Whether it counts: one that was given up meanwhile has nothing to say.
    pub async fn report_task(
        &self,
        key: &StepKey,
        attempt: u32,
        by: &str,
        (report, at): (&Digest, Timestamp),
    ) -> Result<bool, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            Some(TaskStage::Begun { by: began, .. }) if began == by => {
                Changed::Is(TaskStage::Reported { by: began, report: report.clone(), at }, true)
            }
            Some(TaskStage::Reported { by: reported, .. }) => Changed::Stays(reported == by),
            _ => Changed::Stays(false),
        };
        self.change_until(key::task(key, attempt), at.checked_add(KEPT).ok(), ACTION, change).await
    }

    /// Notes that there is no such task any more and none will begin, where it is still as it was seen. How far it has come then.
    pub async fn give_up_task(
        &self,
        key: &StepKey,
        attempt: u32,
        (seen, at): (Option<&TaskStage>, Timestamp),
    ) -> Result<TaskStage, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            Some(other) if seen != Some(&other) => Changed::Stays(other),
            _ => Changed::Is(TaskStage::Gone, TaskStage::Gone),
        };
        self.change_until(key::task(key, attempt), at.checked_add(KEPT).ok(), ACTION, change).await
    }
}
