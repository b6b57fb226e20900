//! What changed since a page looked last, as a stream of events.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::Event;
use futures_util::stream::{Stream, unfold};
use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::StoreError;
use ratchet_local::state_store::{LocalStateStore, Moment};
use serde_json::json;

/// How often some words of memory are looked at that every commit changes. The state itself is only asked where they did.
const LOOK: Duration = Duration::from_millis(150);

/// What a page was told of.
struct Watch {
    store: Arc<LocalStateStore>,
    /// The execution that it shows.
    execution: Option<ExecutionId>,
    moment: Moment,
    seen: Seen,
}

/// The state in a few numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    count: i64,
    unfinished: BTreeMap<ExecutionId, i64>,
    of_execution: i64,
}

/// Events `changed`, whose data says which executions changed, and whether the list of all did. The first is sent at once, so that nothing is missed between the
/// page's first request and this one.
pub(super) fn changes(
    store: Arc<LocalStateStore>,
    execution: Option<ExecutionId>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let moment = store.moment();
    let first = Watch { store, execution, moment, seen: Seen::default() };
    unfold((first, true), |(mut watch, is_first)| async move {
        if is_first {
            watch.seen = watch.look().ok()?;
            return Some((Ok(event(&[], false, true)), (watch, false)));
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let moment = watch.store.moment();
            if moment == watch.moment {
                continue;
            }
            // The moment is of before the look: what comes between the two is seen with the next one.
            let seen = watch.look().ok()?;
            watch.moment = moment;
            if seen != watch.seen {
                let event = watch.told(&seen);
                watch.seen = seen;
                return Some((Ok(event), (watch, false)));
            }
        }
    })
}

impl Watch {
    fn look(&self) -> Result<Seen, StoreError> {
        let (count, unfinished) = self.store.unfinished()?;
        let of_execution = self.execution.as_ref().map_or(Ok(0), |id| self.store.changes_of(id))?;
        Ok(Seen { count, unfinished, of_execution })
    }

    fn told(&self, now: &Seen) -> Event {
        let differs = |id: &&ExecutionId| self.seen.unfinished.get(*id) != now.unfinished.get(*id);
        let mut changed: Vec<&ExecutionId> =
            self.seen.unfinished.keys().chain(now.unfinished.keys()).filter(differs).collect();
        changed.sort();
        changed.dedup();
        let is_list = !changed.is_empty() || self.seen.count != now.count;
        event(&changed, is_list, self.seen.of_execution != now.of_execution)
    }
}

/// `executions` are those that began, changed their own row or ended; `list` says whether there is any; `shown` whether the one that is watched changed, with its
/// steps.
fn event(executions: &[&ExecutionId], list: bool, shown: bool) -> Event {
    let data = json!({ "executions": executions, "list": list, "shown": shown });
    Event::default().event("changed").data(data.to_string())
}
