use std::collections::HashMap;

use ratchet_core::ids::Digest;
use ratchet_definition::compile::{SourceFile, compile};
use serde_json::{Value, json};

use super::*;

fn at(second: u32) -> String {
    format!("2026-01-02T00:{:02}:{:02}Z", second / 60, second % 60)
}

fn run(id: &str, workflow: &str, status: &str, seconds: u32) -> Value {
    json!({
        "id": id, "definition": {"name": workflow, "version": "1", "digest": "d", "origin": "w.yaml"}, "epoch": 1,
        "status": status, "created_at": at(0), "ended_at": at(seconds), "inputs": {"large": {"json": "ignored"}},
    })
}

fn step(run: &str, step: &str, state: Value, records: &[Value]) -> Value {
    let mut row = json!({
        "key": {"execution": run, "epoch": 1, "path": {"step": step}}, "attempt": 1, "started_at": at(0),
        "settled_at": at(10), "records": records,
    });
    row["state"] = state;
    row
}

fn claimed() -> Value {
    json!({"number": 1, "at": at(0), "change": "claimed", "token_hash": "t"})
}

fn succeeded(cost: f64) -> Value {
    json!({"number": 2, "at": at(10), "change": "succeeded", "result": {"outputs": {}, "usage": usage(cost)}})
}

fn usage(cost: f64) -> Value {
    json!({"start_ms": 1, "process_ms": 1000, "capture_ms": 2, "cost_usd": cost, "tokens": 10, "turns": 2})
}

/// Adds facts to a ledger: executions, steps, earlier attempts.
fn ledger(runs: &[Value], steps: &[Value], attempts: &[Value]) -> Ledger {
    let mut ledger = Ledger::default();
    for row in runs {
        ledger.add_run(RunFact::read(&row.to_string()).expect("a run"));
    }
    for row in steps {
        ledger.add_step(StepFact::read(&row.to_string()).expect("a step"));
    }
    for row in attempts {
        ledger.add_attempt(&AttemptFact::read(&row.to_string()).expect("an attempt"));
    }
    ledger
}

fn tally(sums: &Sums, workflow: &str, step: Option<&str>) -> Tally {
    let name = Name { workflow: workflow.to_owned(), step: step.map(str::to_owned) };
    sums.tallies.get(&name).cloned().unwrap_or_default()
}

fn with(mut row: Value, changes: &[(&str, Value)]) -> Value {
    for (field, value) in changes {
        row[*field] = value.clone();
    }
    row
}

#[test]
fn ends_and_times_of_executions() {
    let mut runs: Vec<Value> = (1..=20).map(|n| run(&format!("r{n}"), "w", "completed", n)).collect();
    runs.push(with(run("again", "w", "completed", 30), &[("epoch", json!(2))]));
    runs.push(with(run("passed", "w", "completed", 900), &[("continued", json!(true))]));
    runs.push(run("bad", "w", "failed", 900));
    runs.push(run("stopped", "w", "cancelled", 900));
    runs.push(with(run("now", "w", "running", 900), &[("ended_at", Value::Null)]));
    let sums = ledger(&runs, &[], &[]).done(&HashMap::new());
    let tally = tally(&sums, "w", None);
    assert_eq!((tally.runs, tally.succeeded, tally.failed, tally.cancelled, tally.first_time), (25, 21, 2, 1, 20));
    assert_eq!(
        [0.5, 0.95, 1.0].map(|part| tally.took(part).map(|took| took.as_secs())),
        [Some(11), Some(20), Some(30)]
    );
    assert_eq!(tally.success_rate(), Some(21.0 / 23.0));
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn money_is_counted_once_wherever_it_was_spent() {
    let nested = with(
        run("r1.abc", "inner", "completed", 5),
        &[(
            "parent",
            json!({"key": {"execution": "r1", "epoch": 1, "path": {"step": "group"}}, "attempt": 1, "way": "group[2]"}),
        )],
    );
    let of_model = json!({"outputs": {"models": {"json": {"large": {"cost_usd": 0.2, "tokens": 8}, "small": {"cost_usd": 0.05, "tokens": 2}}}}});
    let retried = with(
        step("r1", "agent", json!("completed"), &[claimed(), succeeded(0.25)]),
        &[("attempt", json!(2)), ("result", of_model)],
    );
    let steps = [
        retried,
        // A step that is a run says the sum of what that spent.
        with(step("r1", "group", json!("completed"), &[claimed(), succeeded(0.5)]), &[("execution", json!("r1.abc"))]),
        step("r1.abc", "write", json!("completed"), &[claimed(), succeeded(0.5)]),
        // A child that a resume took over has the result of the older epoch, and was not claimed.
        with(
            step("r1", "each", json!("completed"), &[succeeded(9.0)]),
            &[("key", json!({"execution": "r1", "epoch": 2, "path": {"step": "each", "child": 0}}))],
        ),
        step("r1", "$end", json!("completed"), &[claimed()]),
        step("of another", "agent", json!("completed"), &[claimed(), succeeded(100.0)]),
    ];
    let failed = json!({"number": 2, "at": at(3), "change": "retry_scheduled", "failure": {}, "due": at(4), "usage": usage(0.125)});
    let attempt = |number: u32, record: &Value| json!({"key": {"execution": "r1", "epoch": 1, "path": {"step": "agent"}}, "attempt": number, "records": [claimed(), record]});
    // The current one is its row's own, also where it stands among the earlier ones.
    let attempts = [attempt(1, &failed), attempt(2, &succeeded(0.25))];
    let sums = ledger(&[run("r1", "w", "completed", 20), nested], &steps, &attempts).done(&HashMap::new());
    let whole = tally(&sums, "w", None);
    assert_eq!((whole.runs, whole.retries, whole.first_time), (1, 1, 0));
    assert_eq!((whole.spent.calls, whole.spent.cost_usd, whole.spent.tokens, whole.spent.turns), (3, 0.875, 30, 6));
    let cost = |step: &str| tally(&sums, "w", Some(step)).spent.cost_usd;
    assert_eq!((cost("agent"), cost("group.write")), (0.375, 0.5));
    assert_eq!(tally(&sums, "w", Some("each")), Tally::default());
    assert_eq!(tally(&sums, "inner", None).spent.calls, 0, "what its steps started counts to the outermost");
    let models: Vec<(&str, f64)> =
        sums.models.iter().map(|((model, _), spent)| (model.as_str(), spent.spent.cost_usd)).collect();
    assert_eq!(models, [("large", 0.2), ("small", 0.05), (Ledger::UNKNOWN_MODEL, 0.625)]);
    let days: Vec<(String, f64)> =
        sums.days.iter().map(|((day, _), spent)| (day.to_string(), spent.spent.cost_usd)).collect();
    assert_eq!(days, [("2026-01-02".to_owned(), 0.875)]);
}

#[test]
fn hits_cost_nothing_and_have_no_time() {
    let key = |run: &str| json!({"execution": run, "epoch": 1, "path": {"step": "agent"}});
    let hit = json!({"key": "k", "found": {"hit": {"from": key("r0"), "saved": usage(0.25)}}});
    let miss = json!({"key": "k", "found": {"miss": "absent"}});
    let steps = [
        with(step("r1", "agent", json!("completed"), &[claimed(), succeeded(0.25)]), &[("cache", miss)]),
        with(
            step("r2", "agent", json!("completed"), &[succeeded(0.0)]),
            &[("cache", hit), ("settled_at", json!(at(1)))],
        ),
        step("r2", "skipped", json!({"skipped": "when_false"}), &[]),
        with(step("r2", "blocked", json!("blocked"), &[]), &[("attempt", json!(0))]),
    ];
    let runs = [run("r1", "w", "completed", 1), run("r2", "w", "completed", 1)];
    let sums = ledger(&runs, &steps, &[]).done(&HashMap::new());
    let agent = tally(&sums, "w", Some("agent"));
    assert_eq!((agent.hits, agent.misses, agent.runs, agent.took_ms.as_slice()), (1, 1, 2, &[10_000_u64][..]));
    assert_eq!((agent.spent.cost_usd, agent.saved.cost_usd, agent.saved.process_ms), (0.25, 0.25, 1000));
    assert_eq!((tally(&sums, "w", Some("blocked")).runs, tally(&sums, "w", None).hits), (0, 1));
}

#[test]
fn a_result_is_validated_by_an_assertion_after_it_that_held() {
    let text = "\
name: w
version: \"1\"
steps:
  - {id: agent, type: claude_code, prompt: Do it.}
  - {id: other, type: claude_code, prompt: Do it., needs: []}
  - {id: check, type: assert, condition: 'agent.status == \"completed\"', needs: agent, on_failure: warn}
";
    let compiled = compile(&SourceFile { name: "w.yaml".to_owned(), text: text.to_owned() });
    let shape = Shape::of(&compiled.expect("a workflow").workflow);
    let of = |check: Value| {
        let steps = [
            step("r1", "agent", json!("completed"), &[claimed(), succeeded(0.25)]),
            step("r1", "other", json!("completed"), &[claimed(), succeeded(0.25)]),
            check,
        ];
        let ledger = ledger(&[run("r1", "w", "completed", 1)], &steps, &[]);
        assert_eq!(ledger.definitions().len(), 1);
        let sums = ledger.done(&HashMap::from([(Digest::new("d"), shape.clone())]));
        let whole = tally(&sums, "w", None);
        (whole.results, whole.validated, tally(&sums, "w", Some("agent")).validated)
    };
    let held = step("r1", "check", json!("completed"), &[]);
    assert_eq!(of(held.clone()), (2, 1, 1));
    assert_eq!(of(with(held, &[("result", json!({"warning": "it is false"}))])), (2, 0, 0), "it warned");
    assert_eq!(of(step("r1", "check", json!({"failed": {"failure": {}}}), &[])), (2, 0, 0));
}
