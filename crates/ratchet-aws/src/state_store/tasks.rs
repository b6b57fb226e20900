//! What is known of an attempt's task beside its step's row: whoever launches it, the task itself and whoever looks after the run agree on it by conditional writes.

use jiff::Timestamp;
use ratchet_core::ids::{Digest, StepKey};
use ratchet_engine::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::{DynamoStateStore, item, key, shared::Changed};

/// How far an attempt's task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStage {
    /// Somebody asked after it before it was launched: the handler that claimed it may be on its way.
    Expected {
        /// Since when.
        since: Timestamp,
    },
    /// It is asked for, or about to be.
    Launched {
        /// When.
        at: Timestamp,
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

impl DynamoStateStore {
    /// How far an attempt's task has come; `None` where it was never launched.
    pub async fn task(&self, key: &StepKey, attempt: u32) -> Result<Option<TaskStage>, StoreError> {
        self.get(&key::task(key, attempt)).await?.as_ref().map(item::row).transpose()
    }

    /// Notes that somebody asked after a task that was not launched. How far it has come.
    pub async fn expect_task(&self, key: &StepKey, attempt: u32, since: Timestamp) -> Result<TaskStage, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            None => Changed::Is(TaskStage::Expected { since }, TaskStage::Expected { since }),
            Some(stage) => Changed::Stays(stage),
        };
        self.change(key::task(key, attempt), ACTION, change).await
    }

    /// Notes that a task is about to be asked for. What is known of it already stays, and is given.
    pub async fn launch_task(
        &self,
        key: &StepKey,
        attempt: u32,
        at: Timestamp,
    ) -> Result<Option<TaskStage>, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            None | Some(TaskStage::Expected { .. }) => Changed::Is(TaskStage::Launched { at }, None),
            Some(stage) => Changed::Stays(Some(stage)),
        };
        self.change(key::task(key, attempt), ACTION, change).await
    }

    /// The fence: of all tasks that an attempt may have, the first that says so has begun. Whether it is this one.
    pub async fn begin_task(&self, key: &StepKey, attempt: u32, by: &str, at: Timestamp) -> Result<bool, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            None | Some(TaskStage::Expected { .. } | TaskStage::Launched { .. }) => {
                Changed::Is(TaskStage::Begun { by: by.to_owned(), at }, true)
            }
            Some(TaskStage::Begun { by: other, .. }) => Changed::Stays(other == by),
            Some(TaskStage::Reported { .. } | TaskStage::Gone) => Changed::Stays(false),
        };
        self.change(key::task(key, attempt), ACTION, change).await
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
        self.change(key::task(key, attempt), ACTION, change).await
    }

    /// Notes that there is no such task any more and none will begin, where it is still as it was seen. How far it has come then.
    pub async fn give_up_task(
        &self,
        key: &StepKey,
        attempt: u32,
        seen: Option<&TaskStage>,
    ) -> Result<TaskStage, StoreError> {
        let change = |stage: Option<TaskStage>| match stage {
            Some(other) if seen != Some(&other) => Changed::Stays(other),
            _ => Changed::Is(TaskStage::Gone, TaskStage::Gone),
        };
        self.change(key::task(key, attempt), ACTION, change).await
    }
}
