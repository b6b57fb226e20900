use std::collections::BTreeSet;

use ratchet_core::{
    execution::ExecutionRow,
    ids::{Epoch, ExecutionId, StepId, StepKey},
    status::ExecutionStatus,
    step::StepRow,
};
use ratchet_engine::ports::ExecutionFilter;

use super::{Store, answer, commit, eventually};
use crate::builders::{
    child_key, ended_execution, execution_row, join_key, put_execution, put_step, replace_execution, step_key,
    step_row, time,
};

pub(super) async fn what_is_not_there_is_absent(store: Store) {
    let run = ExecutionId::new("run");
    let key = step_key("run", 1, "a");
    assert_eq!(answer(store.execution(&run).await), None);
    assert_eq!(answer(store.step(&key).await), None);
    assert_eq!(answer(store.step(&child_key("run", 1, "a", 0)).await), None);
    assert_eq!(answer(store.newest_steps(&run, Epoch(1), &[]).await), vec![]);
    assert_eq!(answer(store.newest_steps(&run, Epoch(1), &[StepId::new("a")]).await), vec![None]);
    let page = answer(store.steps(&run, None, 10).await);
    assert_eq!((page.rows, page.more), (vec![], false));
    assert_eq!(answer(store.children(&run, Epoch(1), &key.path.step, 0, 10).await), vec![]);
    assert_eq!(answer(store.last_child(&run, Epoch(1), &key.path.step).await), None);
    assert_eq!(answer(store.join(&join_key("run", 1, "a", 0, 0)).await), None);
    assert_eq!(answer(store.attempts(&key).await), vec![]);
    let page = answer(store.executions(&ExecutionFilter::default(), None, 10).await);
    assert_eq!((page.rows, page.more), (vec![], false));
    assert_eq!(answer(store.due(time(0), 10).await), vec![]);
}

pub(super) async fn the_newest_row_of_a_step_counts(store: Store) {
    // Epochs with two digits, names that are each other's beginning, another run's rows and a fan-out's children must not mislead it.
    let rows: Vec<StepRow> = [
        step_key("run", 1, "a"),
        step_key("run", 2, "a"),
        step_key("run", 10, "a"),
        step_key("run", 9, "ab"),
        step_key("run", 3, "$end"),
        step_key("run2", 5, "b"),
        child_key("run", 1, "fan", 0),
        child_key("run", 2, "a", 4),
    ]
    .map(step_row)
    .into();
    commit(&store, rows.iter().map(put_step).collect()).await;
    let row = |position: usize| Some(rows[position].clone());

    for (epoch, asked, expected) in [
        (1, vec!["a"], vec![row(0)]),
        (9, vec!["a"], vec![row(1)]),
        (10, vec!["$end", "b", "a", "ab", "a", "fan"], vec![row(4), None, row(2), row(3), row(2), None]),
        (8, vec!["ab", "a"], vec![None, row(1)]),
        (0, vec!["a"], vec![None]),
    ] {
        let steps: Vec<StepId> = asked.iter().copied().map(StepId::new).collect();
        let found = answer(store.newest_steps(&ExecutionId::new("run"), Epoch(epoch), &steps).await);
        assert_eq!(found, expected, "{asked:?} up to epoch {epoch}");
    }

    let steps = ["a", "b"].map(StepId::new);
    let found = answer(store.newest_steps(&ExecutionId::new("run3"), Epoch(1), &steps).await);
    assert_eq!(found, [None, None], "a run without rows");

    let many: Vec<StepRow> = (0..1500).map(|n| step_row(step_key("wide", 1, &format!("s{n}")))).collect();
    commit(&store, many.iter().map(put_step).collect()).await;
    let steps: Vec<StepId> = many.iter().rev().map(|row| row.key.path.step.clone()).collect();
    let found = answer(store.newest_steps(&ExecutionId::new("wide"), Epoch(1), &steps).await);
    assert!(found.into_iter().eq(many.into_iter().rev().map(Some)), "as many as are asked, in the order asked");
}

pub(super) async fn steps_come_by_page_without_children(store: Store) {
    let keys: Vec<StepKey> = (1..=2)
        .flat_map(|epoch| ["c", "a", "$end", "b10", "b9"].map(|step| step_key("run", epoch, step)))
        .chain([step_key("run", 10, "a")])
        .collect();
    let strangers = [child_key("run", 1, "a", 0), child_key("run", 1, "b9", 7), step_key("run2", 1, "a")];
    commit(&store, keys.iter().chain(&strangers).cloned().map(|key| put_step(&step_row(key))).collect()).await;

    let expected: BTreeSet<StepKey> = keys.into_iter().collect();
    let mut orders = BTreeSet::new();
    for limit in [1, 2, 3, 10, 11, 12, 1000] {
        let mut found: Vec<StepKey> = Vec::new();
        loop {
            let page = answer(store.steps(&ExecutionId::new("run"), found.last(), limit).await);
            assert!(page.rows.len() <= limit, "a page has at most {limit} rows");
            assert_eq!(page.more, found.len() + page.rows.len() < expected.len(), "whether there are more is exact");
            found.extend(page.rows.into_iter().map(|row| row.key));
            if !page.more {
                break;
            }
        }
        assert_eq!(found.len(), expected.len(), "each comes once");
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
        orders.insert(found);
    }
    assert_eq!(orders.len(), 1, "the order does not depend on the page's size");
}

pub(super) async fn children_come_in_the_order_of_their_items(store: Store) {
    let items = [11, 2, 0, 1000, 9, 10];
    let keys = items.map(|item| child_key("run", 2, "fan", item));
    let strangers = [
        step_key("run", 2, "fan"),
        child_key("run", 1, "fan", 3),
        child_key("run", 2, "fan2", 5),
        child_key("r", 2, "fan", 4),
    ];
    commit(&store, keys.into_iter().chain(strangers).map(|key| put_step(&step_row(key))).collect()).await;

    let (run, fan) = (ExecutionId::new("run"), StepId::new("fan"));
    for (from, limit, expected) in [
        (0, 100, vec![0, 2, 9, 10, 11, 1000]),
        (0, 2, vec![0, 2]),
        (2, 3, vec![2, 9, 10]),
        (3, 2, vec![9, 10]),
        (1001, 5, vec![]),
        (0, 0, vec![]),
    ] {
        let found = answer(store.children(&run, Epoch(2), &fan, from, limit).await);
        let items: Vec<u32> = found.iter().filter_map(|row| row.key.path.child).collect();
        assert_eq!(items, expected, "from item {from}, at most {limit}");
    }
    assert_eq!(answer(store.last_child(&run, Epoch(2), &fan).await), Some(1000));
    assert_eq!(answer(store.last_child(&run, Epoch(1), &fan).await), Some(3));
    assert_eq!(answer(store.last_child(&run, Epoch(3), &fan).await), None);
}

pub(super) async fn executions_come_newest_first(store: Store) {
    // Two of one moment, and one whose name would come first.
    let ages = [("key", 1), ("02", 2), ("03", 3), ("04", 3), ("05", 4)];
    let rows = ages.map(|(id, second)| ExecutionRow { created_at: time(second), ..execution_row(id) });
    commit(&store, rows.iter().rev().map(put_execution).collect()).await;
    let list = async |after: Option<&'static str>, limit| {
        let after = after.map(ExecutionId::new);
        let page = answer(store.executions(&ExecutionFilter::default(), after.as_ref(), limit).await);
        (page.rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>(), page.more)
    };
    for (after, limit, expected, more) in [
        (None, 10, vec!["05", "04", "03", "02", "key"], false),
        (None, 5, vec!["05", "04", "03", "02", "key"], false),
        (None, 2, vec!["05", "04"], true),
        (Some("04"), 2, vec!["03", "02"], true),
        (Some("02"), 2, vec!["key"], false),
        (Some("key"), 2, vec![], false),
    ] {
        let expected = (expected.into_iter().map(str::to_owned).collect(), more);
        eventually(expected, || list(after, limit)).await;
    }
}

pub(super) async fn executions_are_filtered(store: Store) {
    let mut runs = Vec::new();
    for (n, workflow) in ["fix", "fix-all", "fix", "cover", "fix"].into_iter().enumerate() {
        let mut run = execution_row(&format!("0{n}"));
        workflow.clone_into(&mut run.definition.name);
        runs.push(run);
    }
    commit(&store, runs.iter().map(put_execution).collect()).await;
    let ended = [0, 3].map(|n: usize| ended_execution(&runs[n], ExecutionStatus::Failed));
    commit(&store, ended.iter().map(|run| replace_execution(run, 1)).collect()).await;

    let list = async |workflow: Option<&'static str>, status, after: Option<&'static str>, limit| {
        let filter = ExecutionFilter { workflow: workflow.map(str::to_owned), status, roots_only: false };
        let page = answer(store.executions(&filter, after.map(ExecutionId::new).as_ref(), limit).await);
        (page.rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>(), page.more)
    };
    let running = Some(ExecutionStatus::Running);
    for (workflow, status, after, limit, expected, more) in [
        (Some("fix"), None, None, 10, vec!["04", "02", "00"], false),
        (Some("fix"), None, Some("04"), 1, vec!["02"], true),
        (Some("fix"), running, None, 2, vec!["04", "02"], false),
        (None, Some(ExecutionStatus::Failed), None, 10, vec!["03", "00"], false),
        (None, running, None, 2, vec!["04", "02"], true),
        (None, Some(ExecutionStatus::Paused), None, 2, vec![], false),
        (Some("nothing"), None, None, 2, vec![], false),
    ] {
        let expected = (expected.into_iter().map(str::to_owned).collect(), more);
        eventually(expected, || list(workflow, status, after, limit)).await;
    }
}

pub(super) async fn due_executions_come_earliest_first(store: Store) {
    let wake =
        [("a", Some(time(30))), ("b", Some(time(10))), ("c", None), ("d", Some(time(20))), ("e", Some(time(10)))];
    let runs: Vec<ExecutionRow> =
        wake.into_iter().map(|(id, wake_at)| ExecutionRow { wake_at, ..execution_row(id) }).collect();
    commit(&store, runs.iter().map(put_execution).collect()).await;
    let due =
        async |now, limit| answer(store.due(now, limit).await).iter().map(ToString::to_string).collect::<Vec<_>>();
    let almost = time(20) - jiff::SignedDuration::from_nanos(1);
    for (now, limit, expected) in [
        (time(9), 10, vec![]),
        (time(10), 10, vec!["b", "e"]),
        (almost, 10, vec!["b", "e"]),
        (time(20), 10, vec!["b", "e", "d"]),
        (time(99), 3, vec!["b", "e", "d"]),
        (time(99), 10, vec!["b", "e", "d", "a"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        eventually(expected, || due(now, limit)).await;
    }

    // An execution that sleeps again, or that has ended, is no longer due.
    let asleep = ExecutionRow { wake_at: Some(time(500)), revision: 2, ..runs[1].clone() };
    let ended = ended_execution(&runs[3], ExecutionStatus::Completed);
    commit(&store, vec![replace_execution(&asleep, 1), replace_execution(&ended, 1)]).await;
    eventually(vec!["e".to_owned(), "a".to_owned()], || due(time(99), 10)).await;
}
