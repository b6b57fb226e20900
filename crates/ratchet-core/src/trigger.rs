//! What starts a workflow by itself.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

pub use crate::event_pattern::{EventPattern, PatternError};
use crate::workflow::Template;

/// Everything that starts a workflow: any one of it does.
#[derive(Debug, Clone, Default)]
pub struct Triggers {
    /// Pushes to repositories.
    pub push: Option<PushTrigger>,
    /// Times.
    pub schedule: Option<Schedule>,
    /// Calls of the deployment's endpoint for the workflow.
    pub webhook: Option<WebhookTrigger>,
    /// Other events.
    pub event: Option<EventPattern>,
    /// The values of inputs, by their names. They read `trigger` alone.
    pub inputs: BTreeMap<String, Template>,
}

/// The pushes that start a workflow. A list that is empty leaves everything open, but that with `branches` alone no tag does, and with `tags` alone no branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushTrigger {
    /// Globs over the names of repositories.
    pub repositories: Vec<String>,
    /// Globs over the names of branches.
    pub branches: Vec<String>,
    /// Globs over the names of tags.
    pub tags: Vec<String>,
    /// Globs over changed paths, of which one is enough.
    pub paths: Vec<String>,
    /// Whether a push that a run made counts.
    pub allow_self: bool,
    /// Whether a push to a fork counts.
    pub allow_forks: bool,
}

/// The times at which a workflow starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Each by itself.
    pub times: Vec<ScheduleTime>,
    /// The time zone of those that name a time of day, as the IANA database has it.
    pub timezone: String,
}

/// One expression of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleTime {
    /// Every so often.
    Rate {
        /// How many units.
        every: NonZeroU32,
        /// The unit.
        unit: RateUnit,
    },
    /// At the times that six fields name: minutes, hours, day of the month, month, day of the week, year.
    Cron([String; 6]),
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// 60 seconds.
    Minutes,
    /// 60 minutes.
    Hours,
    /// 24 hours.
    Days,
}

impl ScheduleTime {
    /// As `EventBridge` Scheduler reads it.
    pub fn expression(&self) -> String {
        match self {
            Self::Rate { every, unit } => {
                let unit = match unit {
                    RateUnit::Minutes => "minute",
                    RateUnit::Hours => "hour",
                    RateUnit::Days => "day",
                };
                let plural = if every.get() == 1 { "" } else { "s" };
                format!("rate({every} {unit}{plural})")
            }
            Self::Cron(fields) => format!("cron({})", fields.join(" ")),
        }
    }
}

impl RateUnit {
    /// How long it is.
    pub fn duration(self) -> Duration {
        match self {
            Self::Minutes => Duration::from_mins(1),
            Self::Hours => Duration::from_hours(1),
            Self::Days => Duration::from_hours(24),
        }
    }
}

/// The calls that start a workflow.
#[derive(Debug, Clone, Default)]
pub struct WebhookTrigger {
    /// What the body must look like.
    pub pattern: Option<EventPattern>,
}
