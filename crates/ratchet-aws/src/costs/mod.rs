//! What a step costs on AWS, counted: reference workflows run through the real handlers and adapters, and no count of a step may grow above `limits.json`.
//!
//! `make bench-aws` prints the table. What a step costs is what a run of many steps asks for beyond a run of one, for each step more.

mod between;
mod deployment;
mod meter;

use std::{collections::BTreeMap, env};

use serde::Deserialize;

use self::{
    deployment::Counted,
    meter::{Counts, NAMES},
};
use crate::deployed::programs;

/// The variable that says of how many steps the runs are.
const SIZES: &str = "RATCHET_COSTS";
/// Where nobody says.
const SIZES_USUAL: &str = "10,100";

/// Requests that a function waits for, in all, and what each takes: the only number here that is no count.
const WAIT_SECONDS: f64 = 0.006;

/// What the most of each count is, by the kind of step.
type Limits = BTreeMap<String, BTreeMap<String, f64>>;

/// What things cost, in dollars.
#[derive(Deserialize)]
struct Prices {
    /// When they were so.
    as_of: String,
    region: String,
    /// By the name of a count.
    a_million: BTreeMap<String, f64>,
    gb_second: f64,
    /// The memory of a function.
    function_gb: f64,
}

/// A run of one kind of steps.
struct Kind {
    name: &'static str,
    /// The row that each step of it has.
    row: &'static str,
    text: fn(usize) -> String,
}

const KINDS: [Kind; 3] = [
    Kind { name: "inline", row: "step", text: |count| chain("inline", count, "type: template, template: a") },
    Kind { name: "inline, fanned out", row: "child", text: fan_out },
    Kind { name: "task, started", row: "step", text: |count| chain("task", count, "type: shell, command: \"true\"") },
];

/// Steps that need the one before them.
fn chain(name: &str, count: usize, step: &str) -> String {
    let steps: Vec<String> = (0..count).map(|number| format!("  - {{ id: step_{number}, {step} }}\n")).collect();
    format!("name: {name}-{count}\nversion: \"1\"\nsteps:\n{}", steps.concat())
}

fn fan_out(count: usize) -> String {
    let items: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    format!(
        "name: each-{count}\nversion: \"1\"\nsteps:\n  - {{ id: each, type: template, foreach: [{}], template: a }}\n",
        items.join(", ")
    )
}

/// What each of so many steps more costs.
fn each(all: Counts, one: Counts, more: usize) -> BTreeMap<&'static str, f64> {
    let more = f64::from(u32::try_from(more).unwrap());
    let mean = |count: i64| f64::from(i32::try_from(count).unwrap()) / more;
    let counts = all - one;
    NAMES.into_iter().zip(counts.named().map(mean)).chain([("waits", mean(counts.waits))]).collect()
}

/// What a million steps cost: the coordination, and the requests to S3 beside it.
fn dollars(each: &BTreeMap<&'static str, f64>, prices: &Prices) -> (f64, f64) {
    let paid = |name: &str| each.get(name).copied().unwrap_or_default() * prices.a_million[name];
    let (s3, others): (Vec<_>, Vec<_>) = prices.a_million.keys().partition(|name| name.starts_with("s3"));
    let seconds = 1e6 * each["waits"] * WAIT_SECONDS;
    let duration = seconds * prices.function_gb * prices.gb_second;
    (others.into_iter().map(|name| paid(name)).sum::<f64>() + duration, s3.into_iter().map(|name| paid(name)).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_costs_more_than_it_did() {
    let Some((functions, _)) = programs() else { return };
    let Some(mut counted) = Counted::start(functions.join("step-runner/bootstrap")).await else { return };
    let limits: Limits = serde_json::from_str(include_str!("limits.json")).unwrap();
    let prices: Prices = serde_json::from_str(include_str!("prices.json")).unwrap();
    let sizes = env::var(SIZES).unwrap_or_else(|_| SIZES_USUAL.to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.trim().parse().unwrap()).collect();
    let mut table = vec![head(&prices)];
    let mut grown = Vec::new();
    for kind in KINDS {
        let one = counted.run(&(kind.text)(1)).await;
        for size in &sizes {
            counted.between.meter.lock().unwrap().bytes_max.clear();
            let each = each(counted.run(&(kind.text)(*size)).await, one, size - 1);
            let bytes = counted.between.meter.lock().unwrap().bytes_max[kind.row];
            table.push(line(kind.name, *size, &each, bytes, &prices));
            let limits = &limits[kind.name];
            for (name, most) in limits.iter().filter(|(name, _)| *name != "row_bytes") {
                if each[name.as_str()] > most + 0.005 {
                    grown.push(format!(
                        "{}, {size} steps: {name} is {:.2}, not {most}",
                        kind.name,
                        each[name.as_str()]
                    ));
                }
            }
            if f64::from(u32::try_from(bytes).unwrap()) > limits["row_bytes"] {
                grown
                    .push(format!("{}, {size} steps: a row has {bytes} bytes, not {}", kind.name, limits["row_bytes"]));
            }
        }
    }
    let rows = &counted.between.meter.lock().unwrap().rows;
    let rows: BTreeMap<&String, &i64> = rows.iter().collect();
    #[expect(clippy::print_stdout, reason = "what `make bench-aws` shows")]
    {
        println!("{}\n\nwrites by row, of all runs: {rows:?}", table.join("\n"));
    }
    assert!(grown.is_empty(), "a step costs more than limits.json says:\n  {}", grown.join("\n  "));
}

fn head(prices: &Prices) -> String {
    let names: Vec<String> = NAMES.iter().map(|name| format!("{name:>13}")).collect();
    format!(
        "Of each step: counts, the bytes of its row, and dollars of a million (prices of {} in {})\n{:<20}{:>7}{}{:>10}{:>9}{:>7}",
        prices.as_of,
        prices.region,
        "kind",
        "steps",
        names.concat(),
        "row bytes",
        "dollars",
        "S3"
    )
}

fn line(kind: &str, size: usize, each: &BTreeMap<&'static str, f64>, bytes: u64, prices: &Prices) -> String {
    let counts: Vec<String> = NAMES.iter().map(|name| format!("{:>13.2}", each[name])).collect();
    let (coordination, s3) = dollars(each, prices);
    format!("{kind:<20}{size:>7}{}{bytes:>10}{coordination:>9.2}{s3:>7.2}", counts.concat())
}
