use jiff::Timestamp;
use ratchet_engine::{
    figures::{AttemptFact, Ledger, RunFact, StepFact},
    ports::StoreError,
};
use rusqlite::{Connection, params};

use super::{LocalStateStore, error::StoreFailure, row::nanoseconds};

impl LocalStateStore {
    /// What is known of executions, of one workflow or of all, that were asked for from a time on, and of all that their steps started. As it stood at one moment.
    pub fn ledger(&self, workflow: Option<&str>, from: Option<Timestamp>) -> Result<Ledger, StoreError> {
        let from = from.map_or(i64::MIN, nanoseconds);
        self.readers.read(|connection| {
            let moment = connection.unchecked_transaction()?;
            let mut ledger = Ledger::default();
            let each = |table, id, give: &mut dyn FnMut(&str) -> serde_json::Result<()>| {
                each_body(&moment, (table, id), workflow, from, give)
            };
            each("execution", "id", &mut |body| {
                ledger.add_run(RunFact::read(body)?);
                Ok(())
            })?;
            for table in ["step", "child"] {
                each(table, "execution", &mut |body| {
                    ledger.add_step(StepFact::read(body)?);
                    Ok(())
                })?;
            }
            each("attempt", "execution", &mut |body| {
                ledger.add_attempt(&AttemptFact::read(body)?);
                Ok(())
            })?;
            Ok(ledger)
        })
    }
}

fn each_body(
    connection: &Connection,
    (table, id): (&str, &str),
    workflow: Option<&str>,
    from: i64,
    give: &mut dyn FnMut(&str) -> serde_json::Result<()>,
) -> Result<(), StoreFailure> {
    // Each is a statement of its own, so that its conditions can use an index.
    let of_workflow = workflow.map_or("", |_| "AND root.workflow = ?2");
    // Names of runs that steps started begin with that of their root and a point: what follows a point in the order of names is a slash. In this order each table is looked
    // up by its own key, and no row of another run is read.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT one.body FROM execution AS root CROSS JOIN {table} AS one
         WHERE one.{id} >= root.id AND one.{id} < root.id || '/' AND (one.{id} = root.id OR one.{id} > root.id || '.')
         AND instr(root.id, '.') = 0 AND root.created_at >= ?1 {of_workflow}"
    ))?;
    let mut rows = match workflow {
        Some(workflow) => statement.query(params![from, workflow])?,
        None => statement.query(params![from])?,
    };
    while let Some(row) = rows.next()? {
        give(row.get_ref(0)?.as_str()?)
            .map_err(|error| StoreFailure::Row(format!("a row of the table {table} cannot be read: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use ratchet_core::{
        ids::ExecutionId,
        output::Output,
        status::ExecutionStatus,
        step::{StepResult, Usage},
        transition::StepTransition,
    };
    use ratchet_engine::{
        figures::{Name, Sums, Tally},
        ports::StateStore,
    };
    use ratchet_testkit::builders::{
        changed_step, child_key, ended_execution, execution_row, failed_step, put_execution, put_step, step_key,
        step_row, step_with_result, time,
    };
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn result(cost: f64) -> StepResult {
        let usage = Usage { process_ms: 700, cost_usd: Some(cost), tokens: Some(5), ..Usage::default() };
        let models = json!({"large": {"cost_usd": cost, "tokens": 5}});
        StepResult {
            usage,
            outputs: BTreeMap::from([("models".to_owned(), Output::Json(models))]),
            ..Default::default()
        }
    }

    fn tally(sums: &Sums, step: Option<&str>) -> Tally {
        let name = Name { workflow: "example".to_owned(), step: step.map(str::to_owned) };
        sums.tallies.get(&name).cloned().unwrap_or_default()
    }

    /// Rows as the engine writes them are read as what they are, those of the runs that are meant and no others.
    #[tokio::test]
    async fn the_rows_of_the_runs_that_are_meant() {
        let folder = TempDir::new().unwrap();
        let store = LocalStateStore::open(&folder.path().join("state.db")).unwrap();
        let mut writes = Vec::new();
        for (id, age) in [("run-1", 0), ("run-1-of-another", 10), ("run-2", 100)] {
            let mut row = ended_execution(&execution_row(id), ExecutionStatus::Completed);
            row.created_at = time(1_000 - age);
            row.revision = 1;
            writes.push(put_execution(&row));
            let agent = step_with_result(&step_row(step_key(id, 1, "agent")), result(0.25));
            let child = step_with_result(&step_row(child_key(id, 1, "each", 0)), result(0.5));
            let fails = failed_step(
                &step_row(step_key(id, 1, "fails")),
                ratchet_core::step::StepFailure::new(ratchet_core::step::FailureClass::Timeout, "slow"),
            );
            let waits = changed_step(
                &step_row(step_key(id, 1, "waits")),
                StepTransition::WaitBegan { due: time(9_000), predecessor: None },
            );
            writes.extend([agent, child, fails, waits].iter().map(put_step));
        }
        let mut nested = execution_row("run-1.abc");
        nested.id = ExecutionId::new("run-1.abc");
        writes.push(put_execution(&nested));
        writes.push(put_step(&step_with_result(&step_row(step_key("run-1.abc", 1, "inner")), result(1.0))));
        let committed = store.commit(writes).await.unwrap();
        assert_eq!(committed.conflict, None);

        let sums = |workflow, from| store.ledger(workflow, from).unwrap().done(&HashMap::new());
        let all = sums(None, None);
        let whole = tally(&all, None);
        assert_eq!((whole.runs, whole.succeeded, whole.spent.calls, whole.spent.cost_usd), (3, 3, 7, 3.25));
        assert_eq!((whole.spent.process_ms, whole.spent.tokens), (4_900, 35));
        assert_eq!((tally(&all, Some("fails")).failed, tally(&all, Some("waits")).runs), (3, 3));
        let each = tally(&all, Some("each")).spent;
        assert_eq!((each.calls, each.cost_usd), (3, 1.5));
        let newest = tally(&sums(Some("example"), Some(time(1_000))), None);
        assert_eq!((newest.runs, newest.spent.cost_usd), (1, 1.75), "with the run that its step started");
        assert_eq!(sums(Some("other"), None), Sums::default());
        let models: Vec<(String, f64)> =
            all.models.into_iter().map(|((model, _), spent)| (model, spent.spent.cost_usd)).collect();
        assert_eq!(models, [("large".to_owned(), 3.25)]);
    }
}
