use std::collections::BTreeMap;

use ratchet_core::{ids::ExecutionId, status::ExecutionStatus};
use ratchet_engine::ports::{ExecutionFilter, StateStore, Write};
use ratchet_testkit::builders::{
    child_key, ended_execution, execution_row, put_execution, put_step, replace_execution, replace_step, step_key,
    step_row, succeeded_step,
};

use super::{LocalStateStore, fresh};

#[tokio::test]
async fn whoever_watches_sees_each_change_and_nothing_else() {
    let (_folder, store) = fresh();
    let other = LocalStateStore::open(store.path()).unwrap();
    let run = ExecutionId::new("run");
    let looks = || (store.unfinished().unwrap(), store.changes_of(&run).unwrap());
    let mut moment = store.moment();
    let mut seen = looks();
    let mut step = async |write: Write, list: bool, shown: bool, what: &str| {
        assert!(store.moment() == moment && looks() == seen, "nothing has changed before {what}");
        assert_eq!(other.commit(vec![write]).await.unwrap().conflict, None, "{what}");
        assert!(store.moment() != moment, "{what}");
        let now = looks();
        assert_eq!((now.0 != seen.0, now.1 != seen.1), (list, shown), "{what}");
        moment = store.moment();
        seen = now;
    };
    let row = execution_row("run");
    let build = step_row(step_key("run", 1, "build"));
    step(put_execution(&row), true, true, "an execution").await;
    step(put_execution(&execution_row("run2")), true, false, "one with a longer name").await;
    step(put_step(&build), false, true, "a step").await;
    step(replace_step(&succeeded_step(&build, BTreeMap::new()), build.revision()), false, true, "its end").await;
    step(put_step(&step_row(child_key("run", 1, "each", 7))), false, true, "a child").await;
    step(put_step(&step_row(step_key("run.deploy", 1, "build"))), false, true, "a step of a part").await;
    step(put_step(&step_row(step_key("run2", 1, "build"))), false, false, "a step of another").await;
    let ended = ended_execution(&row, ExecutionStatus::Completed);
    step(replace_execution(&ended, row.revision), true, true, "an end").await;
}

#[tokio::test]
async fn executions_are_found_by_a_part_of_their_names_and_counted() {
    let (_folder, store) = fresh();
    for (id, workflow, status) in [
        ("20260101-aaa", "Release", None),
        ("20260102-bbb", "lint", Some(ExecutionStatus::Failed)),
        ("20260103-ccc", "re_lease", None),
        ("20260103-ccc.part", "lint", None),
    ] {
        let mut row = execution_row(id);
        workflow.clone_into(&mut row.definition.name);
        store.commit(vec![put_execution(&row)]).await.unwrap();
        if let Some(status) = status {
            store.commit(vec![replace_execution(&ended_execution(&row, status), row.revision)]).await.unwrap();
        }
    }
    let roots = ExecutionFilter { roots_only: true, ..ExecutionFilter::default() };
    let found = |text: &str, after: Option<&str>, limit: usize| {
        let after = after.map(ExecutionId::new);
        let page = store.executions_with(text, &roots, after.as_ref(), limit).unwrap();
        let names: Vec<String> = page.rows.iter().map(|row| row.id.to_string()).collect();
        (names.join(" "), page.more)
    };
    assert_eq!(found("RELEASE", None, 9), ("20260101-aaa".to_owned(), false));
    assert_eq!(found("0102", None, 9), ("20260102-bbb".to_owned(), false));
    assert_eq!(found("_", None, 9), ("20260103-ccc".to_owned(), false), "a text is no pattern");
    assert_eq!(found("", None, 2), ("20260103-ccc 20260102-bbb".to_owned(), true));
    assert_eq!(found("", Some("20260102-bbb"), 2), ("20260101-aaa".to_owned(), false));
    let overview = store.overview().unwrap();
    assert_eq!(overview.by_status, BTreeMap::from([("failed".to_owned(), 1), ("running".to_owned(), 2)]));
    assert_eq!(overview.by_workflow.values().sum::<i64>(), 3);
}
