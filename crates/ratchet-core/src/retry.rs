//! When a failed attempt is tried again, and after how long.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::step::{FailureClass, StepFailure};

/// How the delay grows from one attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// The same delay every time.
    Constant,
    /// The delay times the number of failures.
    Linear,
    /// The delay doubled with every failure.
    Exponential,
}

/// One kind of failure that is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// This exit code of a process, or this status code of a reply.
    ExitCode(i32),
    /// The attempt ran out of time.
    Timeout,
    /// An API was busy: the agent's, or the one that answered a request with 429 or 503.
    RateLimited,
    /// The agent failed otherwise.
    AgentError,
}

/// A step's retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How often the step may be tried, the first time included.
    pub attempts: NonZeroU32,
    /// The delay before the second attempt.
    pub delay: Duration,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The longest delay.
    pub max_delay: Duration,
    /// Whether up to half of the delay is left out at random, so that many runs do not come back at once.
    pub jitter: bool,
    /// Which failures are tried again; empty means all of them.
    pub on: Vec<RetryOn>,
}

impl RetryPolicy {
    /// One attempt and no more.
    pub const ONCE: Self = Self {
        attempts: NonZeroU32::MIN,
        delay: Duration::from_secs(1),
        backoff: Backoff::Exponential,
        max_delay: Duration::from_mins(5),
        jitter: false,
        on: Vec::new(),
    };

    /// The delay before the next attempt after `failures` failed ones (at least one), or `None` where that was the last.
    /// `chance`, any `u32`, is the randomness of the jitter: it comes in as data.
    pub fn next_delay(&self, failures: u32, failure: &StepFailure, chance: u32) -> Option<Duration> {
        if failures >= self.attempts.get() || !self.covers(failure.class) {
            return None;
        }
        let factor = match self.backoff {
            Backoff::Constant => 1,
            Backoff::Linear => failures,
            Backoff::Exponential => 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX),
        };
        let delay = self.delay.saturating_mul(factor).min(self.max_delay);
        if !self.jitter {
            return Some(delay);
        }
        let cut = delay / 2;
        let left_out = cut.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        Some(delay.saturating_sub(left_out))
    }

    fn covers(&self, class: FailureClass) -> bool {
        let listed = |wanted: RetryOn| self.on.contains(&wanted);
        match class {
            FailureClass::Exit(code) => self.on.is_empty() || listed(RetryOn::ExitCode(code)),
            FailureClass::Status(code) => {
                let is_busy = matches!(code, 429 | 503);
                self.on.is_empty()
                    || listed(RetryOn::ExitCode(i32::from(code)))
                    || (is_busy && listed(RetryOn::RateLimited))
            }
            FailureClass::Timeout => self.on.is_empty() || listed(RetryOn::Timeout),
            FailureClass::RateLimited => self.on.is_empty() || listed(RetryOn::RateLimited),
            FailureClass::AgentError => self.on.is_empty() || listed(RetryOn::AgentError),
            FailureClass::Output | FailureClass::Launch => self.on.is_empty(),
            FailureClass::Assertion | FailureClass::Definition | FailureClass::Rejected | FailureClass::Conflict => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff: Backoff, jitter: bool) -> RetryPolicy {
        RetryPolicy {
            attempts: NonZeroU32::new(5).expect("five"),
            delay: Duration::from_secs(2),
            backoff,
            max_delay: Duration::from_secs(10),
            jitter,
            on: Vec::new(),
        }
    }

    fn failure(class: FailureClass) -> StepFailure {
        StepFailure::new(class, "it failed")
    }

    fn delays(policy: &RetryPolicy, chance: u32) -> Vec<Option<f64>> {
        let failed = failure(FailureClass::Exit(1));
        (1..=5).map(|n| policy.next_delay(n, &failed, chance).map(|d| d.as_secs_f64())).collect()
    }

    #[test]
    fn delays_grow_as_the_policy_says_and_stop_at_the_last_attempt() {
        let some = |list: [f64; 4]| list.into_iter().map(Some).chain([None]).collect::<Vec<_>>();
        assert_eq!(delays(&policy(Backoff::Constant, false), 0), some([2.0, 2.0, 2.0, 2.0]));
        assert_eq!(delays(&policy(Backoff::Linear, false), 0), some([2.0, 4.0, 6.0, 8.0]));
        assert_eq!(delays(&policy(Backoff::Exponential, false), 0), some([2.0, 4.0, 8.0, 10.0]));
    }

    #[test]
    fn jitter_leaves_out_up_to_half() {
        assert_eq!(delays(&policy(Backoff::Constant, true), 0)[0], Some(2.0));
        assert_eq!(delays(&policy(Backoff::Constant, true), u32::MAX)[0], Some(1.0));
    }

    #[test]
    fn only_the_listed_failures_are_tried_again() {
        let policy = RetryPolicy {
            on: vec![RetryOn::ExitCode(75), RetryOn::Timeout, RetryOn::RateLimited],
            ..policy(Backoff::Constant, false)
        };
        assert!(policy.next_delay(1, &failure(FailureClass::Exit(75)), 0).is_some());
        assert!(policy.next_delay(1, &failure(FailureClass::Timeout), 0).is_some());
        assert!(policy.next_delay(1, &failure(FailureClass::Status(75)), 0).is_some());
        assert!(policy.next_delay(1, &failure(FailureClass::Status(503)), 0).is_some());
        assert!(policy.next_delay(1, &failure(FailureClass::Status(500)), 0).is_none());
        assert!(policy.next_delay(1, &failure(FailureClass::Exit(1)), 0).is_none());
    }

    #[test]
    fn a_false_assertion_is_never_tried_again() {
        assert!(policy(Backoff::Constant, false).next_delay(1, &failure(FailureClass::Assertion), 0).is_none());
    }
}
