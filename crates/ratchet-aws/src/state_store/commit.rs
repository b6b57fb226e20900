//! A commit: its writes one after the other, each a conditional write of one item, up to the first whose condition does not hold.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use ratchet_core::{
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    join::{JoinKey, JoinRow, NeedOutcome},
    step::{AttemptRow, StepRow},
};
use ratchet_engine::ports::{Committed, Conflict, Current, StoreError, Write, WriteOutcome};

use super::{
    DynamoStateStore,
    error::{Obstacle, obstacle, refused},
    item::{self, Item, PK, RECORDS, SK, number, text},
    key,
    shared::Changed,
};

/// What came of one write: what it left, or the row that stood in its way.
pub(super) type Applied = Result<WriteOutcome, Current>;

/// The sets of a join's bucket, by the attribute that holds each.
pub(super) const SETS: [&str; 3] = ["ok", "failed", "continued"];

impl DynamoStateStore {
    pub(super) async fn commit_in_order(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        let mut applied = Vec::with_capacity(writes.len());
        for (position, write) in writes.into_iter().enumerate() {
            match self.apply(write).await? {
                Ok(outcome) => applied.push(outcome),
                Err(current) => return Ok(Committed { applied, conflict: Some(Conflict { position, current }) }),
            }
        }
        Ok(Committed { applied, conflict: None })
    }

    async fn apply(&self, write: Write) -> Result<Applied, StoreError> {
        match write {
            Write::Execution { row, expect } => {
                let conflict = self.put_where(expect.into(), item::of_execution(&row)?, "write an execution").await?;
                let current = |item: Item| Ok(Current::Execution(Box::new(item::row::<ExecutionRow>(&item)?)));
                applied(conflict, current)
            }
            Write::Step { row, expect } => {
                let conflict = self.put_where(expect.into(), item::of_step(&row)?, "write a step").await?;
                applied(conflict, |item| Ok(Current::Step(Box::new(item::row::<StepRow>(&item)?))))
            }
            Write::Attempt(row) => self.keep_attempt(&row).await.map(|()| Ok(WriteOutcome::Written)),
            Write::Unite { key, place, outcome } => {
                let bucket = self.unite(key, place, outcome).await?;
                Ok(Ok(WriteOutcome::United(bucket)))
            }
            Write::EnterCall { owner, call, budget } => {
                let entered = |row: Option<BudgetRow>| {
                    let before = row.unwrap_or_else(|| BudgetRow::empty(owner.clone()));
                    let mut row = before.clone();
                    match row.enter(call.clone(), &budget) {
                        Err(_) => Changed::Stays(Err(Current::Budget(Box::new(before)))),
                        Ok(()) if row == before => Changed::Stays(Ok(WriteOutcome::Budget { row, changed: false })),
                        Ok(()) => Changed::Is(row.clone(), Ok(WriteOutcome::Budget { row, changed: true })),
                    }
                };
                self.change(key::budget(&owner), "write a budget", entered).await
            }
            Write::SettleCall { owner, call, usage } => {
                let settled = |row: Option<BudgetRow>| {
                    let mut row = row.unwrap_or_else(|| BudgetRow::empty(owner.clone()));
                    if row.settle(&call, usage.as_ref()) {
                        Changed::Is(row.clone(), Ok(WriteOutcome::Budget { row, changed: true }))
                    } else {
                        Changed::Stays(Ok(WriteOutcome::Budget { row, changed: false }))
                    }
                };
                self.change(key::budget(&owner), "write a budget", settled).await
            }
            Write::TakeTurn { group, member, waits } => self
                .change_group(&group, |row| {
                    row.take_turn(member.clone(), waits);
                })
                .await
                .map(Ok),
            Write::LeaveGroup { group, execution, epoch } => self
                .change_group(&group, |row| {
                    row.leave(&execution, epoch);
                })
                .await
                .map(Ok),
            Write::Artifact(artifact) => {
                self.register(&artifact).await.map(|version| Ok(WriteOutcome::Artifact(Box::new(version))))
            }
            Write::ReadArtifact(read) => self.note_read(&read).await,
            Write::TagArtifact { artifact, tag, number } => self.tag(&artifact, &tag, number).await,
            Write::DropArtifact { artifact, number, uses } => self.drop_version(&artifact, number, uses).await,
        }
    }

    /// Keeps an attempt, unless one with as many records is there.
    async fn keep_attempt(&self, row: &AttemptRow) -> Result<(), StoreError> {
        let mut item = item::with_body(key::attempt(&row.key, row.attempt), row)?;
        item.insert(RECORDS.to_owned(), number(row.records.len()));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#k) OR #n < :n")
            .expression_attribute_names("#k", PK)
            .expression_attribute_names("#n", RECORDS)
            .expression_attribute_values(":n", number(row.records.len()))
            .send()
            .await;
        match put {
            Ok(_) => Ok(()),
            Err(error) if obstacle(&error).is_some() => Ok(()),
            Err(error) => Err(refused("write an attempt", &error)),
        }
    }

    /// Adds an arrival to the sets of a bucket: what is in a set already stays in it.
    async fn unite(&self, of: JoinKey, place: u32, outcome: NeedOutcome) -> Result<JoinRow, StoreError> {
        let mut arrival = JoinRow::empty(of.clone());
        arrival.unite(place, outcome);
        let key = key::join(&of);
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, text(key.partition))
            .key(SK, text(key.sort))
            .return_values(ReturnValue::AllNew);
        let mut added = Vec::new();
        for (name, bits) in SETS.into_iter().zip([arrival.ok, arrival.failed, arrival.continued]) {
            if bits != 0 {
                let places = (0..u32::BITS).filter(|bit| bits & (1 << bit) != 0).map(|bit| bit.to_string()).collect();
                request = request
                    .expression_attribute_names(format!("#{name}"), name)
                    .expression_attribute_values(format!(":{name}"), AttributeValue::Ns(places));
                added.push(format!("#{name} :{name}"));
            }
        }
        let updated = request.update_expression(format!("ADD {}", added.join(", "))).send().await;
        let updated = updated.map_err(|error| refused("write a join", &error))?;
        Ok(bucket(of, updated.attributes().unwrap_or(&Item::new())))
    }

    async fn change_group(
        &self,
        name: &str,
        change: impl Fn(&mut GroupRow) + Send + Sync,
    ) -> Result<WriteOutcome, StoreError> {
        let changed = |there: Option<GroupRow>| {
            let before = there.unwrap_or_else(|| GroupRow::empty(name.to_owned()));
            let mut row = before.clone();
            change(&mut row);
            if row == before {
                Changed::Stays(WriteOutcome::Group(row))
            } else if row.is_empty() {
                Changed::Goes(WriteOutcome::Group(row))
            } else {
                Changed::Is(row.clone(), WriteOutcome::Group(row))
            }
        };
        self.change(key::group(name), "write a group", changed).await
    }
}

fn applied(
    conflict: Option<Obstacle>,
    current: impl FnOnce(Item) -> Result<Current, StoreError>,
) -> Result<Applied, StoreError> {
    Ok(match conflict {
        None => Ok(WriteOutcome::Written),
        Some(Obstacle(None)) => Err(Current::Absent),
        Some(Obstacle(Some(item))) => Err(current(item)?),
    })
}

/// A bucket as its sets have it.
pub(super) fn bucket(of: JoinKey, item: &Item) -> JoinRow {
    let [ok, failed, continued] = SETS.map(|name| {
        let places = item.get(name).and_then(|set| set.as_ns().ok());
        let places: BTreeSet<u32> = places.into_iter().flatten().filter_map(|place| place.parse().ok()).collect();
        places.into_iter().filter(|place| *place < u32::BITS).fold(0, |bits, place| bits | (1 << place))
    });
    JoinRow { key: of, ok, failed, continued }
}
