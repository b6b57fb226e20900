use std::{fmt::Write as _, time::Duration};

use clap::Args;
use ratchet_core::{
    cached::{CacheMode, CacheUse, Found, Miss},
    execution::ExecutionRow,
    ids::{Digest, StepId, StepKey, StepPath},
    status::StepStatus,
    step::StepRow,
    workflow::{Step, Workflow},
};
use ratchet_engine::{
    ports::{BlobError, BlobStore, StepCache, UseFilter, Used},
    step_cache::KeyParts,
};
use ratchet_local::place::LocalPlace;
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition,
    driving::cache_bytes_max,
    execution_name,
    exit_code::ExitCode,
    state::State,
    words::{dollars, elapsed},
};

/// Uses that are looked through for the last run's.
const USES_SEEN: usize = 200;

/// Say why a step ran, or why a kept result stood in for it
#[derive(Debug, Args)]
#[command(after_help = "\
The key of a step's result is compared with that of the run before: which parts of it differ is why the step ran again.

Examples:
  ratchet why last generate_tests
  ratchet why k3f9 tests --json | jq '.changed'
  ratchet why last lint[3]                       a child of a `foreach`")]
pub(crate) struct WhyArguments {
    /// The execution
    execution: String,
    /// The step, or `STEP[N]` for a child of a `foreach`
    step: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &WhyArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let (path, why) = Why::of(&state, &row, &arguments.step).await?;
    if arguments.json {
        console.json(&why.json(&row, &path))?;
    } else {
        console.text(&why.text(&path))?;
    }
    Ok(ExitCode::Completed)
}

/// What `--json` prints, with the parts of the key.
pub(crate) async fn answer(state: &State, row: &ExecutionRow, step: &str) -> Result<Value, CommandError> {
    let (path, why) = Why::of(state, row, step).await?;
    let mut answer = why.json(row, &path);
    let parts = match &why.cache {
        Some(cache) => parts(&*state.blobs, &cache.key).await?,
        None => None,
    };
    answer["parts"] = parts.map_or(Value::Null, |parts| {
        parts.iter().map(|(name, digest)| json!({ "name": name, "digest": digest })).collect()
    });
    Ok(answer)
}

/// `step`, or `step[3]`.
fn path<'a>(workflow: &'a Workflow, text: &str) -> Result<(&'a Step, StepPath), CommandError> {
    let (name, child) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((name, child)) => (name, child.parse().ok()),
        None => (text, None),
    };
    let step = definition::step(workflow, name)?;
    Ok((step, StepPath { step: step.id.clone(), child }))
}

async fn find(state: &State, run: &ExecutionRow, path: &StepPath) -> Result<Option<StepRow>, CommandError> {
    let newest = state.store.newest_steps(&run.id, run.epoch, std::slice::from_ref(&path.step)).await?;
    let Some(row) = newest.into_iter().next().flatten() else { return Ok(None) };
    match path.child {
        None => Ok(Some(row)),
        Some(_) => Ok(state.store.step(&StepKey { path: path.clone(), ..row.key }).await?),
    }
}

/// What is known of a step and its key.
struct Why {
    status: StepStatus,
    cache: Option<CacheUse>,
    /// Why there is no key.
    no_key: Option<&'static str>,
    before: Option<Before>,
}

/// The last run of the same step that had a key.
pub(super) struct Before {
    pub(super) step: StepKey,
    key: Digest,
    /// The parts that differ; `None` where those of one of the two are not kept any more.
    pub(super) changed: Option<Vec<String>>,
}

impl Before {
    /// Compares the key of a step with that of the run before it. `row` is the step's.
    pub(super) async fn find(
        (step_cache, blobs): (&dyn StepCache, &dyn BlobStore),
        run: &ExecutionRow,
        path: &StepPath,
        row: Option<&StepRow>,
        key: &Digest,
    ) -> Result<Option<Self>, CommandError> {
        let Some(used) = last_use(step_cache, run, path, row).await? else { return Ok(None) };
        let (old, new) = (parts(blobs, &used.name.key).await?, parts(blobs, key).await?);
        let changed = old.zip(new).map(|(old, new)| new.differences(&old));
        Ok(Some(Self { step: used.step, key: used.name.key, changed }))
    }
}

impl Why {
    async fn of(state: &State, row: &ExecutionRow, step: &str) -> Result<(StepPath, Self), CommandError> {
        let workflow = state.workflow(row).await?;
        let (step, path) = path(&workflow, step)?;
        let step_row = find(state, row, &path).await?;
        let why = Self::find(state, row, step, &path, step_row.as_ref()).await?;
        Ok((path, why))
    }

    async fn find(
        state: &State,
        run: &ExecutionRow,
        step: &Step,
        path: &StepPath,
        row: Option<&StepRow>,
    ) -> Result<Self, CommandError> {
        let status = row.map_or(StepStatus::Pending, StepRow::status);
        let Some(cache) = row.and_then(|row| row.cache.as_deref()) else {
            let no_key = Some(no_key(run, step, row)?);
            return Ok(Self { status, cache: None, no_key, before: None });
        };
        let step_cache = state.step_cache(cache_bytes_max()?);
        let before = Before::find((&*step_cache, &*state.blobs), run, path, row, &cache.key).await?;
        Ok(Self { status, cache: Some(cache.clone()), no_key: None, before })
    }

    fn text(&self, path: &StepPath) -> String {
        let mut text = String::new();
        let Some(cache) = &self.cache else {
            let _ = writeln!(text, "{path} is {}: {}", self.status, self.no_key.unwrap_or_default());
            return text;
        };
        let _ = writeln!(text, "{path} {}", found(&cache.found));
        let _ = writeln!(text, "  key     {}", cache.key);
        match &self.before {
            None => text.push_str("  before  no run before this one had a key for it\n"),
            Some(before) if before.key == cache.key => {
                let _ = writeln!(text, "  before  {} had the same key", before.step.execution);
            }
            Some(before) => {
                let _ = writeln!(text, "  before  {} had the key {}", before.step.execution, before.key);
                match &before.changed {
                    None => text.push_str("  changed (what one of the two was made of is not kept any more)\n"),
                    Some(changed) => {
                        for part in changed {
                            let _ = writeln!(text, "  changed {part}");
                        }
                    }
                }
            }
        }
        text
    }

    fn json(&self, run: &ExecutionRow, path: &StepPath) -> Value {
        let hit = self.cache.as_ref().and_then(CacheUse::hit);
        json!({
            "execution_id": run.id,
            "step": path.to_string(),
            "status": self.status,
            "cache_key": self.cache.as_ref().map(|cache| &cache.key),
            "cached": hit.is_some(),
            "from": hit.map(|hit| &hit.from.execution),
            "saved_ms": hit.map(|hit| hit.saved.process_ms),
            "saved_usd": hit.and_then(|hit| hit.saved.cost_usd),
            "unproven": hit.map(|hit| hit.unproven),
            "reason": match &self.cache {
                Some(cache) => found(&cache.found),
                None => self.no_key.unwrap_or_default().to_owned(),
            },
            "path": self.cache.as_ref().and_then(|cache| match &cache.found {
                Found::Miss(Miss::Differs { path }) => Some(path),
                _ => None,
            }),
            "previous": self.before.as_ref().map(|before| json!({
                "execution_id": before.step.execution, "cache_key": before.key,
            })),
            "changed": self.before.as_ref().and_then(|before| before.changed.as_ref()),
        })
    }
}

/// Why a step has no key.
pub(super) fn no_key(run: &ExecutionRow, step: &Step, row: Option<&StepRow>) -> Result<&'static str, CommandError> {
    Ok(if !step.cache.enabled {
        "its results are not kept: `use_cache`, `cache_key` or `cache` ask for that"
    } else if LocalPlace::of(run)?.in_place {
        "--in-place: what a step changes there is not known, so that no result is kept"
    } else if run.options.cache == CacheMode::Off {
        "--no-cache: the run uses no results and keeps none"
    } else if !step.action.needs_task() {
        "the engine does it at once, which is as fast as to look for a result"
    } else if row.is_some_and(|row| row.items.is_some()) {
        "each of its children has a key of its own: name one, like STEP[0]"
    } else if row.is_none_or(|row| row.attempt == 0) {
        "it has not begun"
    } else {
        "it reads files outside the workspace, which no key covers"
    })
}

fn found(found: &Found) -> String {
    match found {
        Found::Hit(hit) => {
            let saved = elapsed(Duration::from_millis(hit.saved.process_ms));
            let money = hit.saved.cost_usd.map(|cost| format!(" and {}", dollars(cost))).unwrap_or_default();
            let unproven = if hit.unproven { "; no assertion has confirmed it yet" } else { "" };
            format!("did not run: the result of {} stood in for it, which saved {saved}{money}{unproven}", hit.from)
        }
        Found::Miss(miss) => match miss {
            Miss::Absent => "ran: no result was kept under its key".to_owned(),
            Miss::Expired => "ran: the result under its key had had its time".to_owned(),
            Miss::Damaged { reason } => format!("ran: the result under its key was damaged, and was removed: {reason}"),
            Miss::Differs { path } => {
                format!("ran: {path} is neither as the kept result found it nor as it left it, and is not overwritten")
            }
            Miss::Refreshed => "ran: a new result was asked for".to_owned(),
            Miss::WaitedLong { holder } => {
                format!("ran: {holder} computed the same, for longer than it was expected to")
            }
            Miss::Unavailable { reason } => format!("ran: {reason}"),
        },
    }
}

/// How the same step was settled last, in another run before this one.
async fn last_use(
    step_cache: &dyn StepCache,
    run: &ExecutionRow,
    path: &StepPath,
    row: Option<&StepRow>,
) -> Result<Option<Used>, CommandError> {
    let filter = UseFilter {
        workflow: Some(run.definition.name.clone()),
        step: Some(StepId::new(path.step.as_str())),
        before: row.map(|row| row.started_at),
        ..UseFilter::default()
    };
    let uses = step_cache.uses(&filter, USES_SEEN).await?;
    Ok(uses.into_iter().find(|used| used.step.execution != run.id && used.step.path == *path))
}

/// What a key was made of, where that is still kept.
pub(super) async fn parts(blobs: &dyn BlobStore, key: &Digest) -> Result<Option<KeyParts>, CommandError> {
    match blobs.get(key).await {
        Ok(form) => Ok(KeyParts::read(&form)),
        Err(BlobError::NotFound(_) | BlobError::Damaged(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use ratchet_core::{
        cached::Hit,
        ids::{Epoch, ExecutionId},
        step::Usage,
    };

    use super::*;

    fn key(step: &str) -> StepKey {
        StepKey { execution: ExecutionId::new("run-1"), epoch: Epoch(1), path: StepPath::step(StepId::new(step)) }
    }

    fn shown(found: Found, changed: Option<Vec<&str>>) -> String {
        let cache = CacheUse { key: Digest::new("aa"), found };
        let changed = changed.map(|parts| parts.into_iter().map(str::to_owned).collect());
        let before = Some(Before { step: key("tests"), key: Digest::new("bb"), changed });
        let why = Why { status: StepStatus::Completed, cache: Some(cache), no_key: None, before };
        why.text(&StepPath::step(StepId::new("tests")))
    }

    #[test]
    fn what_differs_and_what_stood_in_are_told() {
        let saved = Usage { process_ms: 61_000, cost_usd: Some(0.25), ..Usage::default() };
        let hit = Found::Hit(Box::new(Hit { from: key("tests"), saved, unproven: true }));
        let miss = Found::Miss(Miss::Differs { path: "src/a.py".to_owned() });
        let both = [shown(hit, None), shown(miss, Some(vec!["command", "input src/a.py"]))].concat();
        insta::assert_snapshot!(both, @r"
        tests did not run: the result of run-1/1/tests stood in for it, which saved 1m01s and $0.25; no assertion has confirmed it yet
          key     aa
          before  run-1 had the key bb
          changed (what one of the two was made of is not kept any more)
        tests ran: src/a.py is neither as the kept result found it nor as it left it, and is not overwritten
          key     aa
          before  run-1 had the key bb
          changed command
          changed input src/a.py
        ");
    }
}
