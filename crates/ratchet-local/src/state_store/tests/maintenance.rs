use std::collections::HashSet;

use ratchet_core::{
    execution::Resume,
    ids::{Digest, Epoch, ExecutionId},
    join::NeedOutcome,
    output::{BlobRef, FileValue, Output},
    step::{AttemptRow, StepResult},
};
use ratchet_engine::ports::{StateStore, Write};
use ratchet_testkit::builders::{
    attempt_row, child_key, execution_row, join_key, put_execution, put_step, step_key, step_row, step_with_result,
};

use super::fresh;

#[tokio::test]
async fn a_deleted_execution_leaves_nothing_and_its_room_can_be_had_back() {
    let (_folder, store) = fresh();
    let all_rows = |run: &str| {
        let mut writes = vec![
            put_execution(&execution_row(run)),
            put_step(&step_row(step_key(run, 1, "a"))),
            Write::Attempt(Box::new(attempt_row(step_key(run, 1, "a"), 1, 1))),
            Write::Unite { key: join_key(run, 1, "a", 0, 0), place: 0, outcome: NeedOutcome::FINE },
            Write::Resume { execution: ExecutionId::new(run), resume: Resume { epoch: Epoch(2), reset_from: vec![] } },
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

#[tokio::test]
async fn every_reference_of_every_row_is_found() {
    let (_folder, store) = fresh();
    let blob = |n: u32| BlobRef { digest: Digest::new(format!("{n:064x}")), size: 1 };
    let with_output = |key, output| {
        let result = StepResult { outputs: [("out".to_owned(), output)].into(), ..StepResult::default() };
        step_with_result(&step_row(key), result)
    };
    let mut run = execution_row("run");
    run.definition.digest = blob(1).digest;
    run.inputs.insert("file".to_owned(), Output::File(FileValue { path: "a".to_owned(), content: blob(2) }));
    let step = with_output(step_key("run", 1, "a"), Output::Stored(blob(3)));
    let child = with_output(child_key("run", 1, "b", 0), Output::Each(vec![None, Some(Output::Stored(blob(4)))]));
    let earlier = with_output(step_key("run", 1, "c"), Output::Stored(blob(5)));
    let earlier = AttemptRow { key: earlier.key, attempt: 1, records: earlier.records };
    let writes = vec![put_execution(&run), put_step(&step), put_step(&child), Write::Attempt(Box::new(earlier))];
    assert_eq!(store.commit(writes).await.unwrap().conflict, None);
    let expected: HashSet<Digest> = (1..=5).map(|n| blob(n).digest).collect();
    assert_eq!(store.referenced_digests().await.unwrap(), expected);
}
