use std::{fmt::Write as _, time::Duration};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::ids::StepId;
use ratchet_engine::ports::{Statistic, UseFilter};
use serde_json::{Value, json};

use super::Kept;
use crate::{
    command_error::CommandError,
    commands::prune::age,
    console::Console,
    exit_code::ExitCode,
    figures::before,
    words::{dollars, elapsed, percent},
};

/// Show how often results were used again, and the time and money that saved
#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only from so long ago on (`12h`, `30d`, `8w`)
    #[arg(long, value_name = "TIME", value_parser = age)]
    since: Option<Duration>,
    /// Only until so long ago
    #[arg(long, value_name = "TIME", value_parser = age)]
    until: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &StatsArguments,
    kept: Option<Kept>,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let filter = UseFilter {
        workflow: arguments.workflow.clone(),
        step: arguments.step.as_ref().map(StepId::new),
        from: arguments.since.map(|age| before(now, age)),
        before: arguments.until.map(|age| before(now, age)),
        ..UseFilter::default()
    };
    let counted = match kept {
        Some(kept) => kept.cache.statistics(&filter).await?,
        None => Vec::new(),
    };
    let total = total(&counted);
    if arguments.json {
        console.json(&json!({
            "steps": counted.iter().map(|one| with_rate(one, true)).collect::<Vec<Value>>(),
            "total": with_rate(&total, false),
        }))?;
    } else if counted.is_empty() {
        console.say("no step whose result is kept has run in that time");
    } else {
        console.text(&table(&counted, &total))?;
    }
    Ok(ExitCode::Completed)
}

fn total(counted: &[Statistic]) -> Statistic {
    let none = Statistic::none(String::new(), StepId::new(String::new()));
    counted.iter().fold(none, |sum, one| Statistic {
        hits: sum.hits + one.hits,
        misses: sum.misses + one.misses,
        saved_ms: sum.saved_ms + one.saved_ms,
        saved_usd: sum.saved_usd + one.saved_usd,
        spent_ms: sum.spent_ms + one.spent_ms,
        spent_usd: sum.spent_usd + one.spent_usd,
        ..sum
    })
}

fn with_rate(one: &Statistic, is_named: bool) -> Value {
    let mut shown = json!(one);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("hit_rate".to_owned(), json!(one.rate()));
        if !is_named {
            fields.remove("workflow");
            fields.remove("step");
        }
    }
    shown
}

fn table(counted: &[Statistic], total: &Statistic) -> String {
    let name = |one: &Statistic| format!("{}/{}", one.workflow, one.step);
    let rows: Vec<(String, &Statistic)> =
        counted.iter().map(|one| (name(one), one)).chain([("total".to_owned(), total)]).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut table =
        format!("{:<width$}  {:>6}  {:>6}  {:>5}  {:>8}  {:>9}\n", "step", "hits", "ran", "rate", "saved", "saved");
    for (name, one) in rows {
        let _ = writeln!(
            table,
            "{name:<width$}  {:>6}  {:>6}  {:>5}  {:>8}  {:>9}",
            one.hits,
            one.misses,
            percent(one.rate()),
            elapsed(Duration::from_millis(one.saved_ms)),
            dollars(one.saved_usd)
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_their_sum() {
        let one = |step: &str, hits, misses| Statistic {
            workflow: "tests".to_owned(),
            step: StepId::new(step),
            hits,
            misses,
            saved_ms: hits * 61_000,
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            saved_usd: hits as f64 * 0.25,
            spent_ms: misses * 61_000,
            spent_usd: 0.0,
        };
        let counted = [one("baseline", 3, 1), one("never", 0, 2)];
        insta::assert_snapshot!(table(&counted, &total(&counted)), @r"
        step              hits     ran   rate     saved      saved
        tests/baseline       3       1   75 %     3m03s      $0.75
        tests/never          0       2    0 %       0ms      $0.00
        total                3       3   50 %     3m03s      $0.75
        ");
    }
}
