//! What limits runs: turns in a concurrency group, and a budget. Runs and the test wait for each other at named pipes: no time is involved.

use std::fs;

use ratchet_tests::{
    running::{Gate, Running},
    world::World,
};
use rustix::process::Signal;
use serde_json::Value;

use super::state;

/// Workflows of one group: one waits at the gate, one asks a person, the others note that they ran.
struct Group {
    world: World,
    gate: Gate,
}

impl Group {
    fn new() -> Self {
        let world = World::new();
        let gate = Gate::new(&world, "gate");
        let (gate_path, effects) = (gate.path().display(), world.outside("effects"));
        let effects = effects.display();
        let write = |name: &str, on_conflict: &str, steps: &str| {
            let text = format!(
                "name: {name}\nversion: \"1\"\nconcurrency: {{group: \"deploy-{{{{ env.STAGE }}}}\", on_conflict: {on_conflict}}}\n{steps}"
            );
            world.write(&format!("{name}.yaml"), &text);
        };
        let note = |word: &str| format!("  - {{ id: note, type: shell, command: \"echo {word} >> {effects}\" }}\n");
        let waits = format!(
            "steps:\n  - {{ id: works, type: shell, on_lost: rerun, command: \"echo ready > {gate_path}; cat {gate_path}; echo first >> {effects}\" }}\nfinally:\n  - {{ id: tidy, type: shell, command: \"echo tidied >> {effects}\" }}\n"
        );
        write("first", "queue", &waits);
        let asks = format!("steps:\n  - {{ id: go, type: approval, message: go on? }}\n{}", note("asked"));
        write("asks", "queue", &asks);
        for (name, on_conflict) in [("queues", "queue"), ("cancels", "cancel_running"), ("rejects", "reject")] {
            write(name, on_conflict, &format!("steps:\n{}", note(name)));
        }
        Self { world, gate }
    }

    /// Starts a run that has its turn and waits at the gate.
    fn start_first(&self) -> (Running, String) {
        let run = self.start("first");
        assert_eq!(self.gate.wait(), "ready\n");
        (run, self.newest())
    }

    fn start(&self, name: &str) -> Running {
        self.world.start(["run", &format!("{name}.yaml"), "--in-place", "--env", "STAGE=prod"])
    }

    fn newest(&self) -> String {
        let listed = state(&self.world, &["list", "--json"]);
        listed[0]["execution_id"].as_str().expect("a name").to_owned()
    }

    /// What ran, in order.
    fn effects(&self) -> String {
        fs::read_to_string(self.world.outside("effects")).unwrap_or_default().replace('\n', " ")
    }
}

#[test]
fn runs_of_a_group_have_their_turns_in_the_order_of_arrival() {
    let group = Group::new();
    let (first, id) = group.start_first();
    let mut second = group.start("queues");
    let said = second.says("waits for its turn");
    assert!(said.contains("the concurrency group deploy-prod; before it:") && said.contains(&id), "{said}");
    let second_id = group.newest();
    let shown = state(&group.world, &["status", &second_id, "--json"]);
    assert_eq!(shown["status"], "running");
    assert_eq!(shown["waits_for"]["group"], "deploy-prod");
    assert_eq!(shown["waits_for"]["running"][0]["execution_id"], Value::String(id));
    let mut third = group.start("queues");
    third.says("1 more");
    // One of another group has nothing to wait for.
    group.world.ratchet(["run", "queues.yaml", "--in-place", "--env", "STAGE=test"]).expect_code(0);
    group.gate.open();
    first.end().expect_code(0);
    second.end().expect_code(0);
    third.end().expect_code(0);
    assert_eq!(group.effects(), "queues first tidied queues queues ");
    let ended = state(&group.world, &["status", &second_id, "--json"]);
    assert!(ended.get("waits_for").is_none(), "{ended:#}");
    group.world.ratchet(["replay", &second_id]).expect_code(0);
}

#[test]
fn a_run_that_does_not_wait_is_refused_and_can_be_resumed() {
    let group = Group::new();
    let (first, id) = group.start_first();
    let refused = group.start("rejects").end().expect_code(1);
    assert!(refused.stdout.contains("RT-0187") && refused.stdout.contains(&id), "{}", refused.stdout);
    assert_eq!(group.effects(), "");
    group.gate.open();
    first.end().expect_code(0);
    group.world.ratchet(["resume", "last", "--quiet"]).expect_code(0);
    assert_eq!(group.effects(), "first tidied rejects ");
    group.world.ratchet(["replay"]).expect_code(0);
}

#[test]
fn a_run_that_is_in_the_way_is_cancelled_and_tidies_up_first() {
    let group = Group::new();
    let (first, _) = group.start_first();
    group.start("cancels").end().expect_code(0);
    first.end().expect_code(1);
    assert_eq!(group.effects(), "tidied cancels ");
}

#[test]
fn a_run_whose_process_is_gone_keeps_its_turn_until_somebody_ends_it() {
    let group = Group::new();
    let (first, id) = group.start_first();
    first.signal(Signal::KILL);
    first.end();
    let mut second = group.start("queues");
    let said = second.says("is gone");
    assert!(
        said.contains(&format!("`ratchet resume {id}`")) && said.contains(&format!("`ratchet cancel {id}`")),
        "{said}"
    );
    let shown = group.world.ratchet(["status", &group.newest()]).expect_code(0).stdout;
    assert!(shown.contains(&format!("ratchet resume {id}")), "{shown}");
    assert_eq!(group.effects(), "");
    group.world.ratchet(["cancel", &id, "--quiet"]).expect_code(0);
    second.end().expect_code(0);
    assert_eq!(group.effects(), "tidied queues ");
}

#[test]
fn a_run_that_is_in_the_way_and_whose_process_is_gone_tidies_up_in_the_next_one() {
    let group = Group::new();
    let (first, id) = group.start_first();
    first.signal(Signal::KILL);
    first.end();
    let done = group.start("cancels").end().expect_code(0);
    assert!(done.stderr.contains(&format!("{id} was cancelled, and its process is gone")), "{}", done.stderr);
    assert_eq!(group.effects(), "tidied cancels ");
    assert_eq!(state(&group.world, &["status", &id, "--json"])["status"], "cancelled");
    group.world.ratchet(["replay", &id]).expect_code(0);
}

#[test]
fn a_run_that_waits_and_whose_process_is_gone_keeps_nobody_waiting() {
    let group = Group::new();
    let (first, _) = group.start_first();
    let mut dead = group.start("queues");
    dead.says("waits for its turn");
    let dead_id = group.newest();
    dead.signal(Signal::KILL);
    dead.end();
    let mut third = group.start("queues");
    third.says("waits for its turn");
    group.gate.open();
    first.end().expect_code(0);
    third.end().expect_code(0);
    group.world.ratchet(["resume", &dead_id, "--quiet"]).expect_code(0);
    assert_eq!(group.effects(), "first tidied queues queues ");
}

#[test]
fn a_run_that_is_paused_keeps_its_turn() {
    let group = Group::new();
    group.start("asks").end().expect_code(3);
    let id = group.newest();
    let mut second = group.start("queues");
    let said = second.says("is paused");
    assert!(said.contains(&id), "{said}");
    group.world.ratchet(["approve", &id, "--quiet"]).expect_code(0);
    second.end().expect_code(0);
    assert_eq!(group.effects(), "asked queues ");
}

#[test]
fn a_run_that_waits_can_be_cancelled_and_nothing_of_it_runs() {
    let group = Group::new();
    let (first, _) = group.start_first();
    let mut second = group.start("first");
    second.says("waits for its turn");
    let second_id = group.newest();
    group.world.ratchet(["cancel", &second_id, "--quiet"]).expect_code(0);
    second.end().expect_code(1);
    group.gate.open();
    first.end().expect_code(0);
    assert_eq!(group.effects(), "first tidied ");
    group.world.ratchet(["replay", &second_id]).expect_code(0);
}

#[test]
fn a_group_without_a_name_is_told_and_leaves_nothing() {
    let world = World::new();
    let text = "name: w\nversion: \"1\"\ninputs: {x: {type: string}}\nconcurrency: {group: \"{{ inputs.x }}\"}\nsteps: [{id: a, type: shell, command: echo a}]\n";
    world.write("workflow.yaml", text);
    let refused = world.ratchet(["run", ".", "--in-place", "-i", "x="]).expect_code(2);
    assert!(refused.stderr.contains("RT-0189"), "{}", refused.stderr);
    assert_eq!(state(&world, &["list", "--json"]), Value::Array(vec![]));
    world.ratchet(["run", ".", "--in-place", "-i", "x=a"]).expect_code(0);
}

/// A workflow whose agent is asked three times, each time for half a dollar.
fn asking(budget: &str) -> World {
    let world = World::new();
    let asks = |number: u32| format!("  - {{ id: ask{number}, type: claude_code, prompt: \"question {number}\" }}\n");
    let steps: String = (1..=3).map(asks).collect();
    let text = format!(
        "name: asking\nversion: \"1\"\nbudget: {budget}\nsteps:\n{steps}finally:\n  - {{ id: tidy, type: shell, command: echo tidied }}\n"
    );
    world.write("workflow.yaml", &text);
    let session = |number: u32| {
        format!(
            "{{\"step\": \"ask{number}\", \"reply\": {{\"response\": \"yes\", \"cost_usd\": 0.5, \"tokens\": 1000, \"turns\": 1}}}}"
        )
    };
    let sessions: Vec<String> = (1..=3).map(session).collect();
    let recording = format!("{{\"format\": 1, \"agent\": \"by hand\", \"sessions\": [{}]}}", sessions.join(", "));
    world.write("recording/recording.json", &recording);
    world
}

const ASK: [&str; 5] = ["run", "workflow.yaml", "--in-place", "--agent", "recorded:recording"];

#[test]
fn a_budget_pauses_before_the_call_that_it_has_no_money_for() {
    let world = asking("{max_cost_usd: 0.8}");
    let paused = world.ratchet(ASK).expect_code(3);
    assert!(paused.stdout.contains("$1.00 of $0.80 are spent, so ask3 asks no agent"), "{}", paused.stdout);
    assert!(paused.stdout.contains("RT-0188") && paused.stdout.contains("ratchet cancel"), "{}", paused.stdout);
    assert_eq!(paused.stderr.matches("warning: 125 % of the budget").count(), 1, "{}", paused.stderr);
    let shown = state(&world, &["status", "--json"]);
    assert_eq!(shown["status"], "paused");
    assert_eq!(shown["steps"]["ask3"]["status"], "pending");
    let budget = serde_json::json!({
        "spent": {"cost_usd": 1.0, "tokens": 2000, "agent_calls": 2}, "limit": {"max_cost_usd": 0.8}, "calls_in_flight": 0
    });
    assert_eq!(shown["budget"], budget);
    // It asks again, and nothing was added.
    let again = world.ratchet(["resume"]).expect_code(3);
    assert!(again.stdout.contains("$1.00 of $0.80 are spent, so ask3 asks no agent"), "{}", again.stdout);
    assert_eq!(state(&world, &["status", "--json"])["budget"], budget);
    world.ratchet(["cancel", "last", "--quiet"]).expect_code(0);
    let ended = state(&world, &["status", "--json"]);
    assert_eq!((&ended["status"], &ended["steps"]["tidy"]["status"]), (&"cancelled".into(), &"completed".into()));
    world.ratchet(["replay"]).expect_code(0);
}

#[test]
fn money_is_added_by_a_resume_once_and_goes_on_counting() {
    let world = asking("{max_cost_usd: 0.4}");
    world.ratchet(ASK).expect_code(3);
    let shown = |world: &World| state(world, &["status", "--json"])["budget"].clone();
    // As much as the second question takes, and less than the third.
    let more = world.ratchet(["resume", "--add-budget", "0.2"]).expect_code(3);
    assert!(more.stdout.contains("$1.00 of $0.60 are spent, so ask3 asks no agent"), "{}", more.stdout);
    assert!(more.stdout.contains("--add-budget"), "{}", more.stdout);
    assert_eq!(
        (&shown(&world)["limit"]["max_cost_usd"], &shown(&world)["spent"]["cost_usd"]),
        (&0.6.into(), &1.0.into())
    );
    world.ratchet(["resume", "--quiet"]).expect_code(3);
    assert_eq!(shown(&world)["limit"]["max_cost_usd"], 0.6, "a resume without it adds nothing");
    world.ratchet(["resume", "--quiet", "--add-budget", "$1"]).expect_code(0);
    assert_eq!(
        (&shown(&world)["limit"]["max_cost_usd"], &shown(&world)["spent"]["cost_usd"]),
        (&1.6.into(), &1.5.into())
    );
    world.ratchet(["replay"]).expect_code(0);

    for (budget, amount, said) in [
        ("{max_agent_calls: 1}", "1", "has no `budget` with a `max_cost_usd`"),
        ("{max_cost_usd: 0.4}", "0", "an amount in US dollars above nothing"),
        ("{max_cost_usd: 0.4}", "NaN", "an amount in US dollars above nothing"),
    ] {
        let world = asking(budget);
        world.ratchet(ASK).expect_code(3);
        let refused = world.ratchet(["resume", "--add-budget", amount]).expect_code(2);
        assert!(refused.stderr.contains(said), "{amount}: {}", refused.stderr);
    }
}

#[test]
fn each_limit_counts_what_it_is_about_and_warns_once() {
    for (budget, code, calls) in [
        ("{max_agent_calls: 1}", 3, 1),
        ("{max_agent_calls: 3}", 0, 3),
        ("{max_tokens: 1500}", 3, 2),
        ("{max_tokens: 3000, max_cost_usd: 1.5}", 0, 3),
        ("{max_cost_usd: 9.99, max_agent_calls: 2}", 3, 2),
    ] {
        let world = asking(budget);
        let done = world.ratchet(ASK).expect_code(code);
        assert_eq!(done.stderr.matches("of the budget").count(), 1, "{budget}: {}", done.stderr);
        assert_eq!(state(&world, &["status", "--json"])["budget"]["spent"]["agent_calls"], calls, "{budget}");
    }
}

#[test]
fn children_that_run_at_once_spend_no_more_calls_than_there_are() {
    let world = World::new();
    let text = "name: w\nversion: \"1\"\nbudget: {max_agent_calls: 3}\nsteps:\n  - {id: ask, type: claude_code, foreach: [a, b, c, d, e, f], max_parallel: 4, prompt: \"{{ item }}\"}\n";
    world.write("workflow.yaml", text);
    let session = |item: u32| {
        format!(
            "{{\"step\": \"ask[{item}]\", \"reply\": {{\"response\": \"yes\", \"cost_usd\": 0.1, \"tokens\": 10, \"turns\": 1}}}}"
        )
    };
    let sessions: Vec<String> = (0..6).map(session).collect();
    let recording = format!("{{\"format\": 1, \"agent\": \"by hand\", \"sessions\": [{}]}}", sessions.join(", "));
    world.write("recording/recording.json", &recording);
    // One that is about to start when another finds that there is no call left waits for the resume.
    world.ratchet([&ASK[..], &["--max-parallel", "4"]].concat()).expect_code(3);
    world.ratchet(["resume", "--quiet"]).expect_code(3);
    let shown = state(&world, &["status", "--json"]);
    assert_eq!(shown["budget"]["spent"]["agent_calls"], 3, "{shown:#}");
    assert_eq!(shown["steps"]["ask"]["children"]["completed"], 3, "{shown:#}");
    world.ratchet(["resume", "--quiet"]).expect_code(3);
    assert_eq!(
        state(&world, &["status", "--json"])["budget"]["spent"]["agent_calls"],
        3,
        "what is done is not asked again"
    );
}
