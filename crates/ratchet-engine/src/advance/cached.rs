//! Results of other runs that stand in for steps, and results that are kept for other runs.
//!
//! Nothing here fails a step: where the cache cannot be asked, the step runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    cached::{CacheMode, CacheUse, Found, Hit, Miss},
    ids::{Digest, StepKey},
    output::Output,
    status::{ExecutionStatus, StepStatus},
    step::{StepResult, StepRow, StepState, Usage},
    workflow::Step,
};

use super::{Act, Advance, Dispatch};
use crate::{
    engine::EngineError,
    execution_row,
    order::{Order, OutputOrderSource},
    ports::{EXPECTED_UNKNOWN, Entry, EntryName, Event, Laid, Lease, Leased, Looked, UseFilter, WorkspaceError},
    run::Run,
    step_cache::{self, KeyParts, Restored},
};

/// How often another attempt is asked after before the step runs without being the one that computes it.
const ASKED_MAX: u32 = 10;
/// How long a handler may take from a lease to the claim that it is for.
const CLAIM_SECONDS_MAX: i64 = 10;
/// The shortest time that an attempt is given before others no longer wait for it.
const PATIENCE_MIN: Duration = Duration::from_secs(30);
/// How many runs of a step say how long it takes.
const RUNS_SEEN: usize = 10;
/// The shortest and the longest time between two looks at what another computes.
const LOOK_MIN: SignedDuration = SignedDuration::from_millis(100);
const LOOK_MAX: SignedDuration = SignedDuration::from_secs(5);

/// What the cache says of a step that is ready.
pub(super) enum LookedUp {
    /// A kept result stands in for it.
    Hit(Box<StepResult>),
    /// It runs.
    Miss(Wanted),
}

/// A result that is to be computed.
pub(super) struct Wanted {
    name: EntryName,
    missed: Miss,
    /// Whether others who need it are to wait for it.
    is_shared: bool,
}

impl Wanted {
    fn cache_use(self) -> CacheUse {
        CacheUse { key: self.name.key, found: Found::Miss(self.missed) }
    }
}

/// Who computes a result.
pub(super) enum Computing {
    /// This attempt.
    This(Option<Box<CacheUse>>),
    /// It is there by now.
    Done,
    /// Another does: it is looked at again at the one time, and no longer waited for from the other on.
    Other { look_at: Timestamp, until: Timestamp },
}

/// What is known of a lease.
enum Standing {
    /// Its attempt runs, or is about to.
    Live,
    /// Its attempt has ended without a result.
    Over,
    /// Its attempt gave a result that nobody has kept yet.
    Unkept(Box<StepRow>),
}

impl Advance<'_> {
    /// Looks for a result that can stand in for a step.
    pub(super) async fn look_up(&self, order: &Order, parts: &KeyParts) -> Result<LookedUp, EngineError> {
        let Some(step) = self.run.workflow.step(&order.key.path.step) else {
            return Err(EngineError::NoSuchStep {
                workflow: self.run.workflow.name.clone(),
                step: order.key.path.step.clone(),
            });
        };
        let ports = &self.engine.ports;
        // So that it can be told later which part of two keys differs.
        let key = ports.blobs.put(&parts.canonical()).await?.digest;
        let name = step_cache::name_of(&self.run.workflow.name, step, key);
        let miss = |missed, is_shared| LookedUp::Miss(Wanted { name: name.clone(), missed, is_shared });
        if self.refreshes(step) {
            return Ok(miss(Miss::Refreshed, false));
        }
        let now = ports.clock.now();
        let entry = match ports.step_cache.get(&name, now).await {
            Ok(Looked::Entry(entry)) => entry,
            Ok(Looked::Absent) => return Ok(miss(Miss::Absent, true)),
            Ok(Looked::Expired) => return Ok(miss(Miss::Expired, true)),
            Ok(Looked::Damaged(reason)) => return Ok(miss(damaged(&order.key, reason), true)),
            Err(error) => return Ok(miss(unavailable(&order.key, &error), false)),
        };
        if step_cache::expiry(step, entry.created_at).is_some_and(|at| at <= now) {
            self.remove(&name).await;
            return Ok(miss(Miss::Expired, true));
        }
        match self.restore(&entry, order).await? {
            Restored::Whole(tree) => Ok(LookedUp::Hit(Box::new(result_of(*entry, tree)))),
            Restored::Differs(path) => Ok(miss(Miss::Differs { path }, false)),
            Restored::Damaged(reason) => {
                self.remove(&name).await;
                Ok(miss(damaged(&order.key, reason), true))
            }
        }
    }

    /// Whether the step is to run although a result of it may be there: the call says so, or a person had it reset by its name.
    fn refreshes(&self, step: &Step) -> bool {
        let resumes = self.run.row.resumes();
        let reset = resumes.last().filter(|resume| resume.epoch == self.run.row.epoch);
        self.run.row.options.cache == CacheMode::Refresh || reset.is_some_and(|reset| reset.asked.contains(&step.id))
    }

    /// What an entry gives, compared with its digests and laid over the files that the step begins with.
    async fn restore(&self, entry: &Entry, order: &Order) -> Result<Restored, EngineError> {
        let ports = &self.engine.ports;
        if let Err(reason) = step_cache::check_outputs(ports.blobs.as_ref(), &entry.outputs).await? {
            return Ok(Restored::Damaged(reason));
        }
        if let Some(session) = &entry.session
            && !ports.blobs.contains(&session.digest).await?
        {
            return Ok(Restored::Damaged("the agent's session is not there any more".to_owned()));
        }
        let (Some(left), Some(base)) = (&entry.tree, &order.tree) else {
            return self.with_outputs(entry, order, order.tree.clone()).await;
        };
        let outputs: Vec<String> = order
            .outputs
            .iter()
            .filter_map(|output| match &output.source {
                OutputOrderSource::File(path) => Some(path.clone()),
                OutputOrderSource::From { .. } => None,
            })
            .collect();
        match ports.workspaces.lay(&self.run.row, base, left, &outputs).await {
            Ok(Laid::Tree(tree)) => self.with_outputs(entry, order, Some(tree)).await,
            Ok(Laid::Differs(path)) => Ok(Restored::Differs(path)),
            Err(error @ WorkspaceError::Damaged { .. }) => Ok(Restored::Damaged(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// The files that the step gives as outputs are there, also where making them again had changed nothing.
    async fn with_outputs(
        &self,
        entry: &Entry,
        order: &Order,
        mut tree: Option<Digest>,
    ) -> Result<Restored, EngineError> {
        let ports = &self.engine.ports;
        for output in &order.outputs {
            let (OutputOrderSource::File(_), Some(Output::File(file))) =
                (&output.source, entry.outputs.get(&output.name))
            else {
                continue;
            };
            let files = ports.workspaces.files(&self.run.row, tree.as_ref()).await?;
            if files.digest(&file.path).ok().flatten().as_ref() == Some(&file.content.digest) {
                continue;
            }
            if let Some(left) = &entry.tree {
                let left = ports.workspaces.files(&self.run.row, Some(left)).await?;
                if left.digest(&file.path).ok().flatten().as_ref() != Some(&file.content.digest) {
                    // The step did not leave it there either.
                    continue;
                }
            }
            let content = ports.blobs.get(&file.content.digest).await?;
            match ports.workspaces.write(&self.run.row, tree.as_ref(), &file.path, &content).await {
                Ok(written) => tree = written.tree,
                Err(error) => {
                    tracing::info!(step = %order.key, %error, "a file output cannot be put back");
                    return Ok(Restored::Differs(file.path.clone()));
                }
            }
        }
        Ok(Restored::Whole(tree))
    }

    async fn remove(&self, name: &EntryName) {
        if let Err(error) = self.engine.ports.step_cache.remove(name).await {
            tracing::warn!(%error, "an entry stays that is to be removed");
        }
    }

    /// Has an attempt be the one that computes a result, where no other is.
    pub(super) async fn compute(
        &self,
        mut wanted: Wanted,
        key: &StepKey,
        attempt: u32,
    ) -> Result<Computing, EngineError> {
        let cache = &self.engine.ports.step_cache;
        let mut over = None;
        for _ in 0..ASKED_MAX {
            if !wanted.is_shared {
                break;
            }
            let now = self.engine.ports.clock.now();
            let patience = self.expected(key).await.saturating_mul(2).max(PATIENCE_MIN);
            let lease = Lease { holder: key.clone(), attempt, taken_at: now, until: after(now, patience) };
            let held = match cache.lease(&wanted.name, lease, over.as_ref()).await {
                Ok(Leased::Taken) => break,
                Ok(Leased::Published) => return Ok(Computing::Done),
                Ok(Leased::Held(held)) => held,
                Err(error) => {
                    wanted.missed = unavailable(key, &error);
                    break;
                }
            };
            if held.until <= now {
                wanted.missed = Miss::WaitedLong { holder: held.holder.clone() };
                over = Some(held);
                continue;
            }
            match self.standing(&wanted.name, &held, now).await? {
                Standing::Live => {
                    let waited = now.duration_since(held.taken_at).max(SignedDuration::ZERO);
                    let look_at = (now + (waited / 4).clamp(LOOK_MIN, LOOK_MAX)).min(held.until);
                    return Ok(Computing::Other { look_at, until: held.until });
                }
                Standing::Over => {}
                Standing::Unkept(row) => self.keep_for(&row).await?,
            }
            over = Some(held);
        }
        Ok(Computing::This(Some(Box::new(wanted.cache_use()))))
    }

    /// How long an attempt of a step takes, by what is known of others.
    async fn expected(&self, key: &StepKey) -> Duration {
        let filter = UseFilter {
            workflow: Some(self.run.workflow.name.clone()),
            step: Some(key.path.step.clone()),
            hit: Some(false),
            ..UseFilter::default()
        };
        let runs = self.engine.ports.step_cache.uses(&filter, RUNS_SEEN).await.unwrap_or_default();
        let all: u64 = runs.iter().map(|used| used.usage.start_ms + used.usage.process_ms).sum();
        all.checked_div(runs.len() as u64).map_or(EXPECTED_UNKNOWN, Duration::from_millis)
    }

    /// A lease ends with its attempt: whether that has ended says its row.
    async fn standing(&self, name: &EntryName, held: &Lease, now: Timestamp) -> Result<Standing, EngineError> {
        let store = &self.engine.ports.store;
        let is_on_its_way = now.duration_since(held.taken_at) < SignedDuration::from_secs(CLAIM_SECONDS_MAX);
        // One that was killed leaves rows that say that it runs.
        let is_driven = self.engine.ports.launcher.is_driven(&held.holder.execution);
        let before_its_claim = if is_on_its_way && is_driven { Standing::Live } else { Standing::Over };
        // Before the row: of a run that has ended the row is then read as it stays.
        let execution = store.execution(&held.holder.execution).await?;
        let Some(row) = store.step(&held.holder).await? else { return Ok(before_its_claim) };
        if row.attempt < held.attempt {
            return Ok(before_its_claim);
        }
        let is_key = |cache: &CacheUse| cache.key == name.key && cache.hit().is_none();
        if row.status() == StepStatus::Completed && row.cache.as_deref().is_some_and(is_key) {
            return Ok(Standing::Unkept(Box::new(row)));
        }
        if !is_driven || !matches!(row.state, StepState::Running { .. }) || row.attempt != held.attempt {
            return Ok(Standing::Over);
        }
        let goes_on = execution.is_some_and(|execution| {
            execution.epoch == held.holder.epoch
                && matches!(execution.status, ExecutionStatus::Running | ExecutionStatus::Paused)
        });
        Ok(if goes_on { Standing::Live } else { Standing::Over })
    }

    /// Keeps what another handler recorded and died before it kept.
    async fn keep_for(&self, row: &StepRow) -> Result<(), EngineError> {
        let run = if row.key.execution == self.run.row.id {
            self.run.clone()
        } else {
            Run::load(self.engine, &row.key.execution).await?
        };
        step_cache::keep(self.engine, &run, row).await;
        Ok(())
    }

    /// Looks at a step again when another attempt may have computed what it needs.
    pub(super) async fn wait_for(
        &mut self,
        dispatch: Dispatch,
        look_at: Timestamp,
        until: Timestamp,
        after: Option<u64>,
    ) -> Result<(), EngineError> {
        let Dispatch { path, needs, predecessor, .. } = dispatch;
        self.put_off += 1;
        let key = self.run.key(path.clone());
        if !self.engine.waits.begin(&key, look_at, self.engine.ports.clock.now()) {
            return Ok(());
        }
        let event = Event::StepReady { epoch: key.epoch, path, needs, predecessor };
        let envelope = Box::new(self.envelope(event));
        self.act_after(Act::LookAgain { envelope, look_at, until }, after).await
    }

    /// Publishes an event for a time, and has the run looked at when that may have been lost.
    pub(super) async fn look_again(
        &self,
        envelope: crate::ports::Envelope,
        look_at: Timestamp,
        until: Timestamp,
    ) -> Result<(), EngineError> {
        execution_row::wake_by(self.engine, &self.run.row.id, until).await?;
        Ok(self.engine.ports.bus.publish_at(envelope, look_at).await?)
    }

    /// Of another attempt of a step whose first one was to compute a result: it does so too, where nobody else does by now.
    pub(super) async fn compute_again(&self, row: &StepRow, attempt: u32) {
        let (Some(cache), Some(step)) = (&row.cache, self.run.workflow.step(&row.key.path.step)) else { return };
        let name = step_cache::name_of(&self.run.workflow.name, step, cache.key.clone());
        let now = self.engine.ports.clock.now();
        let patience = self.expected(&row.key).await.saturating_mul(2).max(PATIENCE_MIN);
        let lease = Lease { holder: row.key.clone(), attempt, taken_at: now, until: after(now, patience) };
        if let Err(error) = self.engine.ports.step_cache.lease(&name, lease, None).await {
            tracing::warn!(%error, "others may compute the same");
        }
    }
}

/// What a kept result gives in the place of the step.
fn result_of(entry: Entry, tree: Option<Digest>) -> StepResult {
    let hit = Hit { from: entry.made_by, saved: entry.usage, unproven: entry.unproven };
    StepResult {
        outputs: entry.outputs,
        exit_code: entry.exit_code,
        usage: Usage::default(),
        warning: entry.warning,
        concludes: false,
        cache: Some(Box::new(CacheUse { key: entry.name.key, found: Found::Hit(Box::new(hit)) })),
        tree,
        session: entry.session,
    }
}

fn damaged(key: &StepKey, reason: String) -> Miss {
    tracing::warn!(step = %key, reason, "a kept result is damaged: it was removed, and the step runs");
    Miss::Damaged { reason }
}

fn unavailable(key: &StepKey, error: &crate::ports::CacheError) -> Miss {
    tracing::warn!(step = %key, %error, "the step cache cannot be asked: the step runs");
    Miss::Unavailable { reason: error.to_string() }
}

/// A time after another; the end of time where there is none.
fn after(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
