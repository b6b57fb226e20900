//! Success, time, retries, cost and what the cache saved.

use std::time::Duration;

use clap::ValueEnum;
use ratchet_engine::figures::{Name, Sums, Tally};
use serde_json::{Value, json};

use crate::{
    figures::table::Table,
    words::{counted, dollars, elapsed, percent},
};

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Executions, by their workflow
    Workflow,
    /// Steps, by their workflow and name
    Step,
}

impl By {
    fn selects(self, name: &Name) -> bool {
        (self == Self::Step) == name.step.is_some()
    }

    fn word(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Step => "step",
        }
    }
}

/// The lines that are counted so, and their sum.
pub(crate) fn lines(sums: &Sums, by: By) -> (Vec<(&Name, &Tally)>, Tally) {
    let lines: Vec<(&Name, &Tally)> = sums.tallies.iter().filter(|(name, _)| by.selects(name)).collect();
    let mut total = Tally::default();
    for (_, tally) in &lines {
        total.join(tally);
    }
    (lines, total)
}

/// The lines as a table.
pub(crate) fn table(sums: &Sums, by: By) -> String {
    let (lines, total) = lines(sums, by);
    let heads = ["runs", "success", "first try", "median", "p95", "retries", "cost", "hits", "saved", "saved"];
    let mut table = Table::new(by.word(), &heads);
    for (name, tally) in &lines {
        table.add(name.to_string(), cells(tally, true));
    }
    if lines.len() > 1 {
        // Times of different things have no median that says anything.
        table.add("total".to_owned(), cells(&total, false));
    }
    table.text()
}

/// What became of agents' results, in a line; empty where there was none.
pub(crate) fn validated(sums: &Sums) -> String {
    let (_, total) = lines(sums, By::Workflow);
    let Some(rate) = total.validated_rate() else { return String::new() };
    let results = counted(usize::try_from(total.results).unwrap_or(usize::MAX), "result");
    format!("agents gave {results}; assertions after them confirmed {} ({})\n", total.validated, percent(Some(rate)))
}

fn cells(tally: &Tally, is_one: bool) -> Vec<String> {
    let took = |part: f64| tally.took(part).filter(|_| is_one).map(elapsed).unwrap_or_default();
    vec![
        tally.runs.to_string(),
        percent(tally.success_rate()),
        percent(tally.first_time_rate()),
        took(0.5),
        took(0.95),
        tally.retries.to_string(),
        dollars(tally.spent.cost_usd),
        percent(tally.hit_rate()),
        elapsed(Duration::from_millis(tally.saved.process_ms)),
        dollars(tally.saved.cost_usd),
    ]
}

/// The lines as JSON.
pub(crate) fn json(sums: &Sums, by: By) -> Value {
    let (lines, total) = lines(sums, by);
    let named = |(name, tally): &(&Name, &Tally)| {
        let mut line = figures(tally, true);
        line["workflow"] = json!(name.workflow);
        if let Some(step) = &name.step {
            line["step"] = json!(step);
        }
        line
    };
    json!({
        "by": by.word(),
        "figures": lines.iter().map(named).collect::<Vec<Value>>(),
        "total": figures(&total, false),
    })
}

fn figures(tally: &Tally, is_one: bool) -> Value {
    let mut line = json!({
        "runs": tally.runs,
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "success_rate": tally.success_rate(),
        "first_time": tally.first_time,
        "first_time_rate": tally.first_time_rate(),
        "retries": tally.retries,
        "process_ms": tally.spent.process_ms,
        "cost_usd": tally.spent.cost_usd,
        "tokens": tally.spent.tokens,
        "turns": tally.spent.turns,
        "hits": tally.hits,
        "misses": tally.misses,
        "hit_rate": tally.hit_rate(),
        "saved_ms": tally.saved.process_ms,
        "saved_usd": tally.saved.cost_usd,
        "agent_results": tally.results,
        "validated": tally.validated,
        "validated_rate": tally.validated_rate(),
    });
    if is_one {
        let took = |part: f64| tally.took(part).map(|took| took.as_millis());
        line["median_ms"] = json!(took(0.5));
        line["p95_ms"] = json!(took(0.95));
    }
    line
}
