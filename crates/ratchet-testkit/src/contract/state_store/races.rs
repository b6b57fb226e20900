use std::{collections::BTreeMap, future::Future, sync::Arc};

use ratchet_core::{
    join::{BUCKET_SIZE, NeedOutcome},
    step::StepRow,
};
use ratchet_engine::ports::{Committed, Conflict, Current, Write, WriteOutcome};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Store, answer, commit};
use crate::builders::{child_key, claimed_step, join_key, put_step, replace_step, step_key, step_row, succeeded_step};

/// How many commits run for the same row at once.
const RIVALS: u32 = 24;

pub(super) async fn one_of_two_claims_wins(store: Store) {
    for key in [step_key("run", 1, "a"), child_key("run", 1, "a", 0)] {
        let claims: Vec<StepRow> = (0..RIVALS).map(|rival| claimed_step(key.clone(), &rival.to_string())).collect();
        one_wins(&store, &claims, put_step).await;
    }
}

pub(super) async fn one_of_two_changes_wins(store: Store) {
    let claimed = step_row(step_key("run", 1, "a"));
    commit(&store, vec![put_step(&claimed)]).await;
    let succeed = |rival| succeeded_step(&claimed, BTreeMap::from([("rival".to_owned(), json!(rival))]));
    let changes: Vec<StepRow> = (0..RIVALS).map(succeed).collect();
    one_wins(&store, &changes, |row| replace_step(row, 1)).await;
}

/// Commits a write of each row at once: one is applied, and all others are shown its row.
async fn one_wins(store: &Store, rows: &[StepRow], write: impl Fn(&StepRow) -> Write) {
    let commits = rows.iter().map(|row| {
        let (store, write) = (Arc::clone(store), write(row));
        async move { answer(store.commit(vec![write]).await) }
    });
    let committed = all_at_once(commits).await;

    let stored = answer(store.step(&rows[0].key).await).expect("one of them is there");
    let lost = Some(Conflict { position: 0, current: Current::Step(Box::new(stored.clone())) });
    let mut winners = Vec::new();
    for (row, Committed { applied, conflict }) in rows.iter().zip(committed) {
        if conflict.is_none() {
            assert_eq!(applied, vec![WriteOutcome::Written]);
            winners.push(row);
        } else {
            assert_eq!((applied, conflict), (vec![], lost.clone()), "a loser is shown the winner's row");
        }
    }
    assert_eq!(winners, vec![&stored], "exactly one wins, and its row is the one that is there");
}

pub(super) async fn one_arrival_fills_a_bucket(store: Store) {
    let key = join_key("run", 1, "end", 0, 0);
    let arrivals = (0..BUCKET_SIZE).map(|place| {
        let write = Write::Unite { key: key.clone(), place, outcome: NeedOutcome::FINE };
        let store = Arc::clone(&store);
        async move { commit(&store, vec![write]).await }
    });
    let mut seen: Vec<u32> = Vec::new();
    for outcome in all_at_once(arrivals).await.into_iter().flatten() {
        match outcome {
            WriteOutcome::United(bucket) => seen.push(bucket.arrived().count_ones()),
            other => panic!("a union leaves its bucket, and not {other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=BUCKET_SIZE).collect::<Vec<_>>(), "each arrival is one more, and one of them is the last");
}

pub(super) async fn a_commit_that_was_answered_is_seen(store: Store) {
    let tasks = (0..RIVALS).map(|task| {
        let store = Arc::clone(&store);
        async move {
            let key = step_key("run", 1, &format!("step{task}"));
            let mut row = step_row(key.clone());
            commit(&store, vec![put_step(&row)]).await;
            for change in 0..5 {
                assert_eq!(answer(store.step(&key).await).as_ref(), Some(&row), "a read sees what was committed");
                let next = succeeded_step(&row, BTreeMap::from([("change".to_owned(), json!(change))]));
                commit(&store, vec![replace_step(&next, row.revision())]).await;
                row = next;
            }
        }
    });
    all_at_once(tasks).await;
}

/// Runs futures at once and gives what they gave, in their order.
pub(super) async fn all_at_once<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut tasks = JoinSet::new();
    for (position, future) in futures.enumerate() {
        tasks.spawn(async move { (position, future.await) });
    }
    let mut results: Vec<_> = tasks.join_all().await;
    results.sort_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}
