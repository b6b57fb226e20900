use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ratchet_core::{ids::ExecutionId, join::NeedOutcome, status::StepStatus};
use ratchet_engine::ports::{StateStore, Write};
use ratchet_testkit::builders::{join_key, put_step, replace_step, step_key, step_row, succeeded_step};
use tempfile::TempDir;

use super::LocalStateStore;
use crate::killed::{acknowledge, place, run_until_killed, scatter};

const ROUNDS: u64 = 25;
const LANES: u32 = 4;

/// What one commit writes: two rows, a change of the second, and an arrival.
fn commit(round: &ExecutionId, lane: u32, number: u32) -> Vec<Write> {
    let [first, second] =
        ["first", "second"].map(|part| step_row(step_key(round.as_str(), number, &format!("{part}{lane}"))));
    let changed = succeeded_step(&second, BTreeMap::new());
    let arrival =
        Write::Unite { key: join_key(round.as_str(), number, "end", 0, 0), place: lane, outcome: NeedOutcome::FINE };
    vec![put_step(&first), put_step(&second), replace_step(&changed, 1), arrival]
}

/// Commits until it is killed. Does nothing where it is an ordinary test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_is_killed() {
    let Some(place) = place() else { return };
    let store = Arc::new(LocalStateStore::open(&place.join("state.db")).unwrap());
    // The rounds share a file, each with an execution of its own, so that later ones find what earlier ones left.
    let round = ExecutionId::new(std::fs::read_to_string(place.join("round")).unwrap());
    let lanes = (0..LANES).map(|lane| {
        let (store, round) = (Arc::clone(&store), round.clone());
        async move {
            for number in 0.. {
                assert_eq!(store.commit(commit(&round, lane, number)).await.unwrap().conflict, None);
                acknowledge(&format!("{lane} {number}"));
            }
        }
    });
    let mut tasks: tokio::task::JoinSet<()> = tokio::task::JoinSet::new();
    for lane in lanes {
        tasks.spawn(lane);
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill_and_what_was_not_is_a_prefix() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged_in_all = 0;
    for number in 0..ROUNDS {
        let round = ExecutionId::new(format!("round{number}"));
        std::fs::write(folder.path().join("round"), round.as_str()).unwrap();
        let (enough, more) = (scatter(number) % 60, Duration::from_micros(scatter(number + 1000) % 1500));
        let test = "state_store::tests::crash::process_that_is_killed";
        let told = run_until_killed(test, folder.path(), usize::try_from(enough).unwrap(), more);
        acknowledged_in_all += told.len();

        let store = LocalStateStore::open(&folder.path().join("state.db")).unwrap();
        let acknowledged: BTreeSet<(u32, u32)> = told.iter().map(|line| parse(line)).collect();
        for lane in 0..LANES {
            let last = acknowledged.iter().filter(|(of, _)| *of == lane).map(|(_, number)| *number).max();
            for number in 0..last.map_or(1, |last| last + 3) {
                let there = prefix(&store, &round, lane, number).await;
                let answered = acknowledged.contains(&(lane, number));
                assert!(
                    there.is_some(),
                    "{round}: commit {number} of lane {lane} left writes without those before them"
                );
                assert!(
                    !answered || there == Some(4),
                    "{round}: commit {number} of lane {lane} was answered and is lost"
                );
            }
        }
        assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    }
    assert!(acknowledged_in_all > 200, "the processes did some work before they were killed: {acknowledged_in_all}");
}

fn parse(line: &str) -> (u32, u32) {
    let (of, number) = line.split_once(' ').unwrap();
    (of.parse().unwrap(), number.parse().unwrap())
}

/// How many of a commit's writes are there; `None` where they are no prefix of it.
async fn prefix(store: &LocalStateStore, round: &ExecutionId, lane: u32, number: u32) -> Option<usize> {
    let mut rows = Vec::new();
    for part in ["first", "second"] {
        let row = store.step(&step_key(round.as_str(), number, &format!("{part}{lane}"))).await.unwrap();
        rows.push(row.map(|row| row.status()));
    }
    let bucket = store.join(&join_key(round.as_str(), number, "end", 0, 0)).await.unwrap();
    let arrived = bucket.is_some_and(|bucket| bucket.arrived() & (1 << lane) != 0);
    match (rows[0], rows[1], arrived) {
        (None, None, false) => Some(0),
        (Some(StepStatus::Running), None, false) => Some(1),
        (Some(StepStatus::Running), Some(StepStatus::Running), false) => Some(2),
        (Some(StepStatus::Running), Some(StepStatus::Completed), arrived) => Some(3 + usize::from(arrived)),
        _ => None,
    }
}
