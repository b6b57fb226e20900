use std::collections::BTreeMap;

use ratchet_core::{
    cached::{CacheUse, Found, Hit},
    ids::{Digest, Epoch, ExecutionId, StepId},
    join::{JoinKey, JoinKind, JoinRow, NeedOutcome},
    output::{BlobRef, FileValue, Output},
    status::ExecutionStatus,
    step::{FailureClass, StepFailure, StepResult, Usage},
    transition::{Ending, ExecutionTransition},
};
use ratchet_engine::ports::{Conflict, Current, Write, WriteOutcome};
use serde_json::json;

use super::{Store, answer, commit, commit_conflicting};
use crate::builders::{
    attempt_row, changed_execution, child_key, claimed_step, ended_execution, execution_row, failed_step, join_key,
    put_execution, put_step, replace_execution, replace_step, step_key, step_row, step_with_result, succeeded_step,
    time,
};

pub(super) async fn a_commit_is_a_prefix_of_its_writes(store: Store) {
    let [a, b, c] = ["a", "b", "c"].map(|step| step_row(step_key("run", 1, step)));
    let rival = claimed_step(a.key.clone(), "rival");

    let committed = commit_conflicting(&store, vec![put_step(&a), put_step(&b), put_step(&rival), put_step(&c)]).await;

    assert_eq!(committed.applied, vec![WriteOutcome::Written, WriteOutcome::Written]);
    assert_eq!(committed.conflict, Some(Conflict { position: 2, current: Current::Step(Box::new(a.clone())) }));
    assert_eq!(answer(store.step(&a.key).await), Some(a), "the first write stays");
    assert_eq!(answer(store.step(&b.key).await), Some(b), "the second write stays");
    assert_eq!(answer(store.step(&c.key).await), None, "what follows a conflict is not applied");

    let unconditional = vec![
        replace_step(&c, 7),
        Write::Attempt(Box::new(attempt_row(c.key.clone(), 1, 1))),
        Write::Unite { key: join_key("run", 1, "c", 0, 0), place: 0, outcome: NeedOutcome::FINE },
        put_execution(&execution_row("run")),
    ];
    let committed = commit_conflicting(&store, unconditional).await;
    assert_eq!(committed.conflict, Some(Conflict { position: 0, current: Current::Absent }));
    assert_eq!(answer(store.attempts(&c.key).await), vec![]);
    assert_eq!(answer(store.join(&join_key("run", 1, "c", 0, 0)).await), None);
    assert_eq!(answer(store.execution(&ExecutionId::new("run")).await), None);
    assert_eq!(answer(store.commit(vec![]).await).applied, vec![], "a commit of nothing changes nothing");
}

pub(super) async fn a_write_sees_those_before_it(store: Store) {
    let run = execution_row("run");
    let ended = ended_execution(&run, ExecutionStatus::Completed);
    let claimed = step_row(step_key("run", 1, "a"));
    let succeeded = succeeded_step(&claimed, BTreeMap::new());
    let bucket = join_key("run", 1, "b", 0, 0);
    let arrive = |place| Write::Unite { key: bucket.clone(), place, outcome: NeedOutcome::FINE };

    let outcomes = commit(
        &store,
        vec![
            put_execution(&run),
            put_step(&claimed),
            replace_step(&succeeded, 1),
            arrive(0),
            arrive(1),
            replace_execution(&ended, 1),
        ],
    )
    .await;

    let united = |ok| WriteOutcome::United(JoinRow { ok, ..JoinRow::empty(bucket.clone()) });
    let written = || WriteOutcome::Written;
    assert_eq!(outcomes, vec![written(), written(), written(), united(0b01), united(0b11), written()]);
    assert_eq!(answer(store.execution(&run.id).await), Some(ended));
    assert_eq!(answer(store.step(&claimed.key).await), Some(succeeded));
}

pub(super) async fn a_conflict_shows_the_row_that_is_there(store: Store) {
    let run = execution_row("run");
    let step = step_row(step_key("run", 1, "a"));
    let absent = Some(Conflict { position: 0, current: Current::Absent });
    for write in [replace_execution(&run, 1), replace_step(&step, 1)] {
        assert_eq!(commit_conflicting(&store, vec![write]).await.conflict, absent, "there is no row yet");
    }
    commit(&store, vec![put_execution(&run), put_step(&step)]).await;

    let paused = changed_execution(
        &run,
        ExecutionTransition::Paused { reason: "a limit".to_owned(), step: None, wake_at: None },
    );
    let there = Some(Conflict { position: 0, current: Current::Execution(Box::new(run.clone())) });
    for write in [put_execution(&paused), replace_execution(&paused, 0), replace_execution(&paused, 2)] {
        assert_eq!(commit_conflicting(&store, vec![write]).await.conflict, there);
    }
    assert_eq!(answer(store.execution(&run.id).await), Some(run.clone()), "a conflict changes nothing");
    commit(&store, vec![replace_execution(&paused, 1)]).await;

    let child = step_row(child_key("run", 1, "a", 0));
    commit(&store, vec![put_step(&child)]).await;
    for row in [step, child] {
        let succeeded = succeeded_step(&row, BTreeMap::new());
        let there = Some(Conflict { position: 0, current: Current::Step(Box::new(row.clone())) });
        for write in [put_step(&succeeded), replace_step(&succeeded, 0), replace_step(&succeeded, 2)] {
            assert_eq!(commit_conflicting(&store, vec![write]).await.conflict, there);
        }
        assert_eq!(answer(store.step(&row.key).await), Some(row.clone()), "a conflict changes nothing");
        commit(&store, vec![replace_step(&succeeded, 1)]).await;
        let there = Some(Conflict { position: 0, current: Current::Step(Box::new(succeeded.clone())) });
        assert_eq!(commit_conflicting(&store, vec![replace_step(&succeeded, 1)]).await.conflict, there);
    }
    // Rows of one step in two epochs, and of a step and its children, have nothing to do with each other.
    commit(&store, vec![put_step(&step_row(step_key("run", 2, "a"))), put_step(&step_row(step_key("other", 1, "a")))])
        .await;
}

pub(super) async fn an_attempts_item_is_kept_once(store: Store) {
    let key = step_key("run", 1, "a");
    let item = |attempt, records| Write::Attempt(Box::new(attempt_row(key.clone(), attempt, records)));
    commit(&store, vec![item(10, 2), item(9, 1)]).await;
    commit(&store, vec![item(9, 1), item(1, 3), item(10, 2)]).await;
    let rows = [(1, 3), (9, 1), (10, 2)].map(|(attempt, records)| attempt_row(key.clone(), attempt, records));
    assert_eq!(answer(store.attempts(&key).await), rows, "each once, oldest first");

    commit(&store, vec![item(9, 4), item(1, 2)]).await;
    let rows = [(1, 3), (9, 4), (10, 2)].map(|(attempt, records)| attempt_row(key.clone(), attempt, records));
    assert_eq!(answer(store.attempts(&key).await), rows, "of two items of an attempt the one with more records stays");
    assert_eq!(answer(store.attempts(&step_key("run", 2, "a")).await), vec![], "another epoch has attempts of its own");
}

pub(super) async fn a_union_is_idempotent_and_never_conflicts(store: Store) {
    let failed = NeedOutcome { satisfied: false, failed_above: true, continued_above: false };
    let continued = NeedOutcome { satisfied: true, failed_above: true, continued_above: true };
    let key = join_key("run", 1, "end", 0, 0);
    let mut expected = JoinRow::empty(key.clone());
    for (place, outcome) in
        [(0, NeedOutcome::FINE), (31, failed), (7, continued), (0, NeedOutcome::FINE), (31, failed), (30, continued)]
    {
        expected.unite(place, outcome);
        let outcomes = commit(&store, vec![Write::Unite { key: key.clone(), place, outcome }]).await;
        assert_eq!(outcomes, vec![WriteOutcome::United(expected.clone())]);
    }
    assert_eq!(answer(store.join(&key).await), Some(expected));

    let others = [
        JoinKey { kind: JoinKind::Children, ..key.clone() },
        JoinKey { level: 1, ..key.clone() },
        JoinKey { bucket: 1, ..key.clone() },
        JoinKey { epoch: Epoch(2), ..key.clone() },
        JoinKey { step: StepId::new("$end"), ..key.clone() },
        JoinKey { execution: ExecutionId::new("run2"), ..key },
    ];
    for other in others {
        assert_eq!(answer(store.join(&other).await), None, "no arrival at another bucket");
    }
}

pub(super) async fn a_row_comes_back_as_it_was_written(store: Store) {
    let mut run = execution_row("0198f3c4-7d7b-7cc0-8000-000000000001");
    run.inputs = BTreeMap::from([
        ("text".to_owned(), Output::Json(json!("zero \u{0} quote ' \" newline \n emoji 🙂"))),
        ("numbers".to_owned(), Output::Json(json!([0.1, -1, u64::MAX, 1e300]))),
    ]);
    run.environment = BTreeMap::from([("EMPTY".to_owned(), String::new())]);
    run.trigger = json!({"deep": {"null": null, "list": [[], {}]}});
    run.deadline = Some(time(3600));
    let run =
        changed_execution(&run, ExecutionTransition::EndingBegan { ending: Ending::TimedOut, deadline: time(4000) });
    commit(&store, vec![put_execution(&run)]).await;
    assert_eq!(answer(store.execution(&run.id).await), Some(run));

    let large = "x".repeat(100_000);
    let blob = BlobRef { digest: Digest::new("00ff"), size: u64::from(u32::MAX) + 1 };
    let result = StepResult {
        outputs: BTreeMap::from([
            ("large".to_owned(), Output::Json(json!(large))),
            ("file".to_owned(), Output::File(FileValue { path: "./a b.xml".to_owned(), content: blob.clone() })),
            ("each".to_owned(), Output::Each(vec![None, Some(Output::Stored(blob))])),
        ]),
        exit_code: Some(-1),
        usage: Usage { cost_usd: Some(0.1 + 0.2), tokens: Some(1), turns: None, ..Usage::default() },
        warning: Some("careful".to_owned()),
        concludes: true,
        cache: Some(Box::new(CacheUse {
            key: Digest::new("00fe"),
            found: Found::Hit(Box::new(Hit {
                from: step_key("other", 1, "s"),
                saved: Usage::default(),
                unproven: true,
            })),
        })),
        tree: Some(Digest::new("t1")),
        session: Some(BlobRef { digest: Digest::new("5e"), size: 7 }),
    };
    let claimed = step_row(step_key("run", 1, "$finally"));
    let succeeded = step_with_result(&claimed, result);
    let failure = StepFailure::new(FailureClass::Exit(137), "killed").with_code("RT-0300").with_detail("last\nwords");
    let failed = failed_step(&step_row(child_key("run", 1, "b", 3)), failure);
    commit(&store, vec![put_step(&succeeded), put_step(&failed)]).await;
    assert_eq!(answer(store.step(&succeeded.key).await), Some(succeeded));
    assert_eq!(answer(store.step(&failed.key).await), Some(failed));
}
