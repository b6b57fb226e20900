use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use ratchet_core::{
    artifact::{ArtifactRead, ArtifactVersion, Which},
    budget::{AgentCall, Budget, BudgetRow},
    execution::ExecutionRow,
    group::{GroupRow, Member},
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    join::{JoinKey, JoinKind, JoinRow, NeedOutcome},
    status::ExecutionStatus,
    step::{AttemptRow, StepRow, Usage},
};
use ratchet_engine::ports::{ArtifactFilter, ExecutionFilter, Expectation, StateStore, Write};
use ratchet_testkit::{
    builders::{
        artifact, artifact_name, attempt_row, child_key, claimed_step, execution_row, join_key, step_key,
        succeeded_step, time,
    },
    memory::MemoryStateStore,
};
use rusqlite::Connection;
use serde_json::json;

use super::{Files, LocalStateStore};

const RUNS: [&str; 2] = ["run", "run2"];
const STEPS: [&str; 3] = ["a", "ab", "$end"];
const GROUPS: [&str; 2] = ["deploy", "deploy-2"];
const EPOCHS: u32 = 3;
const ITEMS: u32 = 3;

/// A write that often, but not always, fits what is there: few keys, low revisions.
fn write() -> impl Strategy<Value = Write> {
    let execution = (run(), 0..4_u64, 1..5_u64, proptest::option::of(0..50_i64), 0..ExecutionStatus::ALL.len())
        .prop_map(|(run, expected, revision, wake, status)| {
            let wake_at = wake.map(time);
            let row = ExecutionRow { revision, wake_at, status: ExecutionStatus::ALL[status], ..execution_row(run) };
            Write::Execution { row: Box::new(row), expect: expectation(expected) }
        });
    let step = (key(), 0..4_u64, 1..5_u64, any::<u8>()).prop_map(|(key, expected, revision, mark)| {
        let mut row = claimed_step(key, &mark.to_string());
        while row.revision() < revision {
            row = succeeded_step(&row, BTreeMap::from([("mark".to_owned(), json!(mark))]));
        }
        Write::Step { row: Box::new(row), expect: expectation(expected) }
    });
    let attempt = (key(), 1..3_u32, 0..4_usize)
        .prop_map(|(key, attempt, records)| Write::Attempt(Box::new(attempt_row(key, attempt, records))));
    let unite = (bucket(), 0..32_u32, any::<(bool, bool, bool)>()).prop_map(|(key, place, flags)| {
        let outcome = NeedOutcome { satisfied: flags.0, failed_above: flags.1, continued_above: flags.2 };
        Write::Unite { key, place, outcome }
    });
    let call = || {
        (run(), key(), 1..3_u32).prop_map(|(owner, key, attempt)| (ExecutionId::new(owner), AgentCall { key, attempt }))
    };
    let enter = (call(), 1..4_u64).prop_map(|((owner, call), most)| Write::EnterCall {
        owner,
        call,
        budget: Budget { max_agent_calls: Some(most), ..Budget::default() },
    });
    let settle = (call(), proptest::option::of(0..5_u32)).prop_map(|((owner, call), cents)| {
        let usage = |cents| Usage { cost_usd: Some(f64::from(cents) / 100.0), ..Usage::default() };
        Write::SettleCall { owner, call, usage: cents.map(usage) }
    });
    let take = (group(), run(), 1..=EPOCHS, 1..3_u32, any::<bool>()).prop_map(|(group, run, epoch, limit, waits)| {
        let member = Member { execution: ExecutionId::new(run), epoch: Epoch(epoch), limit };
        Write::TakeTurn { group: group.to_owned(), member, waits }
    });
    let leave = (group(), run(), 1..=EPOCHS).prop_map(|(group, run, epoch)| Write::LeaveGroup {
        group: group.to_owned(),
        execution: ExecutionId::new(run),
        epoch: Epoch(epoch),
    });
    prop_oneof![
        4 => execution, 10 => step, 2 => attempt, 4 => unite, 2 => enter, 2 => settle, 2 => take, 1 => leave,
        4 => artifact_write()
    ]
}

/// A write about one of few versions of two names.
fn artifact_write() -> impl Strategy<Value = Write> {
    let path = || proptest::option::of((proptest::sample::select(&STEPS[..]), proptest::option::of(0..ITEMS)));
    let path = move || path().prop_map(|path| path.map(|(step, child)| StepPath { step: StepId::new(step), child }));
    let register = (name(), run(), 1..=EPOCHS, path(), 0..3_u8).prop_map(|(name, run, epoch, path, content)| {
        Write::Artifact(Box::new(artifact(name, run, epoch, path, &content.to_string())))
    });
    let read = (name(), run(), path(), 1..5_u64).prop_map(|(name, run, step, number)| {
        let (execution, artifact) = (ExecutionId::new(run), artifact_name(name));
        Write::ReadArtifact(ArtifactRead { execution, step, artifact, number })
    });
    let tag = (name(), proptest::sample::select(&["v1", "run"][..]), proptest::option::of(1..5_u64)).prop_map(
        |(name, tag, number)| Write::TagArtifact { artifact: artifact_name(name), tag: tag.to_owned(), number },
    );
    let drop = (name(), 1..5_u64, 0..3_u64).prop_map(|(name, number, uses)| Write::DropArtifact {
        artifact: artifact_name(name),
        number,
        uses,
    });
    prop_oneof![4 => register, 2 => read, 1 => tag, 1 => drop]
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["report", "report[1]"][..])
}

fn run() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&RUNS[..])
}

fn group() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&GROUPS[..])
}

fn key() -> impl Strategy<Value = StepKey> {
    (run(), 1..=EPOCHS, proptest::sample::select(&STEPS[..]), proptest::option::of(0..ITEMS)).prop_map(
        |(run, epoch, step, item)| match item {
            None => step_key(run, epoch, step),
            Some(item) => child_key(run, epoch, step, item),
        },
    )
}

fn bucket() -> impl Strategy<Value = JoinKey> {
    (run(), 1..=EPOCHS, proptest::sample::select(&STEPS[..]), 0..2_u8, 0..2_u32, any::<bool>()).prop_map(
        |(run, epoch, step, level, bucket, children)| {
            let kind = if children { JoinKind::Children } else { JoinKind::Needs };
            JoinKey { kind, ..join_key(run, epoch, step, level, bucket) }
        },
    )
}

/// No row is at revision 0, so that stands for "none".
fn expectation(revision: u64) -> Expectation {
    if revision == 0 { Expectation::Absent } else { Expectation::Revision(revision) }
}

/// All that a store tells of the keys above.
#[derive(Debug, PartialEq)]
struct Told {
    executions: Vec<Option<ExecutionRow>>,
    listed: Vec<Vec<ExecutionId>>,
    due: Vec<ExecutionId>,
    steps: Vec<BTreeMap<StepKey, StepRow>>,
    newest: Vec<Vec<Option<StepRow>>>,
    children: Vec<(Vec<StepRow>, Option<u32>)>,
    attempts: Vec<Vec<AttemptRow>>,
    buckets: Vec<Option<JoinRow>>,
    budgets: Vec<Option<BudgetRow>>,
    groups: Vec<Option<GroupRow>>,
    artifacts: Vec<ArtifactVersion>,
    named: Vec<Option<ArtifactVersion>>,
    tags: Vec<(String, u64)>,
    reads: Vec<ArtifactRead>,
}

async fn told(store: &dyn StateStore) -> Told {
    let mut told = Told {
        executions: vec![],
        listed: vec![],
        due: store.due(time(25), 10).await.unwrap(),
        steps: vec![],
        newest: vec![],
        children: vec![],
        attempts: vec![],
        buckets: vec![],
        budgets: vec![],
        groups: vec![],
        artifacts: store.artifacts(&ArtifactFilter::default(), None, 1000).await.unwrap().rows,
        named: vec![],
        tags: vec![],
        reads: vec![],
    };
    for name in ["report", "report[1]"].map(artifact_name) {
        for which in ["run", "run2", "v1"].map(|word| Which::Named(word.to_owned())).into_iter().chain([Which::Latest])
        {
            told.named.push(store.artifact(&name, &which).await.unwrap());
        }
        told.tags.extend(store.artifact_tags(&name).await.unwrap());
        told.reads.extend(store.artifact_readers(&name, 1).await.unwrap());
    }
    for group in GROUPS {
        told.groups.push(store.group(group).await.unwrap());
    }
    for status in ExecutionStatus::ALL.map(Some).into_iter().chain([None]) {
        let page = store.executions(&ExecutionFilter { status, ..ExecutionFilter::default() }, None, 10).await.unwrap();
        told.listed.push(page.rows.into_iter().map(|row| row.id).collect());
    }
    let all_steps = STEPS.map(StepId::new);
    for run in RUNS {
        let id = ExecutionId::new(run);
        told.budgets.push(store.budget(&id).await.unwrap());
        told.artifacts.extend(store.artifacts_made_by(&id).await.unwrap());
        told.reads.extend(store.artifacts_read_by(&id).await.unwrap());
        told.executions.push(store.execution(&id).await.unwrap());
        let page = store.steps(&id, None, 100).await.unwrap();
        told.steps.push(page.rows.into_iter().map(|row| (row.key.clone(), row)).collect());
        for epoch in 1..=EPOCHS {
            told.newest.push(store.newest_steps(&id, Epoch(epoch), &all_steps).await.unwrap());
            for step in STEPS {
                let (epoch, step_id) = (Epoch(epoch), StepId::new(step));
                let children = store.children(&id, epoch, &step_id, 1, 2).await.unwrap();
                told.children.push((children, store.last_child(&id, epoch, &step_id).await.unwrap()));
                told.attempts.push(store.attempts(&step_key(run, epoch.0, step)).await.unwrap());
                told.attempts.push(store.attempts(&child_key(run, epoch.0, step, 1)).await.unwrap());
                for (level, bucket) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let key = join_key(run, epoch.0, step, level, bucket);
                    told.buckets.push(store.join(&JoinKey { kind: JoinKind::Children, ..key.clone() }).await.unwrap());
                    told.buckets.push(store.join(&key).await.unwrap());
                }
            }
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is committed, one after the other or at once, the file and the memory tell the same.
    #[test]
    fn a_file_and_memory_tell_the_same(
        commits in proptest::collection::vec(proptest::collection::vec(write(), 0..8), 1..24),
        reopened_after in 0..24_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let files = Files::new();
            let path = files.next();
            let (mut file, memory) = (Arc::new(LocalStateStore::open(&path).unwrap()), MemoryStateStore::default());
            for (number, writes) in commits.into_iter().enumerate() {
                let expected = memory.commit(writes.clone()).await.unwrap();
                prop_assert_eq!(file.commit(writes).await.unwrap(), expected);
                if number == reopened_after {
                    drop(file);
                    file = Arc::new(LocalStateStore::open(&path).unwrap());
                }
            }
            prop_assert_eq!(told(&*file).await, told(&memory).await);
            Ok(())
        })?;
    }

    /// Two stores on one file, as two processes have it: what one of them committed, the other tells at once, whatever it keeps in memory.
    #[test]
    fn stores_that_share_a_file_tell_the_same(
        commits in proptest::collection::vec(
            (proptest::collection::vec(write(), 0..4), any::<bool>(), proptest::bool::weighted(0.2)),
            1..24,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let files = Files::new();
            let path = files.next();
            let stores = [(); 2].map(|()| LocalStateStore::open(&path).unwrap());
            let memory = MemoryStateStore::default();
            let other_program = Connection::open(&path).unwrap();
            for (writes, by_second, log_begins_anew) in commits {
                let expected = memory.commit(writes.clone()).await.unwrap();
                prop_assert_eq!(stores[usize::from(by_second)].commit(writes).await.unwrap(), expected);
                if log_begins_anew {
                    other_program.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                }
                let expected = rows(&memory).await;
                for store in &stores {
                    prop_assert_eq!(&rows(store).await, &expected);
                }
            }
            Ok(())
        })?;
    }
}

/// The rows that a store may keep in memory.
async fn rows(store: &dyn StateStore) -> (Vec<Option<ExecutionRow>>, Vec<Option<StepRow>>) {
    let (mut executions, mut steps) = (vec![], vec![]);
    for run in RUNS {
        executions.push(store.execution(&ExecutionId::new(run)).await.unwrap());
        for epoch in 1..=EPOCHS {
            steps.extend(
                store.newest_steps(&ExecutionId::new(run), Epoch(epoch), &STEPS.map(StepId::new)).await.unwrap(),
            );
            for step in STEPS {
                steps.push(store.step(&step_key(run, epoch, step)).await.unwrap());
                steps.push(store.step(&child_key(run, epoch, step, 1)).await.unwrap());
            }
        }
    }
    (executions, steps)
}
