//! A run's budget: what its agents may spend, what they spent, and the attempts whose end is not in that yet.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ExecutionId, StepKey},
    step::Usage,
};

/// How many attempts may be in flight at once: the row does not grow beyond them.
pub const IN_FLIGHT_MAX: usize = 500;

/// How many of a hundred parts of a limit are spent when a person is warned.
const WARN_PERCENT: u128 = 80;

/// What the agents of a run may spend: no call begins once one of these is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
    /// Tokens read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Attempts of steps that ask an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_agent_calls: Option<u64>,
}

impl Budget {
    /// With so many US dollars more, where it limits them.
    #[must_use]
    pub fn with_more(self, usd: f64) -> Self {
        // To the billionth, as what is spent is counted.
        Self { max_cost_usd: self.max_cost_usd.map(|most| ((most + usd) * 1e9).round() / 1e9), ..self }
    }
}

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Billionths of a US dollar: sums of whole numbers do not depend on their order.
    pub cost_nanos: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Attempts that were launched.
    pub agent_calls: u64,
}

/// One attempt of one step, which asks an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentCall {
    /// Which step, of the run or of one that it started.
    pub key: StepKey,
    /// Which attempt.
    pub attempt: u32,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max_cost_usd`.
    Cost,
    /// `max_tokens`.
    Tokens,
    /// `max_agent_calls`.
    AgentCalls,
    /// Of the engine: so many calls may be in flight.
    InFlight,
}

/// The budget's row of one execution. An attempt is entered before it is launched, and taken out with what it used once it ended: its membership is what makes
/// it count once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// Whose it is: the run that a person started, for itself and for every run that it starts.
    pub owner: ExecutionId,
    /// Of the attempts that ended.
    pub spent: Spent,
    /// The attempts that did not.
    pub in_flight: BTreeSet<AgentCall>,
}

impl BudgetRow {
    /// Where nothing was spent yet.
    pub fn empty(owner: ExecutionId) -> Self {
        Self { owner, spent: Spent::default(), in_flight: BTreeSet::new() }
    }

    /// The limit that keeps another attempt from being launched. A call in flight counts as a call; what it costs is not known before it ends.
    pub fn reached(&self, budget: &Budget) -> Option<Limit> {
        let calls = self.spent.agent_calls.saturating_add(self.in_flight.len() as u64);
        if budget.max_cost_usd.is_some_and(|most| self.spent.cost_nanos >= nanos(most)) {
            Some(Limit::Cost)
        } else if budget.max_tokens.is_some_and(|most| self.spent.tokens >= most) {
            Some(Limit::Tokens)
        } else if budget.max_agent_calls.is_some_and(|most| calls >= most) {
            Some(Limit::AgentCalls)
        } else {
            (self.in_flight.len() >= IN_FLIGHT_MAX).then_some(Limit::InFlight)
        }
    }

    /// Enters an attempt that is about to be launched, where no limit is reached. One that is entered already stays so.
    pub fn enter(&mut self, call: AgentCall, budget: &Budget) -> Result<(), Limit> {
        if self.in_flight.contains(&call) {
            return Ok(());
        }
        if let Some(limit) = self.reached(budget) {
            return Err(limit);
        }
        self.in_flight.insert(call);
        Ok(())
    }

    /// Takes an attempt out and adds what it used; one that was given up before it was launched adds nothing. False where it was not in: then nothing changes.
    pub fn settle(&mut self, call: &AgentCall, usage: Option<&Usage>) -> bool {
        let was_in = self.in_flight.remove(call);
        if let (true, Some(usage)) = (was_in, usage) {
            self.spent = self.spent.and(usage);
        }
        was_in
    }
}

impl Spent {
    /// With one attempt more.
    #[must_use]
    pub fn and(self, usage: &Usage) -> Self {
        Self {
            cost_nanos: self.cost_nanos.saturating_add(nanos(usage.cost_usd.unwrap_or(0.0))),
            tokens: self.tokens.saturating_add(usage.tokens.unwrap_or(0)),
            agent_calls: self.agent_calls.saturating_add(1),
        }
    }

    /// US dollars.
    pub fn cost_usd(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "beyond nine million dollars billionths are lost")]
        let nanos = self.cost_nanos as f64;
        nanos / 1e9
    }

    /// The limit of which most is spent, and how many of a hundred parts that is.
    pub fn share(self, budget: &Budget) -> Option<(Limit, u128)> {
        let part = |spent: u64, most: u64| u128::from(spent) * 100 / u128::from(most.max(1));
        let cost = budget.max_cost_usd.map(|most| (Limit::Cost, part(self.cost_nanos, nanos(most))));
        let tokens = budget.max_tokens.map(|most| (Limit::Tokens, part(self.tokens, most)));
        let calls = budget.max_agent_calls.map(|most| (Limit::AgentCalls, part(self.agent_calls, most)));
        cost.into_iter().chain(tokens).chain(calls).max_by_key(|(_, percent)| *percent)
    }

    /// Whether so much is spent that a person is to be warned.
    pub fn is_nearly_all(self, budget: &Budget) -> bool {
        self.share(budget).is_some_and(|(_, percent)| percent >= WARN_PERCENT)
    }

    /// What of it a limit is about, beside the limit: `$1.20 of $2.00`.
    pub fn beside(self, budget: &Budget, limit: Limit) -> String {
        match limit {
            Limit::Cost => {
                format!("${:.2} of ${:.2} are spent", self.cost_usd(), budget.max_cost_usd.unwrap_or_default())
            }
            Limit::Tokens => format!("{} of {} tokens are used", self.tokens, budget.max_tokens.unwrap_or_default()),
            Limit::AgentCalls => {
                format!("{} of {} agent calls are made", self.agent_calls, budget.max_agent_calls.unwrap_or_default())
            }
            Limit::InFlight => format!("{IN_FLIGHT_MAX} agent calls are under way at once"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cost => "max_cost_usd",
            Self::Tokens => "max_tokens",
            Self::AgentCalls => "max_agent_calls",
            Self::InFlight => "calls in flight",
        })
    }
}

/// Billionths. What is no amount counts as nothing.
fn nanos(dollars: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and what is no number is 0"
    )]
    let nanos = (dollars * 1e9).round() as u64;
    nanos
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Epoch, StepId, StepPath};

    fn call(item: u32) -> AgentCall {
        let path = StepPath::child(StepId::new("ask"), item);
        AgentCall { key: StepKey { execution: ExecutionId::new("run"), epoch: Epoch::FIRST, path }, attempt: 1 }
    }

    fn usage(cost_usd: f64, tokens: u64) -> Usage {
        Usage { cost_usd: Some(cost_usd), tokens: Some(tokens), ..Usage::default() }
    }

    #[test]
    fn each_limit_is_reached_by_what_it_is_about() {
        let calls = |most| Budget { max_agent_calls: Some(most), ..Budget::default() };
        let mut row = BudgetRow::empty(ExecutionId::new("run"));
        row.enter(call(0), &calls(2)).unwrap();
        row.settle(&call(0), Some(&usage(0.5, 100)));
        row.enter(call(1), &calls(2)).unwrap();
        let cost = |most| Budget { max_cost_usd: Some(most), ..Budget::default() };
        let tokens = |most| Budget { max_tokens: Some(most), ..Budget::default() };
        let cases = [
            (calls(2), Some(Limit::AgentCalls)),
            (calls(3), None),
            (cost(0.5), Some(Limit::Cost)),
            (cost(0.500_000_001), None),
            (tokens(100), Some(Limit::Tokens)),
            (tokens(101), None),
            (Budget::default(), None),
        ];
        for (budget, expected) in cases {
            assert_eq!(row.reached(&budget), expected, "{budget:?}");
        }
        // The one that is in already does not count against itself.
        assert_eq!(row.enter(call(1), &calls(2)), Ok(()));
        // What was never launched leaves no trace.
        assert!(row.settle(&call(1), None) && row.spent.agent_calls == 1 && row.reached(&calls(2)).is_none());
    }

    #[test]
    fn what_is_no_amount_costs_nothing() {
        for dollars in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Spent::default().and(&usage(dollars, 0)).cost_nanos, 0);
        }
        assert_eq!(Spent::default().and(&usage(f64::INFINITY, 0)).cost_nanos, u64::MAX);
    }

    const CENT: u64 = 10_000_000;

    /// What handlers may do to a row, in any order and as often as they like.
    #[derive(Debug, Clone)]
    enum Act {
        Launch(u32),
        Settle(u32),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        proptest::collection::vec(
            prop_oneof![(0_u32..20).prop_map(Act::Launch), (0_u32..20).prop_map(Act::Settle)],
            0..200,
        )
    }

    proptest! {
        #[test]
        fn no_more_is_spent_than_the_budget_and_one_call_in_flight_each(
            acts in acts(), most_calls in 1_u64..12, most_cents in 1_u32..300, costs in proptest::collection::vec(0_u32..100, 20),
        ) {
            let budget = Budget {
                max_cost_usd: Some(f64::from(most_cents) / 100.0),
                max_tokens: None,
                max_agent_calls: Some(most_calls),
            };
            let usage = |item: u32| usage(f64::from(costs[item as usize]) / 100.0, u64::from(item));
            let mut row = BudgetRow::empty(ExecutionId::new("run"));
            let (mut launched, mut settled, mut most_in_flight) = (BTreeSet::new(), BTreeSet::new(), 0_u64);
            for act in acts {
                match act {
                    Act::Launch(item) if settled.contains(&item) => {}
                    Act::Launch(item) => {
                        if row.enter(call(item), &budget).is_ok() {
                            launched.insert(item);
                        }
                    }
                    // Also of an attempt that was never launched, and again and again.
                    Act::Settle(item) => {
                        let is_first = launched.contains(&item) && settled.insert(item);
                        prop_assert_eq!(row.settle(&call(item), Some(&usage(item))), is_first);
                    }
                }
                most_in_flight = most_in_flight.max(row.in_flight.len() as u64);
                let sum: u64 = settled.iter().map(|item| u64::from(costs[*item as usize]) * CENT).sum();
                prop_assert_eq!(row.spent.cost_nanos, sum);
                prop_assert_eq!(row.spent.agent_calls, settled.len() as u64);
                prop_assert!(row.spent.agent_calls + row.in_flight.len() as u64 <= most_calls);
                prop_assert!(row.spent.cost_nanos < u64::from(most_cents) * CENT + most_in_flight * 100 * CENT);
            }
        }
    }
}
