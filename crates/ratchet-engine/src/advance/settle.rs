//! A step is ready, ends, is lost or is tried again; those that need it are told.

use ratchet_core::{
    decide::LOSSES_MAX,
    event::{ExecutionEvent, Outcome, StepEvent, Verdict},
    fan_out,
    history::Actor,
    ids::{ExecutionId, StepId, StepKey, StepPath, TokenHash},
    join::{JoinKind, JoinRow, NeedOutcome},
    output::Outputs,
    rejection::Rejection,
    status::StepStatus,
    step::{FailureClass, StepFailure, StepRow, StepState, Usage},
    transition::Ending,
    workflow::OnLost,
};

use super::{
    Act, Advance, Change, Dispatch, Launch, Subject, Task,
    cached::{Computing, LookedUp},
    calls::Beginning,
    fan_out::LeftBehind,
    settle_ended,
};
use crate::{
    artifacts,
    engine::EngineError,
    execution_row,
    nested::RunOrder,
    order::{AttemptOutcome, AttemptReport, Order, Token},
    ports::{Event, Expectation, Slot, Write},
    prepare::{self, Prepared, Ready, prepare},
    step_cache::KeyParts,
    trees::{self, Base},
    turns,
    values::store_large,
};

/// What is to be done about another attempt for which there is room.
enum Next {
    /// It is decided about by this event, and launched where the decision is to.
    Attempt(Box<StepEvent>, Option<Launch>),
    /// None: the run pauses.
    OverBudget,
}

impl Advance<'_> {
    /// Starts a step whose needs are all there, or settles it where it needs no task.
    pub(super) async fn dispatch(&mut self, dispatch: Dispatch, after: Option<u64>) -> Result<(), EngineError> {
        if !self.run.row.accepts_claims(self.run.row.epoch) {
            return Ok(());
        }
        let Dispatch { path, needs, predecessor, adopts } = dispatch.clone();
        let parent = match path.child {
            None => None,
            Some(_) => match self.row(&StepPath::step(path.step.clone())).await? {
                Some(parent) if !parent.status().is_settled() => Some(parent),
                // One child failed for all, or the fan-out was cancelled: no other starts.
                _ => return Ok(()),
            },
        };
        if let (Some(child), Some(from)) = (path.child, predecessor)
            && self
                .row(&StepPath::child(path.step.clone(), from))
                .await?
                .is_some_and(|row| row.successor != Some(child))
        {
            // The child was only thought of when there was no room: now that there is, the lane says who takes it over.
            self.queue_after(Task::PassLane(StepPath::child(path.step, from)), after);
            return Ok(());
        }
        if let Some(from) = predecessor
            && let Some(slot) = self.lane_slots.remove(&StepPath::child(path.step.clone(), from))
        {
            self.slot = Some(slot);
        }
        if self.slot.is_none() && adopts.is_none() && self.run.surely_needs_room(&path, needs) {
            // Without room it would be prepared in vain.
            match self.take_slot().await? {
                Some(slot) => self.slot = Some(slot),
                None => return self.put_off_dispatch(dispatch, after).await,
            }
        }
        let successor = self.successor_of(&path).await?;
        let base = match &parent {
            Some(parent) => Base::of(parent.base.clone()),
            None => trees::base(self.engine, &self.run, &self.overlay, self.run.node(&path.step)?).await?,
        };
        let base = prepare::with_left(&self.run, base, adopts.as_deref());
        let is_own = self.run.workflow.step(&path.step).is_none();
        // A step of the engine's own ends well: that the steps before it are at odds is told with it, and fails the run.
        let needs = NeedOutcome { failed_above: needs.failed_above || (is_own && base.conflict.is_some()), ..needs };
        let tree = base.tree.clone();
        let ready = Ready {
            path: &path,
            needs,
            base,
            predecessor,
            parent: parent.as_ref(),
            adopts: dispatch.adopts.as_deref(),
            successor,
        };
        let mut left = adopts.into_iter().filter(|old| !old.status().is_settled()).map(|old| *old).collect::<Vec<_>>();
        let (event, launch) = match prepare(self.engine, &self.run, &self.overlay, &ready).await? {
            Prepared::Settled(verdict) => (StepEvent::Ready(*verdict), None),
            Prepared::Task(order, parts) => {
                match Box::pin(self.begin(&dispatch, order, parts, successor, after)).await? {
                    Some(begun) => begun,
                    None => return Ok(()),
                }
            }
            Prepared::Run(prepared) => {
                left.extend(prepared.taken_over.iter().filter(|old| !old.status().is_settled()).cloned());
                let key = self.run.key(path.clone());
                let execution = prepared.taken_over.and_then(|old| old.execution);
                let execution = execution.unwrap_or_else(|| ExecutionId::of_attempt(&key, 1));
                // Nobody reports with it: the run itself is looked at.
                let token_hash = Token::new(self.engine.ports.clock.entropy()).hash();
                let order = RunOrder {
                    key,
                    attempt: 1,
                    execution: execution.clone(),
                    inputs: prepared.inputs,
                    tree: tree.clone(),
                };
                let verdict = Verdict::Run { token_hash, predecessor, execution: Some(execution), cache: None };
                (StepEvent::Ready(verdict), Some(Launch::Run(Box::new(order))))
            }
        };
        let change = Change {
            cause: format!("StepReady {path}"),
            on: Subject::New { needs, base: tree },
            event,
            actor: Actor::Engine,
            launch,
            origin: Task::Dispatch(dispatch),
            path,
        };
        let staged = self.staged.len();
        self.change_or_log(change, after);
        if let Some(claim) = self.staged.get(staged).map(|entry| entry.id) {
            for old in left {
                // What it had started goes on under the new claim.
                let again = Task::Dispose(old.key.clone());
                self.cancel_row(old, again, Some(claim));
            }
        }
        Ok(())
    }

    /// The event of a step that needs a task, and what launches it: unless a kept result stands in for it. `None` where it does not begin now.
    async fn begin(
        &mut self,
        dispatch: &Dispatch,
        mut order: Box<Order>,
        parts: Option<Box<KeyParts>>,
        successor: Option<u32>,
        after: Option<u64>,
    ) -> Result<Option<(StepEvent, Option<Launch>)>, EngineError> {
        let predecessor = dispatch.predecessor;
        let settle = |outcome| StepEvent::Ready(Verdict::Settle { outcome, predecessor, successor });
        let wanted = match parts {
            None => None,
            Some(parts) => match Box::pin(self.look_up(&order, &parts)).await? {
                LookedUp::Hit(result) => return Ok(Some((settle(Outcome::Succeeded(*result)), None))),
                LookedUp::Miss(wanted) => Some(wanted),
            },
        };
        match self.beginning(&order).await? {
            Beginning::Now => {}
            Beginning::OncePaid => return Ok(None),
            Beginning::Never(failure) => {
                return Ok(Some((settle(Outcome::Failed { failure, usage: Usage::default() }), None)));
            }
        }
        let Some(slot) = self.take_slot().await? else {
            self.put_off_dispatch(dispatch.clone(), after).await?;
            return Ok(None);
        };
        let computing = match wanted {
            Some(wanted) => Box::pin(self.compute(wanted, &order.key, 1)).await?,
            None => Computing::This(None),
        };
        let cache = match computing {
            Computing::This(cache) => cache,
            Computing::Done => {
                self.slot = Some(slot);
                self.queue_after(Task::Dispatch(dispatch.clone()), after);
                return Ok(None);
            }
            Computing::Other { look_at, until } => {
                self.slot = Some(slot);
                self.wait_for(dispatch.clone(), look_at, until, after).await?;
                return Ok(None);
            }
        };
        let token = self.give_token(&mut order, 1);
        let verdict = Verdict::Run { token_hash: token.hash(), predecessor, execution: None, cache };
        Ok(Some((StepEvent::Ready(verdict), Some(Launch::Task(slot, order)))))
    }

    /// Records what an attempt reports.
    pub(super) async fn report(&mut self, report: AttemptReport, after: Option<u64>) -> Result<(), EngineError> {
        let key = report.key.clone();
        if key.epoch != self.run.row.epoch {
            let rejection = Rejection::OldEpoch { event: key.epoch, current: self.run.row.epoch };
            tracing::info!(step = %key.path, %rejection, "report rejected");
            return Ok(());
        }
        let Some(row) = self.row(&key.path).await? else { return Ok(()) };
        let outcome = match report.outcome.clone() {
            AttemptOutcome::Succeeded(mut result) => {
                // That a run ends early is said by an assertion, never by a process.
                result.concludes = false;
                result.cache = None;
                result.outputs = store_large(self.engine.ports.blobs.as_ref(), result.outputs).await?;
                Outcome::Succeeded(result)
            }
            AttemptOutcome::Failed { mut failure, usage } => {
                failure.session = failure.session.filter(|_| self.may_suspend(&key.path));
                Outcome::Failed { failure, usage }
            }
            AttemptOutcome::Stopped => Outcome::Stopped,
        };
        let successor = self.successor_with_room(&key.path).await?;
        let chance = u32::from_le_bytes(first_four(self.engine.ports.clock.entropy()));
        let change = Change {
            cause: format!("StepFinished {} attempt {}", key.path, report.attempt),
            event: StepEvent::Finished { token_hash: report.token.hash(), outcome, chance, successor },
            actor: Actor::Runner,
            on: Subject::Row(Box::new(row)),
            launch: None,
            path: key.path.clone(),
            origin: Task::Report(Box::new(report)),
        };
        match self.change(change, after) {
            Ok(()) => {}
            Err(rejection @ Rejection::AlreadyRecorded { .. }) => {
                // The handler that recorded it may have died before it told anybody.
                tracing::debug!(step = %key.path, %rejection, "report again");
                self.needs_plan = true;
            }
            Err(rejection) => tracing::info!(step = %key.path, %rejection, "report rejected"),
        }
        Ok(())
    }

    /// Decides about an attempt whose task is gone.
    pub(super) async fn lost(&mut self, key: StepKey, attempt: u32, after: Option<u64>) -> Result<(), EngineError> {
        let Some(row) = self.current(&key).await? else { return Ok(()) };
        let found_in = self.run.row.epoch;
        let lost = |attempt, token_hash, _| StepEvent::Lost { attempt, token_hash, found_in };
        let makes_another = self.run.step_policy(&key.path).on_lost == OnLost::Rerun
            && row.losses < LOSSES_MAX
            && row.attempt == attempt;
        let (event, launch) = if makes_another {
            match self.next_attempt(&row, attempt, lost).await? {
                Some(Next::Attempt(event, launch)) => (*event, launch),
                Some(Next::OverBudget) => return Ok(()),
                None => return self.put_off(Event::TaskLost { key, attempt }, after).await,
            }
        } else {
            (lost(attempt, Token::new(self.engine.ports.clock.entropy()).hash(), None), None)
        };
        self.change_or_log(
            Change {
                cause: format!("TaskLost {} attempt {attempt}", key.path),
                event,
                actor: Actor::Engine,
                launch,
                path: key.path.clone(),
                on: Subject::Row(Box::new(row)),
                origin: Task::Lost { key, attempt },
            },
            after,
        );
        Ok(())
    }

    /// Starts the next attempt of a step whose time has come.
    pub(super) async fn retry(&mut self, key: StepKey, attempt: u32, after: Option<u64>) -> Result<(), EngineError> {
        let Some(row) = self.current(&key).await? else { return Ok(()) };
        if row.status() != StepStatus::Waiting {
            return Ok(());
        }
        let due = |attempt, token_hash, execution| StepEvent::RetryDue { attempt, token_hash, execution };
        let (event, launch) = match self.next_attempt(&row, attempt, due).await? {
            Some(Next::Attempt(event, launch)) => (*event, launch),
            Some(Next::OverBudget) => return Ok(()),
            None => return self.put_off(Event::RetryDue { key, attempt }, after).await,
        };
        self.change_or_log(
            Change {
                cause: format!("RetryDue {} attempt {attempt}", key.path),
                event,
                actor: Actor::Engine,
                launch,
                path: key.path.clone(),
                on: Subject::Row(Box::new(row)),
                origin: Task::Retry { key, attempt },
            },
            after,
        );
        Ok(())
    }

    /// Ends the wait of a step whose time has come.
    pub(super) async fn time_come(&mut self, key: StepKey, after: Option<u64>) -> Result<(), EngineError> {
        let Some(row) = self.current(&key).await? else { return Ok(()) };
        let successor = self.successor_of(&key.path).await?;
        self.change_or_log(
            Change {
                cause: format!("TimeCome {}", key.path),
                event: StepEvent::TimeCome { successor },
                actor: Actor::Engine,
                launch: None,
                path: key.path.clone(),
                on: Subject::Row(Box::new(row)),
                origin: Task::TimeCome(key),
            },
            after,
        );
        Ok(())
    }

    /// Tells those that need a settled step, or the fan-out that it is a child of.
    pub(super) async fn tell(&mut self, row: StepRow, after: Option<u64>) -> Result<(), EngineError> {
        let Some(outcome) = row.outcome() else { return Ok(()) };
        if row.key.epoch != self.run.row.epoch {
            return Ok(());
        }
        if let Some(child) = row.key.path.child {
            return self.tell_parent(&row, child, outcome, after).await;
        }
        let graph = &self.run.workflow.clone().graph;
        let Some(node) = graph.node_of(&row.key.path.step) else { return Ok(()) };
        match node.id.as_str() {
            StepId::END => self.queue_after(Task::End(row.needs), after),
            StepId::FINALLY => self.queue_after(Task::WorkOver, after),
            _ => {}
        }
        for (dependent, ordinal) in &node.dependents {
            let dependent = graph.node(*dependent);
            let step = dependent.id.clone();
            if dependent.needs.len() == 1 {
                self.queue_after(Task::Dispatch(Dispatch::step(step, outcome)), after);
            } else {
                let place = dependent.join().place(*ordinal);
                self.queue_after(Task::Arrive { step, kind: JoinKind::Needs, place, outcome }, after);
            }
        }
        Ok(())
    }

    /// A bucket of a join after an arrival: where it is full, the one above it is told, or the step that waits.
    pub(super) async fn united(&mut self, bucket: &JoinRow) -> Result<(), EngineError> {
        let step = bucket.key.step.clone();
        let shape = match bucket.key.kind {
            JoinKind::Needs => self.run.node(&step)?.join(),
            JoinKind::Children => match self.row(&StepPath::step(step.clone())).await?.and_then(|row| row.children()) {
                Some(count) => ratchet_core::join::JoinShape::new(count),
                None => return Ok(()),
            },
        };
        if !shape.is_full(bucket) {
            return Ok(());
        }
        let outcome = bucket.outcome();
        let task = match (shape.parent(bucket.key.level, bucket.key.bucket), bucket.key.kind) {
            (Some(place), kind) => Task::Arrive { step, kind, place, outcome },
            (None, JoinKind::Needs) => Task::Dispatch(Dispatch::step(step, outcome)),
            (None, JoinKind::Children) => Task::ChildrenDone(step),
        };
        self.push(task);
        Ok(())
    }

    /// Says in the execution's row that the work is over and `finally` runs.
    pub(super) fn work_over(&mut self, after: Option<u64>) {
        self.change_execution(&ExecutionEvent::WorkOver, Task::WorkOver, after);
    }

    /// Ends the run.
    pub(super) async fn end(&mut self, needs: NeedOutcome, after: Option<u64>) -> Result<(), EngineError> {
        // Whoever was to stop the children of a fan-out that failed may have died, and nobody looks after a run that has ended.
        match self.stop_left_behind().await? {
            LeftBehind::Nothing => {}
            LeftBehind::Stopping => {
                let last = self.staged.last().map(|entry| entry.id);
                return self.act_after(Act::Then(Task::End(needs)), last).await;
            }
            // Their end is told, and looked for by the wake-up: the run ends then.
            LeftBehind::Ending => return Ok(()),
        }
        Box::pin(settle_ended(self.engine, &self.run)).await?;
        let end = self.row(&StepPath::step(StepId::new(StepId::END))).await?;
        let tree = end.as_ref().and_then(|end| end.tree().cloned());
        let given = execution_row::outputs(self.engine, &self.run, &self.overlay, tree.as_ref()).await?;
        let mut outputs = match given.failure {
            None => Ok(given.outputs),
            // A success all the same: what it gives stands, and what cannot be evaluated is null.
            Some(failure) if self.run.row.endings.contains(&Ending::Succeeded) => {
                tracing::info!(execution = %self.run.row.id, %failure, "the run ended early without this output");
                Ok(given.outputs)
            }
            // What failed or was left out is the steps' to tell: an output that cannot be evaluated is only what follows from it.
            Some(_) if needs.failed_above || !self.run.row.endings.is_empty() => Ok(Outputs::new()),
            Some(failure) => Err(failure),
        };
        if let Some(conflict) = self.conflict(end).await? {
            outputs = Err(conflict);
        }
        let event =
            ExecutionEvent::AllSettled { failed: needs.failed_above, continued: needs.continued_above, outputs, tree };
        self.change_execution(&event, Task::End(needs), after);
        Ok(())
    }

    /// Why what the last steps left, or those of the work, could not be brought together.
    async fn conflict(&self, end: Option<StepRow>) -> Result<Option<StepFailure>, EngineError> {
        if self.run.row.tree.is_none() {
            return Ok(None);
        }
        let finally = StepId::new(StepId::FINALLY);
        let finally = match self.run.graph().node_of(&finally) {
            Some(_) => self.row(&StepPath::step(finally)).await?,
            None => None,
        };
        let told = |row: StepRow| row.result.and_then(|result| result.warning);
        let message = finally.and_then(told).or_else(|| end.and_then(told));
        Ok(message.map(|message| StepFailure::new(FailureClass::Conflict, message).with_code(trees::CONFLICT)))
    }

    fn change_execution(&mut self, event: &ExecutionEvent, origin: Task, after: Option<u64>) {
        let now = self.engine.ports.clock.now();
        match execution_row::change(&self.run, event, Actor::Engine, event.name().to_owned(), now) {
            Ok((row, record)) => {
                let expect = Expectation::Revision(self.run.row.revision);
                let told = execution_row::for_parent(&row, &record).map(|told| Act::Publish(Box::new(told)));
                let mut acts = vec![Act::ExecutionChanged(Box::new(row.clone()), Box::new(record))];
                acts.extend(told);
                self.run.row = row.clone();
                let leaving = turns::leaving(&row);
                // Before the run ends: nobody looks after one that has.
                for artifact in artifacts::of_run(&self.run.workflow, &row) {
                    self.stage(Write::Artifact(Box::new(artifact)), after, None, Vec::new());
                }
                let id = self.stage(Write::Execution { row: Box::new(row), expect }, after, Some(origin), acts);
                if let Some(leaving) = leaving {
                    self.stage(leaving, Some(id), None, Vec::new());
                }
            }
            Err(rejection) => tracing::debug!(execution = %self.run.row.id, %rejection, "rejected"),
        }
    }

    pub(super) fn change_or_log(&mut self, change: Change, after: Option<u64>) {
        let path = change.path.clone();
        if let Err(rejection) = self.change(change, after) {
            tracing::debug!(step = %path, %rejection, "rejected");
        }
    }

    /// The event of another attempt, and what launches it where the decision is to; `None` where there is no room for it now.
    async fn next_attempt(
        &mut self,
        row: &StepRow,
        attempt: u32,
        event: impl Fn(u32, TokenHash, Option<ExecutionId>) -> StepEvent,
    ) -> Result<Option<Next>, EngineError> {
        let parent = match row.key.path.child {
            Some(_) => self.row(&StepPath::step(row.key.path.step.clone())).await?,
            None => None,
        };
        let ready = Ready {
            path: &row.key.path,
            needs: row.needs,
            base: Base::of(row.base.clone()),
            predecessor: row.predecessor,
            parent: parent.as_ref(),
            adopts: None,
            successor: None,
        };
        let mut order = match prepare(self.engine, &self.run, &self.overlay, &ready).await? {
            Prepared::Task(order, _) => order,
            Prepared::Run(prepared) => {
                let key = row.key.clone();
                let execution = ExecutionId::of_attempt(&key, attempt + 1);
                let token_hash = Token::new(self.engine.ports.clock.entropy()).hash();
                let event = event(attempt, token_hash, Some(execution.clone()));
                let order =
                    RunOrder { key, attempt: attempt + 1, execution, inputs: prepared.inputs, tree: row.base.clone() };
                return Ok(Some(Next::Attempt(Box::new(event), Some(Launch::Run(Box::new(order))))));
            }
            // What it reads has changed since its first attempt was claimed, and it no longer says what to run.
            Prepared::Settled(verdict) => {
                return Ok(Some(Next::Attempt(Box::new(Self::no_longer_runs(row, *verdict)), None)));
            }
        };
        match self.beginning(&order).await? {
            Beginning::Now => {}
            Beginning::OncePaid => return Ok(Some(Next::OverBudget)),
            Beginning::Never(failure) => {
                return Ok(Some(Next::Attempt(Box::new(StepEvent::GivenUp { failure }), None)));
            }
        }
        let Some(slot) = self.take_slot().await? else { return Ok(None) };
        self.compute_again(row, attempt + 1).await;
        let token = self.give_token(&mut order, attempt + 1);
        let event = Box::new(event(attempt, token.hash(), None));
        Ok(Some(Next::Attempt(event, Some(Launch::Task(slot, order)))))
    }

    pub(super) fn no_longer_runs(row: &StepRow, verdict: Verdict) -> StepEvent {
        let failure = match verdict {
            Verdict::Settle { outcome: Outcome::Failed { failure, .. }, .. } => failure,
            _ => StepFailure::new(
                FailureClass::Definition,
                format!(
                    "{} no longer has anything to run: what it reads has changed since its last attempt",
                    row.key.path
                ),
            ),
        };
        tracing::warn!(step = %row.key.path, %failure, "the next attempt cannot be made");
        StepEvent::GivenUp { failure }
    }

    fn give_token(&self, order: &mut Order, attempt: u32) -> Token {
        let token = Token::new(self.engine.ports.clock.entropy());
        order.token = token.clone();
        order.attempt = attempt;
        order.trace = self.run.row.trace.of_attempt(&order.key, attempt);
        token
    }

    /// A slot, where one is free now.
    pub(super) async fn take_slot(&mut self) -> Result<Option<Slot>, EngineError> {
        if let Some(slot) = self.slot.take() {
            return Ok(Some(slot));
        }
        tokio::select! {
            biased;
            slot = self.engine.ports.launcher.reserve() => Ok(Some(slot?)),
            () = std::future::ready(()) => Ok(None),
        }
    }

    /// Leaves a step that is ready to a handler of its own.
    async fn put_off_dispatch(&mut self, dispatch: Dispatch, after: Option<u64>) -> Result<(), EngineError> {
        let Dispatch { path, needs, predecessor, .. } = dispatch;
        let epoch = self.run.row.epoch;
        self.put_off(Event::StepReady { epoch, path, needs, predecessor }, after).await
    }

    /// Leaves a step to a handler of its own, which waits for a slot. What was staged is committed first: no result waits for room.
    pub(super) async fn put_off(&mut self, event: Event, after: Option<u64>) -> Result<(), EngineError> {
        self.put_off += 1;
        self.act_after(Act::Publish(Box::new(self.envelope(event))), after).await
    }

    /// Of a child whose attempt ends: who takes over its lane at once. Without room for its task nobody is named, because every lane that waits would name the
    /// same child, and all but one would have to name another again and again.
    async fn successor_with_room(&mut self, path: &StepPath) -> Result<Option<u32>, EngineError> {
        match self.successor_of(path).await? {
            Some(successor) => Ok(self.take_lane_slot(path).await?.then_some(successor)),
            None => Ok(None),
        }
    }

    /// Takes a slot, where one is free now, for the child that takes over the lane of another.
    pub(super) async fn take_lane_slot(&mut self, lane: &StepPath) -> Result<bool, EngineError> {
        if !self.lane_slots.contains_key(lane) {
            let Some(slot) = self.take_slot().await? else { return Ok(false) };
            self.lane_slots.insert(lane.clone(), slot);
        }
        Ok(true)
    }

    /// Of a child that settles: who would take over its lane.
    pub(super) async fn successor_of(&mut self, path: &StepPath) -> Result<Option<u32>, EngineError> {
        if path.child.is_none() {
            return Ok(None);
        }
        let parent = self.row(&StepPath::step(path.step.clone())).await?;
        let Some(StepState::FannedOut { count, lanes }) = parent.map(|row| row.state) else { return Ok(None) };
        // Where each child has a lane of its own none takes another's over, and nobody needs to look.
        if lanes >= count {
            return Ok(None);
        }
        let last = self.last_child(&path.step).await?.max(path.child);
        Ok(fan_out::successor(last, lanes, count))
    }

    /// The row of a step or child in the current epoch, what was staged included.
    pub(super) async fn row(&self, path: &StepPath) -> Result<Option<StepRow>, EngineError> {
        if let Some(row) = self.overlay.get(path) {
            return Ok(Some(row.clone()));
        }
        Ok(self.engine.ports.store.step(&self.run.key(path.clone())).await?)
    }

    /// The row of an event's key, where the event is of the current epoch.
    async fn current(&self, key: &StepKey) -> Result<Option<StepRow>, EngineError> {
        if key.epoch != self.run.row.epoch || !self.run.row.accepts_claims(key.epoch) {
            return Ok(None);
        }
        self.row(&key.path).await
    }
}

pub(super) fn first_four(bytes: [u8; 16]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}
