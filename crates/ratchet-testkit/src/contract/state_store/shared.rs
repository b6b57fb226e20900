//! Rows that several executions or handlers change at once without a revision: budgets and groups.

use std::sync::Arc;

use ratchet_core::{
    budget::{AgentCall, Budget, BudgetRow, Spent},
    group::{GroupRow, Member, Standing},
    ids::{Epoch, ExecutionId},
    step::Usage,
};
use ratchet_engine::ports::{Conflict, Current, Write, WriteOutcome};

use super::{Store, answer, commit, commit_conflicting, races::all_at_once};
use crate::builders::{child_key, put_step, step_key, step_row};

/// How many commits run for the same row at once.
const RIVALS: u32 = 24;

pub(super) async fn an_attempt_is_paid_once(store: Store) {
    let owner = ExecutionId::new("run");
    assert_eq!(answer(store.budget(&owner).await), None, "where nothing was entered there is no row");
    let outcomes = commit(&store, vec![settle(1)]).await;
    assert_eq!(outcomes, vec![budget(BudgetRow::empty(owner.clone()), false)], "what was not entered is not paid");

    let entered = row(&owner, Spent::default(), &[1, 2]);
    let outcomes = commit(&store, vec![enter(1), enter(2), enter(1)]).await;
    assert_eq!(outcomes[1..], [budget(entered.clone(), true), budget(entered.clone(), false)]);
    assert_eq!(answer(store.budget(&owner).await), Some(entered));

    let spent = Spent { cost_nanos: 250_000_000, tokens: 10, agent_calls: 1 };
    let settled = row(&owner, spent, &[2]);
    let outcomes = commit(&store, vec![settle(1), settle(1)]).await;
    assert_eq!(outcomes, vec![budget(settled.clone(), true), budget(settled.clone(), false)]);
    assert_eq!(answer(store.budget(&owner).await), Some(settled), "the same attempt again adds nothing");
    assert_eq!(answer(store.budget(&ExecutionId::new("run2")).await), None, "a budget is its owner's");

    let given_up = Write::SettleCall { owner: owner.clone(), call: call(2), usage: None };
    let outcomes = commit(&store, vec![given_up]).await;
    assert_eq!(outcomes, vec![budget(row(&owner, spent, &[]), true)], "what was never launched is not paid");
}

pub(super) async fn a_reached_budget_ends_a_commit(store: Store) {
    let owner = ExecutionId::new("run");
    let step = step_row(step_key("run", 1, "after"));
    let committed = commit_conflicting(&store, vec![enter(1), enter(2), enter(3), enter(4), put_step(&step)]).await;
    let full = row(&owner, Spent::default(), &[1, 2, 3]);
    assert_eq!(committed.conflict, Some(Conflict { position: 3, current: Current::Budget(Box::new(full.clone())) }));
    assert_eq!(answer(store.budget(&owner).await), Some(full), "what was refused changed nothing");
    assert_eq!(answer(store.step(&step.key).await), None);
}

pub(super) async fn no_more_are_entered_than_the_budget_has(store: Store) {
    let rivals = (0..RIVALS).map(|rival| {
        let store = Arc::clone(&store);
        async move { answer(store.commit(vec![enter(rival)]).await).conflict.is_none() }
    });
    let entered = all_at_once(rivals).await.into_iter().filter(|entered| *entered).count();
    assert_eq!(entered, 3, "as many as the budget has calls");
    let in_flight = answer(store.budget(&ExecutionId::new("run")).await).expect("the row").in_flight;
    assert_eq!(in_flight.len(), 3);
    // Each is settled by two that do not know of each other.
    let settled = in_flight.into_iter().flat_map(|call| [call.clone(), call]).map(|call| {
        let (store, owner) = (Arc::clone(&store), ExecutionId::new("run"));
        async move { commit(&store, vec![Write::SettleCall { owner, call, usage: Some(usage()) }]).await }
    });
    all_at_once(settled).await;
    let spent = answer(store.budget(&ExecutionId::new("run")).await).expect("the row").spent;
    assert_eq!(spent, Spent { cost_nanos: 750_000_000, tokens: 30, agent_calls: 3 });
}

pub(super) async fn turns_come_in_order(store: Store) {
    assert_eq!(answer(store.group("deploy").await), None, "a group that nobody is in has no row");
    let row = group(commit(&store, vec![take("a", true), take("b", true), take("c", true), take("d", false)]).await);
    let standing = |row: &GroupRow, name: &str| row.standing(&ExecutionId::new(name));
    let standings = ["a", "b", "c", "d"].map(|name| standing(&row, name));
    let expected = [Standing::Holds, Standing::Waits { ahead: 0 }, Standing::Waits { ahead: 1 }, Standing::Out];
    assert_eq!(standings, expected);
    assert_eq!(answer(store.group("deploy").await), Some(row));
    assert_eq!(answer(store.group("other").await), None, "a group is known by its name");

    let row = group(commit(&store, vec![leave("a", 1), take("c", true), take("b", true)]).await);
    assert_eq!((standing(&row, "b"), standing(&row, "c")), (Standing::Holds, Standing::Waits { ahead: 0 }));
    let row = group(commit(&store, vec![leave("b", 0)]).await);
    assert_eq!(standing(&row, "b"), Standing::Holds, "who asked in a later epoch stays");
    let row = group(commit(&store, vec![leave("b", 1), leave("c", 1), leave("c", 1)]).await);
    assert_eq!(row, GroupRow::empty("deploy".to_owned()));
    assert_eq!(answer(store.group("deploy").await), None, "the last one takes the row along");
}

pub(super) async fn never_more_turns_than_the_limit(store: Store) {
    let rivals = (0..RIVALS).map(|rival| {
        let store = Arc::clone(&store);
        async move {
            let name = format!("run{rival}");
            let row = group(commit(&store, vec![take(&name, true)]).await);
            row.standing(&ExecutionId::new(name))
        }
    });
    let standings = all_at_once(rivals).await;
    assert_eq!(standings.iter().filter(|standing| **standing == Standing::Holds).count(), 1);
    let mut waits: Vec<usize> = standings
        .into_iter()
        .filter_map(|standing| if let Standing::Waits { ahead } = standing { Some(ahead) } else { None })
        .collect();
    waits.sort_unstable();
    assert_eq!(waits, (0..RIVALS as usize - 1).collect::<Vec<_>>(), "each has a place of its own in the queue");
}

fn call(item: u32) -> AgentCall {
    AgentCall { key: child_key("run", 1, "ask", item), attempt: 1 }
}

fn usage() -> Usage {
    Usage { cost_usd: Some(0.25), tokens: Some(10), ..Usage::default() }
}

fn enter(item: u32) -> Write {
    let budget = Budget { max_agent_calls: Some(3), ..Budget::default() };
    Write::EnterCall { owner: ExecutionId::new("run"), call: call(item), budget }
}

fn settle(item: u32) -> Write {
    Write::SettleCall { owner: ExecutionId::new("run"), call: call(item), usage: Some(usage()) }
}

fn row(owner: &ExecutionId, spent: Spent, in_flight: &[u32]) -> BudgetRow {
    BudgetRow { owner: owner.clone(), spent, in_flight: in_flight.iter().map(|item| call(*item)).collect() }
}

fn budget(row: BudgetRow, changed: bool) -> WriteOutcome {
    WriteOutcome::Budget { row, changed }
}

fn take(name: &str, waits: bool) -> Write {
    let member = Member { execution: ExecutionId::new(name), epoch: Epoch::FIRST, limit: 1 };
    Write::TakeTurn { group: "deploy".to_owned(), member, waits }
}

fn leave(name: &str, epoch: u32) -> Write {
    Write::LeaveGroup { group: "deploy".to_owned(), execution: ExecutionId::new(name), epoch: Epoch(epoch) }
}

fn group(outcomes: Vec<WriteOutcome>) -> GroupRow {
    match outcomes.into_iter().last() {
        Some(WriteOutcome::Group(row)) => row,
        other => panic!("a group's write leaves its row, and not {other:?}"),
    }
}
