//! What runs were worth, against what they cost.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use ratchet_engine::figures::{Name, Tally};
use serde_json::{Value, json};

use crate::{
    figures::Figures,
    words::{dollars, elapsed},
};

/// How it is reckoned, for people and programs.
const FORMULA: &str = "return = executions that ended well x manual_minutes / 60 x hourly rate - what agents cost";

/// What is taken for granted.
const ASSUMPTIONS: [&str; 4] = [
    "an execution that ended well saves what its workflow says under roi, as the newest execution's definition has it",
    "one that failed or was cancelled saves nothing, and what its agents cost is counted",
    "neither the time of machines nor that of people who were asked is counted",
    "what kept results saved is not added: it was not spent",
];

/// An hourly rate as it is typed.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.trim_start_matches('$').parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("not an amount of US dollars above 0, like 80".to_owned()),
    }
}

/// Of each workflow that says what it saves.
pub(crate) struct Returns {
    hourly_rate: Option<f64>,
    workflows: BTreeMap<String, Return>,
}

struct Return {
    executions: u64,
    by_hand: Duration,
    cost_usd: f64,
}

impl Return {
    fn saved(&self) -> Duration {
        self.by_hand.saturating_mul(u32::try_from(self.executions).unwrap_or(u32::MAX))
    }

    fn worth(&self, hourly_rate: f64) -> f64 {
        self.saved().as_secs_f64() / 3600.0 * hourly_rate
    }
}

impl Returns {
    /// Of executions.
    pub(crate) fn of(figures: &Figures, hourly_rate: Option<f64>) -> Self {
        let tally = |workflow: &String| -> Option<&Tally> {
            figures.sums.tallies.get(&Name { workflow: workflow.clone(), step: None })
        };
        let of = |(workflow, by_hand): (&String, &Duration)| {
            let Tally { succeeded, spent, .. } = tally(workflow)?;
            let one = Return { executions: *succeeded, by_hand: *by_hand, cost_usd: spent.cost_usd };
            Some((workflow.clone(), one))
        };
        Self { hourly_rate, workflows: figures.by_hand.iter().filter_map(of).collect() }
    }

    /// As it is read; empty where no workflow says what it saves.
    pub(crate) fn text(&self) -> String {
        if self.workflows.is_empty() {
            return String::new();
        }
        let width = self.workflows.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut text = "Return\n".to_owned();
        for (name, one) in &self.workflows {
            let (minutes, saved) = (one.by_hand.as_secs_f64() / 60.0, elapsed(one.saved()));
            let _ = write!(text, "  {name:<width$}  {} x {minutes} min = {saved}", one.executions);
            let cost = dollars(one.cost_usd);
            let _ = match self.hourly_rate {
                Some(rate) => {
                    let (worth, rate) = (one.worth(rate), dollars(rate));
                    let left = signed(worth - one.cost_usd);
                    writeln!(text, "; at {rate} an hour {}; less {cost}: {left}", dollars(worth))
                }
                None => writeln!(text, "; agents cost {cost}"),
            };
        }
        let _ = writeln!(text, "  {FORMULA}");
        if self.hourly_rate.is_none() {
            text.push_str("  no hourly rate: --hourly-rate USD or RATCHET_HOURLY_RATE gives one\n");
        }
        for assumption in ASSUMPTIONS {
            let _ = writeln!(text, "  assumed: {assumption}");
        }
        text
    }

    /// As JSON; null where no workflow says what it saves.
    pub(crate) fn json(&self) -> Value {
        if self.workflows.is_empty() {
            return Value::Null;
        }
        let of = |(name, one): (&String, &Return)| {
            let worth = self.hourly_rate.map(|rate| one.worth(rate));
            json!({
                "workflow": name,
                "executions": one.executions,
                "manual_minutes": one.by_hand.as_secs_f64() / 60.0,
                "saved_minutes": one.saved().as_secs_f64() / 60.0,
                "worth_usd": worth,
                "cost_usd": one.cost_usd,
                "return_usd": worth.map(|worth| worth - one.cost_usd),
            })
        };
        json!({
            "hourly_rate_usd": self.hourly_rate,
            "workflows": self.workflows.iter().map(of).collect::<Vec<Value>>(),
            "formula": FORMULA,
            "assumptions": ASSUMPTIONS,
        })
    }
}

/// US dollars that may be lost: `-$0.42`.
fn signed(amount: f64) -> String {
    if amount < 0.0 { format!("-{}", dollars(-amount)) } else { dollars(amount) }
}

#[cfg(test)]
mod tests {
    use ratchet_engine::figures::{Spending, Sums};

    use super::*;

    fn shown(hourly_rate: Option<f64>) -> String {
        let tally = Tally {
            runs: 5,
            succeeded: 3,
            failed: 2,
            spent: Spending { cost_usd: 4.125, ..Spending::default() },
            ..Tally::default()
        };
        let name = Name { workflow: "review".to_owned(), step: None };
        let sums = Sums { tallies: BTreeMap::from([(name, tally)]), ..Sums::default() };
        let by_hand = BTreeMap::from([("review".to_owned(), Duration::from_mins(45))]);
        let text = Returns::of(&Figures { sums, by_hand }, hourly_rate).text();
        text.lines().take(3).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_was_not_done_by_hand_less_what_it_cost() {
        insta::assert_snapshot!([shown(Some(80.0)), shown(Some(1.0)), shown(None)].join("\n"), @r"
        Return
          review  3 x 45 min = 2h15m; at $80.00 an hour $180.00; less $4.12: $175.88
          return = executions that ended well x manual_minutes / 60 x hourly rate - what agents cost
        Return
          review  3 x 45 min = 2h15m; at $1.00 an hour $2.25; less $4.12: -$1.88
          return = executions that ended well x manual_minutes / 60 x hourly rate - what agents cost
        Return
          review  3 x 45 min = 2h15m; agents cost $4.12
          return = executions that ended well x manual_minutes / 60 x hourly rate - what agents cost
        ");
    }

    #[test]
    fn a_rate_is_an_amount() {
        assert_eq!(["80", "$62.5"].map(|text| rate(text).ok()), [Some(80.0), Some(62.5)]);
        assert!(["", "0", "-1", "NaN", "inf", "80 EUR"].iter().all(|text| rate(text).is_err()));
    }
}
