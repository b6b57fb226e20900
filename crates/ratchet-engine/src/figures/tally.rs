//! Sums.

use std::time::Duration;

use ratchet_core::step::Usage;

/// What was counted of a workflow or a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// How often it was begun.
    pub runs: u64,
    /// How often it ended well. With failed steps that were passed over is not well.
    pub succeeded: u64,
    /// How often it failed, or completed with a failed step.
    pub failed: u64,
    /// How often a person ended it.
    pub cancelled: u64,
    /// How often it ended well without a second attempt or a resume.
    pub first_time: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// How long those took that ended well and ran, in milliseconds.
    pub took_ms: Vec<u64>,
    /// What its processes took and its agents cost.
    pub spent: Spending,
    /// How often a kept result stood in.
    pub hits: u64,
    /// How often none did, of what is kept.
    pub misses: u64,
    /// What the kept results took when they were made.
    pub saved: Spending,
    /// Agents' results.
    pub results: u64,
    /// Those that an assertion confirmed which came after them in the same run.
    pub validated: u64,
}

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spending {
    /// Agents' calls that said what they cost.
    pub calls: u64,
    /// Milliseconds that processes ran.
    pub process_ms: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Turns of agents.
    pub turns: u64,
}

impl Spending {
    /// With what an attempt took.
    pub fn add(&mut self, usage: &Usage) {
        self.calls += u64::from(usage.cost_usd.is_some());
        self.process_ms += usage.process_ms;
        self.cost_usd += usage.cost_usd.unwrap_or(0.0);
        self.tokens += usage.tokens.unwrap_or(0);
        self.turns += u64::from(usage.turns.unwrap_or(0));
    }

    /// With all of another in it.
    pub fn join(&mut self, other: &Self) {
        self.calls += other.calls;
        self.process_ms += other.process_ms;
        self.cost_usd += other.cost_usd;
        self.tokens += other.tokens;
        self.turns += other.turns;
    }
}

impl Tally {
    /// Successes among those that ended by themselves, from 0 to 1; `None` where there was none.
    pub fn success_rate(&self) -> Option<f64> {
        rate(self.succeeded, self.succeeded + self.failed)
    }

    /// Successes at the first try among those that ended by themselves.
    pub fn first_time_rate(&self) -> Option<f64> {
        rate(self.first_time, self.succeeded + self.failed)
    }

    /// Hits among all that could have been one.
    pub fn hit_rate(&self) -> Option<f64> {
        rate(self.hits, self.hits + self.misses)
    }

    /// Agents' results that an assertion confirmed, among all of them.
    pub fn validated_rate(&self) -> Option<f64> {
        rate(self.validated, self.results)
    }

    /// The time that so large a part of the successes took at most.
    pub fn took(&self, part: f64) -> Option<Duration> {
        quantile(&self.took_ms, part).map(Duration::from_millis)
    }

    /// With all of another in it.
    pub fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.first_time += other.first_time;
        self.retries += other.retries;
        self.took_ms.extend(&other.took_ms);
        self.spent.join(&other.spent);
        self.hits += other.hits;
        self.misses += other.misses;
        self.saved.join(&other.saved);
        self.results += other.results;
        self.validated += other.validated;
    }
}

/// The smallest of some values that so large a part of them does not exceed; `None` where there is none.
pub fn quantile(values: &[u64], part: f64) -> Option<u64> {
    let mut values = values.to_vec();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a count, which is small and positive"
    )]
    let place = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    let last = values.len().checked_sub(1)?;
    Some(*values.select_nth_unstable(place.min(last)).1)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below what a float holds exactly")]
fn rate(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}
