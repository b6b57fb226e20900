//! Budgets and concurrency groups: what is drawn of them, and what must hold of them whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    budget::{AgentCall, Spent},
    ids::{ExecutionId, StepKey},
    step::{StepRow, StepState, Usage},
    transition::StepTransition,
};
use ratchet_engine::{
    order::{Order, Work},
    ports::Write,
};

use super::{
    laws::Laws,
    model::{Budget, Concurrency, Model},
    random::{Random, mix},
    tasks::{AttemptName, Tasks},
    trace::name,
};
use crate::simulation::generator;

/// What an agent's attempt costs at most, in billionths of a dollar.
const DEAREST: u64 = 500_000_000;

/// Keeps what is drawn here from changing what else a seed draws.
const STREAM: u64 = 0x6c69_6d69_7473;

/// What an agent's attempt costs, in dollars, and how many tokens it takes: it follows from its number.
pub(crate) fn price(serial: u64) -> (f64, u64) {
    #[expect(clippy::cast_precision_loss, reason = "a number of cents")]
    let cents = (mix(serial) % 51) as f64;
    (cents / 100.0, mix(serial) % 1000)
}

/// Gives some runs a group that they share, with others that join them, and some a budget and agents that spend it.
pub(crate) fn draw(seed: u64, models: &mut Vec<Model>) {
    let mut random = Random::new(mix(seed ^ STREAM));
    if random.chance(200) {
        let group = random.chance(800).then(|| "shared".to_owned());
        for number in 0..=random.below(3) {
            if models.len() < 4 {
                let joins = random.chance(700);
                let model = if joins { models[0].clone() } else { generator::draw("x", false, &mut random) };
                models.push(Model { name: format!("more-{number}"), ..model });
            }
        }
        for model in &mut *models {
            let on_conflict = *random.pick(&["queue", "queue", "queue", "cancel_running", "reject"]);
            model.concurrency = Some(Concurrency { group: group.clone(), limit: random.count(1, 2), on_conflict });
        }
    }
    for model in models {
        if random.chance(250) {
            for step in &mut model.steps {
                step.asks_agent = step.needs_task() && random.chance(600);
            }
            let tight = random.chance(600);
            let mut limit = |low: u32, high: u32| random.chance(500).then(|| random.count(low, high));
            let (calls, cents) = if tight { (limit(1, 6), limit(1, 150)) } else { (limit(20, 60), limit(500, 2000)) };
            if calls.is_some() || cents.is_some() {
                model.budget = Some(Budget { calls, cents });
            }
        }
    }
}

/// What was seen of a budget.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Attempts that were entered.
    entered: BTreeSet<AttemptName>,
    /// Those of them that were entered when the run had ended.
    entered_late: BTreeSet<AttemptName>,
    /// Attempts that were launched.
    launched: BTreeSet<AttemptName>,
    /// What the rows say that attempts used which have ended, also those that were never entered.
    ended: BTreeMap<AttemptName, Usage>,
    /// The most that were entered and had not ended at once.
    open_max: u64,
}

/// What was seen of budgets, by whose they are.
pub(crate) type Accounts = BTreeMap<ExecutionId, Account>;

impl Laws {
    /// A budget's row was written.
    pub(crate) fn budget_written(&mut self, write: &Write) {
        let Write::EnterCall { owner, call, .. } = write else { return };
        let has_ended = self.has_ended_in(&call.key.execution, call.key.epoch);
        let account = self.accounts.entry(owner.clone()).or_default();
        account.entered.insert((call.key.clone(), call.attempt));
        if has_ended {
            account.entered_late.insert((call.key.clone(), call.attempt));
        }
        let open = account.entered.iter().filter(|named| !account.ended.contains_key(*named)).count();
        account.open_max = account.open_max.max(open as u64);
    }

    /// A step's row says that an attempt ended.
    pub(crate) fn call_ended(&mut self, old: &StepRow, transition: &StepTransition) {
        let named = (old.key.clone(), old.attempt);
        if !matches!(old.state, StepState::Running { .. }) {
            return;
        }
        let account = self.accounts.entry(old.key.execution.clone()).or_default();
        account.ended.entry(named).or_insert_with(|| transition.usage().unwrap_or_default());
        let budget = self.runs.get(&old.key.execution).and_then(|known| known.model.budget);
        let Some(cents) = budget.and_then(|budget| budget.cents) else { return };
        let most = u64::from(cents) * 10_000_000 + account.open_max * DEAREST;
        let recorded = account.recorded(&BTreeSet::new());
        self.hold(recorded.cost_nanos <= most, "no more is spent than the budget and the calls in flight", || {
            format!("{}: {recorded:?} of {cents} cents", old.key.execution)
        });
    }

    /// An attempt is about to start.
    pub(crate) fn call_begins(&mut self, order: &Order) {
        let budget = self.runs.get(&order.key.execution).and_then(|known| known.model.budget);
        let Some(budget) = budget.filter(|_| matches!(order.work, Work::Agent(_))) else { return };
        let named = (order.key.clone(), order.attempt);
        let what = format!("{}#{}", name(&order.key), order.attempt);
        let account = self.accounts.entry(order.key.execution.clone()).or_default();
        let is_entered = account.entered.contains(&named);
        account.launched.insert(named);
        let launched = account.launched.len();
        self.hold(is_entered, "an agent is asked only within the budget", || what.clone());
        let is_within = budget.calls.is_none_or(|calls| launched <= calls as usize);
        self.hold(is_within, "no more agent calls than the budget has", || format!("{what} is call {launched}"));
    }

    /// A task of a run is about to start, beside those that are there.
    pub(crate) fn turn_is_taken(&mut self, key: &StepKey, tasks: &Tasks) {
        let Some(known) = self.runs.get(&key.execution) else { return };
        let waits = known.row.as_ref().is_some_and(|row| row.epoch == key.epoch && row.waits_for_turn());
        self.hold(!waits, "nothing of a run starts before its turn", || name(key));
        let Some((group, _)) = self.group_of(&key.execution) else { return };
        let mut running: BTreeSet<&ExecutionId> = tasks.live().map(|(key, _)| &key.execution).collect();
        running.insert(&key.execution);
        let of_group: Vec<(&ExecutionId, u32)> = running
            .into_iter()
            .filter_map(|id| self.group_of(id).filter(|(other, _)| *other == group).map(|(_, limit)| (id, limit)))
            .collect();
        let limit = of_group.iter().map(|(_, limit)| *limit).min().unwrap_or(u32::MAX);
        let count = of_group.len();
        let what = format!("{of_group:?}");
        self.hold(count <= limit as usize, "no more runs of a group at once than its limit", || what);
    }

    /// The group of a run and how many of it may go on at once.
    fn group_of(&self, id: &ExecutionId) -> Option<(String, u32)> {
        let known = self.runs.get(id)?;
        let concurrency = known.model.concurrency.as_ref()?;
        Some((concurrency.group.clone().unwrap_or_else(|| known.model.name.clone()), concurrency.limit))
    }

    /// Whether a call was entered after its run had ended: by a write that was long on its way.
    pub(crate) fn entered_late(&self, id: &ExecutionId, call: &AgentCall) -> bool {
        let named = (call.key.clone(), call.attempt);
        self.accounts.get(id).is_some_and(|account| account.entered_late.contains(&named))
    }

    /// What the rows say that the agents of a run used, but for some calls, and how many of these were never launched: such a call may or may not be counted, for whoever
    /// gave it up may have died before it was taken out.
    pub(crate) fn recorded(&self, id: &ExecutionId, except: &BTreeSet<AgentCall>) -> (Spent, u64) {
        let account = self.accounts.get(id);
        account.map(|account| (account.recorded(except), account.never_launched())).unwrap_or_default()
    }
}

impl Account {
    fn never_launched(&self) -> u64 {
        let is_it = |named: &&AttemptName| self.ended.contains_key(*named) && !self.launched.contains(*named);
        self.entered.iter().filter(is_it).count() as u64
    }

    fn recorded(&self, except: &BTreeSet<AgentCall>) -> Spent {
        let is_meant =
            |(key, attempt): &&AttemptName| !except.contains(&AgentCall { key: key.clone(), attempt: *attempt });
        let ended = self.entered.iter().filter(is_meant).filter_map(|named| self.ended.get(named));
        ended.fold(Spent::default(), Spent::and)
    }
}
