//! Every record of an execution, in one order, and whether each row's chain is whole.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
};

use jiff::Timestamp;
use ratchet_core::{
    execution::ExecutionRow,
    history::{Actor, Chain, Record},
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
    workflow::Workflow,
};
use ratchet_engine::{
    masks::Masks,
    ports::{StateStore, StoreError},
};
use serde::Serialize;
use serde_json::Value;

/// How many rows are read at once.
const PAGE: usize = 500;

/// The history of an execution.
#[derive(Debug)]
pub(crate) struct History {
    /// Every record: causes before what they caused, then by time, row and number.
    pub(crate) entries: Vec<Entry>,
    /// What is wrong with the chains; empty where all are whole.
    pub(crate) breaks: Vec<String>,
}

/// One record, with the row that it changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entry {
    /// When.
    pub(crate) at: Timestamp,
    /// The row: `execution`, or the step's epoch and path.
    pub(crate) row: String,
    /// The change's number in its row.
    pub(crate) number: u64,
    /// Who.
    pub(crate) actor: Actor,
    /// What made it happen.
    pub(crate) cause: String,
    /// What changed; sensitive inputs are masked in it.
    pub(crate) change: Value,
    /// Seals this record and all before it in its row.
    pub(crate) hash: String,
}

/// The records of one row, oldest first, and which other rows it came after.
struct Sequence {
    entries: Vec<Entry>,
    /// Records (row, position) that stand before the first of this one's.
    after: Vec<(RowName, Edge)>,
    /// Records that stand before the last of this one's.
    end_after: Vec<(RowName, Edge)>,
}

/// A row, as records of other rows point to it.
type RowName = String;

/// Which record of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    First,
    Last,
    Number(u64),
}

/// The name of the execution's own row.
const EXECUTION: &str = "execution";

impl History {
    /// Reads every record of an execution and checks every chain.
    pub(crate) async fn load(
        store: &dyn StateStore,
        workflow: Option<&Workflow>,
        execution: &ExecutionRow,
        masks: &Masks,
    ) -> Result<Self, StoreError> {
        let mut reader =
            Reader { store, id: &execution.id, workflow, masks, sequences: BTreeMap::new(), breaks: Vec::new() };
        reader.execution(execution);
        let mut after: Option<StepKey> = None;
        loop {
            let page = store.steps(&execution.id, after.as_ref(), PAGE).await?;
            after = page.rows.last().map(|row| row.key.clone());
            for row in &page.rows {
                reader.step(row, execution).await?;
            }
            if !page.more {
                break;
            }
        }
        let Reader { sequences, breaks, .. } = reader;
        Ok(Self { entries: in_order(sequences), breaks })
    }
}

struct Reader<'a> {
    store: &'a dyn StateStore,
    id: &'a ExecutionId,
    workflow: Option<&'a Workflow>,
    masks: &'a Masks,
    sequences: BTreeMap<RowName, Sequence>,
    breaks: Vec<String>,
}

impl Reader<'_> {
    fn execution(&mut self, row: &ExecutionRow) {
        self.check(EXECUTION, row.id.as_str(), &row.records, &row.chain);
        let entries = row.records.iter().map(|record| entry(EXECUTION, record, self.masks)).collect();
        self.sequences.insert(EXECUTION.to_owned(), Sequence { entries, after: Vec::new(), end_after: Vec::new() });
    }

    async fn step(&mut self, row: &StepRow, execution: &ExecutionRow) -> Result<(), StoreError> {
        let records = self.records(row).await?;
        let fanned_out = records
            .iter()
            .find(|record| matches!(record.transition, StepTransition::FannedOut { .. }))
            .map(|record| record.number);
        let name = row_name(row.key.epoch, &row.key.path);
        let mut after = vec![(EXECUTION.to_owned(), began(execution, row.key.epoch))];
        // What is known of an edited definition says nothing of the epochs before.
        let since = execution.definitions().last().map_or(Epoch::FIRST, |(epoch, _)| *epoch);
        let followed = self.workflow.filter(|_| row.key.epoch >= since);
        let node =
            followed.and_then(|workflow| workflow.graph.node_of(&row.key.path.step).map(|node| (workflow, node)));
        for need in node.iter().flat_map(|(workflow, node)| node.needs.iter().map(|need| workflow.graph.node(*need))) {
            after.push((row_name(row.key.epoch, &StepPath::step(need.id.clone())), Edge::Last));
        }
        let mut end_after = Vec::new();
        if let Some(number) = fanned_out {
            end_after = self.children(row.key.epoch, &row.key.path.step, &name, number).await?;
        }
        self.insert(name, row, &records, after, end_after);
        Ok(())
    }

    async fn children(
        &mut self,
        epoch: Epoch,
        step: &StepId,
        parent: &str,
        fanned_out: u64,
    ) -> Result<Vec<(RowName, Edge)>, StoreError> {
        let mut from = 0;
        let mut ends = Vec::new();
        loop {
            let page = self.store.children(self.id, epoch, step, from, PAGE).await?;
            let full = page.len() == PAGE;
            for child in &page {
                from = child.key.path.child.unwrap_or(0) + 1;
                let name = row_name(epoch, &child.key.path);
                let mut after = vec![(parent.to_owned(), Edge::Number(fanned_out))];
                if let Some(predecessor) = child.predecessor {
                    after.push((row_name(epoch, &StepPath::child(step.clone(), predecessor)), Edge::First));
                }
                ends.push((name.clone(), Edge::First));
                let records = self.records(child).await?;
                self.insert(name, child, &records, after, Vec::new());
            }
            if !full {
                return Ok(ends);
            }
        }
    }

    /// All records of a row: those of earlier attempts lie in items of their own.
    async fn records(&self, row: &StepRow) -> Result<Vec<Record<StepTransition>>, StoreError> {
        let mut records = Vec::new();
        if row.chain.length > row.records.len() as u64 {
            // A handler that lost the race for the next attempt may have kept the current one as an earlier one.
            let attempts = self.store.attempts(&row.key).await?.into_iter();
            records
                .extend(attempts.filter(|earlier| earlier.attempt < row.attempt).flat_map(|attempt| attempt.records));
        }
        records.extend(row.records.iter().cloned());
        Ok(records)
    }

    fn insert(
        &mut self,
        name: RowName,
        row: &StepRow,
        records: &[Record<StepTransition>],
        after: Vec<(RowName, Edge)>,
        end_after: Vec<(RowName, Edge)>,
    ) {
        self.check(&name, &row.key.to_string(), records, &row.chain);
        let entries = records.iter().map(|record| entry(&name, record, self.masks)).collect();
        self.sequences.insert(name, Sequence { entries, after, end_after });
    }

    fn check<T: Serialize + Clone>(&mut self, name: &str, sealed: &str, records: &[Record<T>], head: &Chain) {
        let mut chain = Chain::EMPTY;
        for record in records {
            if !chain.accepts(sealed, record) {
                let number = chain.length + 1;
                self.breaks
                    .push(format!("record {number} of {name} is not what was written, or one before it is missing"));
                return;
            }
            chain = Chain { length: record.number, head: record.hash.clone() };
        }
        if chain != *head {
            self.breaks.push(format!("{name} has {} records, and its row says {}", chain.length, head.length));
        }
    }
}

/// The record of the execution that began an epoch.
fn began(execution: &ExecutionRow, epoch: Epoch) -> Edge {
    let begins = |record: &&Record<ExecutionTransition>| {
        matches!(record.transition, ExecutionTransition::Resumed { .. } | ExecutionTransition::EndingBegan { .. })
    };
    let nth = (epoch.0 as usize).checked_sub(2);
    let record = nth.and_then(|nth| execution.records.iter().filter(begins).nth(nth));
    record.map_or(Edge::First, |record| Edge::Number(record.number))
}

fn row_name(epoch: Epoch, path: &StepPath) -> RowName {
    format!("{epoch}/{path}")
}

fn entry<T: Serialize>(row: &str, record: &Record<T>, masks: &Masks) -> Entry {
    let mut change = serde_json::to_value(&record.transition).unwrap_or(Value::Null);
    if !masks.is_empty() {
        // The word for the change is the engine's own.
        let word = change["change"].take();
        change = masks.value(change);
        change["change"] = word;
    }
    Entry {
        at: record.at,
        row: row.to_owned(),
        number: record.number,
        actor: record.actor.clone(),
        cause: record.cause.clone(),
        change,
        hash: record.hash.clone(),
    }
}

/// Merges the rows: whatever is ready is taken by time, row and number, and a record is ready when all that came before it was taken.
fn in_order(sequences: BTreeMap<RowName, Sequence>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut first_of: HashMap<RowName, (usize, usize)> = HashMap::new();
    let mut bounds = Vec::new();
    for (name, sequence) in sequences {
        let start = entries.len();
        entries.extend(sequence.entries);
        first_of.insert(name, (start, entries.len()));
        bounds.push((start, entries.len(), sequence.after, sequence.end_after));
    }
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut waits = vec![0_usize; entries.len()];
    let mut arrow = |before: usize, after: usize| {
        followers[before].push(after);
        waits[after] += 1;
    };
    for (start, end, after, end_after) in bounds.into_iter().filter(|(start, end, ..)| start < end) {
        (start + 1..end).for_each(|position| arrow(position - 1, position));
        for (targets, position) in [(after, start), (end_after, end - 1)] {
            for (name, edge) in targets {
                let Some((first, last)) = first_of.get(&name).filter(|(first, last)| first < last) else { continue };
                arrow(edge_position(&entries[*first..*last], edge) + first, position);
            }
        }
    }
    let key =
        |position: usize| (entries[position].at, entries[position].row.clone(), entries[position].number, position);
    let mut ready: BinaryHeap<Reverse<(Timestamp, RowName, u64, usize)>> =
        (0..entries.len()).filter(|position| waits[*position] == 0).map(|position| Reverse(key(position))).collect();
    let mut ordered = Vec::with_capacity(entries.len());
    while let Some(Reverse((.., position))) = ready.pop() {
        ordered.push(position);
        for follower in &followers[position] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                ready.push(Reverse(key(*follower)));
            }
        }
    }
    ordered.into_iter().map(|position| entries[position].clone()).collect()
}

fn edge_position(entries: &[Entry], edge: Edge) -> usize {
    match edge {
        Edge::First => 0,
        Edge::Last => entries.len() - 1,
        Edge::Number(number) => entries.iter().position(|entry| entry.number == number).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use ratchet_engine::ports::Write;
    use ratchet_testkit::{
        builders::{
            changed_execution, execution_row, put_execution, put_step, replace_execution, replace_step, step_key,
            step_row, step_with_result,
        },
        memory::MemoryStateStore,
    };

    use super::*;

    async fn commit(store: &MemoryStateStore, writes: Vec<Write>) {
        let committed = store.commit(writes).await.expect("a store");
        assert!(committed.conflict.is_none(), "{:?}", committed.conflict);
    }

    async fn history(store: &MemoryStateStore, execution: &ExecutionRow) -> (Vec<String>, Vec<String>) {
        let history = History::load(store, None, execution, &Masks::default()).await.expect("a history");
        let shown = history.entries.iter().map(|entry| format!("{} {}", entry.row, entry.number)).collect();
        (shown, history.breaks)
    }

    #[tokio::test]
    async fn causes_stand_before_what_they_caused_whatever_the_clock_says() {
        let store = MemoryStateStore::default();
        let execution = execution_row("run");
        let resumed = changed_execution(
            &execution,
            ExecutionTransition::Resumed {
                reset_from: Vec::new(),
                deadline: None,
                parent: None,
                edit: None,
                files: None,
                added_usd: None,
            },
        );
        let first = step_row(step_key("run", 1, "build"));
        let done = step_with_result(&first, ratchet_core::step::StepResult::default());
        // The clock of whoever claimed this one was far behind: it was claimed after the resume all the same.
        let mut late = step_row(step_key("run", 2, "check"));
        let at = Timestamp::constant(0, 0);
        let record = Chain::EMPTY.next(
            &late.key.to_string(),
            at,
            Actor::Engine,
            "step ready".to_owned(),
            late.records[0].transition.clone(),
        );
        late = StepRow::first(late.key, record, late.needs, late.base);
        commit(&store, vec![put_execution(&execution), put_step(&first), replace_step(&done, 1)]).await;
        commit(&store, vec![replace_execution(&resumed, 1), put_step(&late)]).await;
        let (shown, breaks) = history(&store, &resumed).await;
        assert_eq!(shown, ["execution 1", "1/build 1", "execution 2", "2/check 1", "1/build 2"]);
        assert!(breaks.is_empty(), "{breaks:?}");
    }

    #[tokio::test]
    async fn a_changed_record_is_found() {
        let store = MemoryStateStore::default();
        let execution = execution_row("run");
        let mut row =
            step_with_result(&step_row(step_key("run", 1, "build")), ratchet_core::step::StepResult::default());
        row.records[0].cause = "something else".to_owned();
        commit(&store, vec![put_execution(&execution), put_step(&row)]).await;
        let (_, breaks) = history(&store, &execution).await;
        assert_eq!(breaks, ["record 1 of 1/build is not what was written, or one before it is missing"]);

        let mut cut = row.clone();
        cut.records.remove(0);
        cut.key = step_key("run", 1, "other");
        commit(&store, vec![put_step(&cut)]).await;
        assert_eq!(history(&store, &execution).await.1.len(), 2);
    }
}
