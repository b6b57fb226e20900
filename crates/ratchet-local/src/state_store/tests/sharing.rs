use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, task::Poll};

use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::{Conflict, Current, StateStore, Write};
use ratchet_testkit::builders::{
    attempt_row, child_key, execution_row, join_key, put_execution, put_step, replace_step, step_key, step_row,
    succeeded_step,
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::{Files, LocalStateStore, fresh};

/// Takes the file's write lock, as another process does.
fn hold(store: &LocalStateStore) -> Connection {
    let holder = Connection::open(store.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    holder
}

/// Polls futures until each has handed its commit over and waits.
async fn begin<F: Future + Unpin>(commits: &mut [F]) {
    std::future::poll_fn(|context| {
        for commit in &mut *commits {
            assert!(pin!(commit).poll(context).is_pending(), "it waits for the holder of the lock");
        }
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn commits_that_wait_together_share_a_sync() {
    let (_folder, store) = fresh();
    let rows: Vec<_> = (0..200).map(|item| step_row(child_key("run", 1, "fan", item))).collect();
    let holder = hold(&store);
    let mut commits: Vec<_> = rows.iter().map(|row| store.commit(vec![put_step(row)])).collect();
    begin(&mut commits).await;
    holder.execute_batch("ROLLBACK").unwrap();
    for commit in commits {
        assert_eq!(commit.await.unwrap().conflict, None);
    }
    let counts = store.counts();
    assert_eq!(counts.commits, 200);
    assert!(counts.transactions <= 2, "one for the first that came, one for all that came meanwhile: {counts:?}");
}

#[tokio::test]
async fn a_conflict_leaves_the_commits_beside_it_alone() {
    let (_folder, store) = fresh();
    let row = |step| step_row(step_key("run", 1, step));
    let rows = ["a", "b", "c", "d", "last"].map(row);
    let [a, b, c, d, last] = &rows;
    let holder = hold(&store);
    let mut commits = [
        store.commit(vec![put_step(a), put_step(b)]),
        store.commit(vec![put_step(c), put_step(a), put_step(d)]),
        store.commit(vec![put_step(last), replace_step(&succeeded_step(c, BTreeMap::new()), 1)]),
    ];
    begin(&mut commits).await;
    holder.execute_batch("ROLLBACK").unwrap();
    let [first, second, third] = commits;
    assert_eq!(first.await.unwrap().conflict, None);
    let conflict = Conflict { position: 1, current: Current::Step(Box::new(a.clone())) };
    assert_eq!(second.await.unwrap().conflict, Some(conflict));
    assert_eq!(third.await.unwrap().conflict, None);
    let stored = [a, b, d, last].map(|row| store.step(&row.key));
    let mut there = Vec::new();
    for step in stored {
        there.push(step.await.unwrap().is_some());
    }
    assert_eq!(there, [true, true, false, true], "a prefix of each");
    assert_eq!(store.step(&c.key).await.unwrap(), Some(succeeded_step(c, BTreeMap::new())));
}

#[tokio::test]
async fn a_commit_whose_caller_is_gone_stays_whole() {
    let (_folder, store) = fresh();
    let [a, b] = ["a", "b"].map(|step| step_row(step_key("run", 1, step)));
    let holder = hold(&store);
    let mut commits = [store.commit(vec![put_step(&a), put_step(&b)])];
    begin(&mut commits).await;
    drop(commits);
    holder.execute_batch("ROLLBACK").unwrap();
    // What comes after it was written after it.
    store.commit(vec![]).await.unwrap();
    store.size().await.unwrap();
    assert_eq!(store.step(&a.key).await.unwrap().is_some(), store.step(&b.key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_share_a_file() {
    let files = Files::new();
    let path = files.next();
    // They open it at once, while nobody has made it yet.
    let stores: Vec<_> = (0..4)
        .map(|_| {
            tokio::task::spawn_blocking({
                let path = path.clone();
                move || LocalStateStore::open(&path)
            })
        })
        .collect();
    let mut open = Vec::new();
    for store in stores {
        open.push(Arc::new(store.await.unwrap().unwrap()));
    }
    let mut tasks = JoinSet::new();
    for (number, store) in open.iter().enumerate() {
        let (store, other) = (Arc::clone(store), Arc::clone(&open[(number + 1) % open.len()]));
        tasks.spawn(async move {
            for step in 0..25 {
                let row = step_row(step_key("run", 1, &format!("s{number}_{step}")));
                assert_eq!(store.commit(vec![put_step(&row)]).await.unwrap().conflict, None);
                let seen = other.step(&row.key).await.unwrap();
                assert_eq!(seen.as_ref(), Some(&row), "what one has committed the others see at once");
                let rival = other.commit(vec![put_step(&row)]).await.unwrap();
                assert_eq!(rival.conflict.map(|conflict| conflict.current), Some(Current::Step(Box::new(row))));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(open[0].steps(&ExecutionId::new("run"), None, 1000).await.unwrap().rows.len(), 100);
}

#[tokio::test]
async fn a_deleted_execution_leaves_nothing_and_its_room_can_be_had_back() {
    let (_folder, store) = fresh();
    let all_rows = |run: &str| {
        let mut writes = vec![
            put_execution(&execution_row(run)),
            put_step(&step_row(step_key(run, 1, "a"))),
            Write::Attempt(Box::new(attempt_row(step_key(run, 1, "a"), 1, 1))),
            Write::Unite { key: join_key(run, 1, "a", 0, 0), place: 0, outcome: ratchet_core::join::NeedOutcome::FINE },
        ];
        writes.extend((0..500).map(|item| put_step(&step_row(child_key(run, 1, "fan", item)))));
        writes
    };
    for run in ["run", "run2"] {
        assert_eq!(store.commit(all_rows(run)).await.unwrap().conflict, None);
    }
    let full = store.size().await.unwrap();
    assert!(store.delete_execution(&ExecutionId::new("run")).await.unwrap());
    assert!(!store.delete_execution(&ExecutionId::new("run")).await.unwrap(), "it is gone already");
    assert!(store.size().await.unwrap().free > 100_000, "its room is free");
    store.compact().await.unwrap();
    let compacted = store.size().await.unwrap();
    assert!(compacted.free == 0 && compacted.total < full.total * 2 / 3, "{compacted:?} after {full:?}");
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());

    let again = store.commit(all_rows("run")).await.unwrap();
    assert_eq!(again.conflict, None, "no row of it was left");
    assert!(store.execution(&ExecutionId::new("run2")).await.unwrap().is_some(), "the other is there");
}
