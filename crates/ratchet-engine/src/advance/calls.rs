//! Calls of agents and the budget that they are paid from: an attempt is entered before it is launched, and taken out with what it used once it ended.

use ratchet_core::{
    budget::{AgentCall, Budget, BudgetRow, Limit, Spent},
    event::StepEvent,
    history::{Actor, Record},
    ids::{ExecutionId, StepId, StepKey, StepPath},
    step::{FailureClass, StepFailure, StepRow, StepState, Usage},
    transition::StepTransition,
    workflow::Action,
};

use super::{Act, Advance, Change, Subject, Task};
use crate::{
    engine::{Engine, EngineError},
    order::{Order, Work},
    ports::{Slot, Write},
    run::Run,
};

/// The stable code of a run or a step that the budget does not let go on.
const REACHED: &str = "RT-0188";

/// When an attempt may begin.
pub(super) enum Beginning {
    /// Now.
    Now,
    /// When there is more budget: the run pauses.
    OncePaid,
    /// Not in this run.
    Never(StepFailure),
}

impl Run {
    /// Whose budget the run's agents are paid from, and what it is.
    pub(super) fn budget(&self) -> Option<(ExecutionId, Budget)> {
        self.row.budget(&self.workflow)
    }

    fn asks_agent(&self, step: &StepId) -> bool {
        self.workflow.step(step).is_some_and(|step| matches!(step.action, Action::ClaudeCode(_)))
    }
}

impl Advance<'_> {
    /// Whether the budget lets an attempt begin. Else the run is to pause once all else is done: what was claimed
    /// in the same breath is launched before. That it is so still is seen when the attempt is entered.
    pub(super) async fn beginning(&mut self, order: &Order) -> Result<Beginning, EngineError> {
        let Some((owner, budget)) = self.run.budget().filter(|_| matches!(order.work, Work::Agent(_))) else {
            return Ok(Beginning::Now);
        };
        let row = self.engine.ports.store.budget(&owner).await?;
        let row = self.with_staged(row.unwrap_or_else(|| BudgetRow::empty(owner)));
        let Some(limit) = row.reached(&budget) else { return Ok(Beginning::Now) };
        let step = order.key.path.step.clone();
        let spent = row.spent.beside(&budget, limit);
        if self.ends_early() {
            return Ok(Beginning::Never(failure(&spent)));
        }
        self.over_budget.get_or_insert((step.clone(), pause_reason(&step, &spent)));
        Ok(Beginning::OncePaid)
    }

    /// A budget's row as it will be when what was staged is committed: the attempt whose end makes this one possible is mostly among that.
    fn with_staged(&self, mut row: BudgetRow) -> BudgetRow {
        for entry in &self.staged {
            match &entry.write {
                Write::SettleCall { owner, call, usage } if *owner == row.owner => {
                    row.settle(call, usage.as_ref());
                }
                // One that is refused is in no later row either.
                Write::EnterCall { owner, call, budget } if *owner == row.owner => {
                    let _ = row.enter(call.clone(), budget);
                }
                _ => {}
            }
        }
        row
    }

    /// Whether a step may wait for a person whose agent reached a limit: not where the run ends early, and the children of a fan-out go on in no session of theirs.
    pub(super) fn may_suspend(&self, path: &StepPath) -> bool {
        !self.ends_early() && path.child.is_none()
    }

    /// Whether the run ends before its work is done: then a pause would keep what stands under `finally` from running, and the run from ending.
    fn ends_early(&self) -> bool {
        !self.run.row.endings.is_empty()
    }

    /// Stages that an attempt is entered, which launches it. Its claim stands in the write before, so that an attempt that is in was claimed.
    pub(super) fn stage_launch(&mut self, slot: Slot, order: Box<Order>, claim: u64) {
        let launch = |slot, order| vec![Act::Launch(slot, order)];
        match self.run.budget().filter(|_| matches!(order.work, Work::Agent(_))) {
            None => self.add_acts(claim, launch(slot, order)),
            Some((owner, budget)) => {
                let call = AgentCall { key: order.key.clone(), attempt: order.attempt };
                let refuse = Task::Refuse { key: call.key.clone(), attempt: call.attempt };
                self.stage(Write::EnterCall { owner, call, budget }, Some(claim), Some(refuse), launch(slot, order));
            }
        }
    }

    /// Stages that an attempt has ended, in the write right after the one that says so.
    pub(super) fn stage_settled(&mut self, old: &StepRow, transition: &StepTransition, launched: bool, end: u64) {
        let Some((owner, _)) = self.run.budget().filter(|_| self.run.asks_agent(&old.key.path.step)) else { return };
        if matches!(old.state, StepState::Running { .. }) {
            let call = AgentCall { key: old.key.clone(), attempt: old.attempt };
            let usage = launched.then(|| transition.usage().unwrap_or_default());
            self.stage(Write::SettleCall { owner, call, usage }, Some(end), None, Vec::new());
        }
    }

    /// Another attempt came in between and spent what was left: the run pauses, and the claim is given up.
    pub(super) async fn refuse(&mut self, key: StepKey, attempt: u32, after: Option<u64>) -> Result<(), EngineError> {
        let Some((owner, budget)) = self.run.budget() else { return Ok(()) };
        let row = self.engine.ports.store.budget(&owner).await?.unwrap_or_else(|| BudgetRow::empty(owner));
        let spent = row.spent.beside(&budget, row.reached(&budget).unwrap_or(Limit::AgentCalls));
        if !self.ends_early() {
            let step = key.path.step.clone();
            self.pause(step.clone(), pause_reason(&step, &spent)).await?;
            return self.withdraw(key, attempt, after).await;
        }
        let claimed = |row: &StepRow| matches!(row.state, StepState::Running { .. }) && row.attempt == attempt;
        if let Some(row) = self.row(&key.path).await?.filter(|row| row.key == key && claimed(row)) {
            let change = Change {
                cause: format!("BudgetSpent {}", key.path),
                event: StepEvent::GivenUp { failure: failure(&spent) },
                actor: Actor::Engine,
                launch: None,
                path: key.path.clone(),
                on: Subject::Row(Box::new(row)),
                origin: Task::Refuse { key, attempt },
            };
            self.change_or_log(change, after);
        }
        Ok(())
    }

    /// An attempt was accounted for. Most of the budget is spent once.
    pub(super) fn accounted(&self, row: &BudgetRow, usage: &Usage) {
        let Some((_, budget)) = self.run.budget() else { return };
        let before = Spent {
            cost_nanos: row.spent.cost_nanos.saturating_sub(Spent::default().and(usage).cost_nanos),
            tokens: row.spent.tokens.saturating_sub(usage.tokens.unwrap_or(0)),
            agent_calls: row.spent.agent_calls.saturating_sub(1),
        };
        if !before.is_nearly_all(&budget) && row.spent.is_nearly_all(&budget) {
            self.engine.ports.observer.budget_nearly_spent(&self.run.row, &row.spent, &budget);
        }
    }
}

/// Accounts for attempts that have ended and whose handler died before it said so.
pub(crate) async fn settle_ended(engine: &Engine, run: &Run) -> Result<(), EngineError> {
    let Some((owner, _)) = run.budget() else { return Ok(()) };
    let Some(row) = engine.ports.store.budget(&owner).await? else { return Ok(()) };
    let mut writes = Vec::new();
    for call in row.in_flight {
        if let Some(usage) = ended(engine, &call).await? {
            writes.push(Write::SettleCall { owner: owner.clone(), call, usage: Some(usage) });
        }
    }
    if !writes.is_empty() {
        engine.ports.store.commit(writes).await?;
    }
    Ok(())
}

/// What an attempt used that has ended; `None` where it has not. It was entered after its claim was written, so a row without it has been removed.
async fn ended(engine: &Engine, call: &AgentCall) -> Result<Option<Usage>, EngineError> {
    let Some(row) = engine.ports.store.step(&call.key).await? else { return Ok(Some(Usage::default())) };
    let used = |records: &[Record<StepTransition>]| {
        records.iter().rev().find_map(|record| record.transition.usage()).unwrap_or_default()
    };
    if row.attempt == call.attempt {
        let runs = matches!(row.state, StepState::Running { .. });
        return Ok((!runs).then(|| used(&row.records)));
    }
    let attempts = engine.ports.store.attempts(&call.key).await?;
    let attempt = attempts.iter().find(|attempt| attempt.attempt == call.attempt);
    Ok(Some(attempt.map(|attempt| used(&attempt.records)).unwrap_or_default()))
}

/// Why a run pauses whose agent reached a limit.
pub(crate) fn limit_reason(step: &StepId, failure: &StepFailure) -> String {
    let code = failure.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let message = failure.message.lines().next().unwrap_or_default();
    format!("the agent of {step} reached a limit{code}: {message}")
}

fn pause_reason(step: &StepId, spent: &str) -> String {
    format!("the budget is reached [{REACHED}]: {spent}, so {step} asks no agent")
}

fn failure(spent: &str) -> StepFailure {
    let message = format!("the budget is reached: {spent}, and a run that ends early does not pause");
    StepFailure::new(FailureClass::Launch, message).with_code(REACHED)
}
