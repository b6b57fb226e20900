//! What agents cost, and what kept results saved of that.

use std::collections::BTreeMap;

use clap::ValueEnum;
use ratchet_engine::figures::{Spent, Sums};
use serde_json::{Value, json};

use crate::{figures::table::Table, words::dollars};

/// What is summed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Workflows
    Workflow,
    /// Steps, by their workflow and name
    Step,
    /// Models, as the agents say which answered
    Model,
    /// Days in UTC, by the end of the attempt
    Day,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Step => "step",
            Self::Model => "model",
            Self::Day => "day",
        }
    }
}

/// The lines that are summed so, by name, where an agent cost or saved something.
fn lines(sums: &Sums, by: By) -> Vec<(String, Spent)> {
    let mut lines: BTreeMap<String, Spent> = BTreeMap::new();
    let mut add = |name: String, spent: &Spent| lines.entry(name).or_default().join(spent);
    match by {
        By::Workflow | By::Step => {
            for (name, tally) in &sums.tallies {
                let spent = Spent { spent: tally.spent, saved: tally.saved };
                if name.step.is_some() == (by == By::Step) && spent.is_agents() {
                    add(name.to_string(), &spent);
                }
            }
        }
        By::Model => sums.models.iter().for_each(|((model, _), spent)| add(model.clone(), spent)),
        By::Day => sums.days.iter().for_each(|((day, _), spent)| add(day.to_string(), spent)),
    }
    lines.into_iter().collect()
}

fn total(lines: &[(String, Spent)]) -> Spent {
    let mut total = Spent::default();
    for (_, spent) in lines {
        total.join(spent);
    }
    total
}

/// The lines as a table; `None` where no agent was asked.
pub(crate) fn table(sums: &Sums, by: By) -> Option<String> {
    let lines = lines(sums, by);
    let mut heads = vec!["calls", "turns", "tokens", "cost"];
    // It is not known which model a kept result would have asked.
    let has_saved = by != By::Model;
    if has_saved {
        heads.push("saved");
    }
    let mut table = Table::new(by.word(), &heads);
    let total = (lines.len() > 1).then(|| ("total".to_owned(), total(&lines)));
    for (name, Spent { spent, saved }) in lines.iter().cloned().chain(total) {
        let turns = if by == By::Model { String::new() } else { spent.turns.to_string() };
        let mut cells = vec![spent.calls.to_string(), turns, spent.tokens.to_string(), dollars(spent.cost_usd)];
        cells.extend(has_saved.then(|| dollars(saved.cost_usd)));
        table.add(name, cells);
    }
    (!lines.is_empty()).then(|| table.text())
}

/// The lines as JSON.
pub(crate) fn json(sums: &Sums, by: By) -> Value {
    let lines = lines(sums, by);
    let figures = |spent: &Spent| {
        let mut line = json!({
            "calls": spent.spent.calls,
            "tokens": spent.spent.tokens,
            "cost_usd": spent.spent.cost_usd,
        });
        if by != By::Model {
            line["turns"] = json!(spent.spent.turns);
            line["saved_calls"] = json!(spent.saved.calls);
            line["saved_usd"] = json!(spent.saved.cost_usd);
        }
        line
    };
    let named = |(name, spent): &(String, Spent)| {
        let mut line = figures(spent);
        match (by, name.split_once('/')) {
            (By::Step, Some((workflow, step))) => {
                line["workflow"] = json!(workflow);
                line["step"] = json!(step);
            }
            _ => line[by.word()] = json!(name),
        }
        line
    };
    json!({
        "by": by.word(),
        "costs": lines.iter().map(named).collect::<Vec<Value>>(),
        "total": figures(&total(&lines)),
    })
}
