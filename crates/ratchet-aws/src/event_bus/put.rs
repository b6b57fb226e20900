//! Events go out in batches. `EventBridge` takes or refuses each entry of a batch by itself: what it refused for now is put again.

use std::{iter, time::Duration};

use aws_sdk_eventbridge::{
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::PutEventsRequestEntry,
};
use ratchet_engine::ports::BusError;
use tokio::time::sleep;

use super::{EventBridgeBus, SOURCE};

/// Entries of a batch.
const ENTRIES_MAX: usize = 10;
/// Bytes of a batch, by the way in which they are counted.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How often an entry is put that is refused for now.
const TRIES_MAX: u32 = 4;
/// Before an entry is put again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(50);

/// What will be refused again.
const FINAL: [&str; 5] = [
    "AccessDeniedException",
    "InvalidArgument",
    "MalformedDetail",
    "NotAuthorizedForDetailTypeException",
    "NotAuthorizedForSourceException",
];

/// An event on its way out.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) detail_type: &'static str,
    pub(super) detail: String,
}

impl Entry {
    fn bytes(&self) -> usize {
        SOURCE.len() + self.detail_type.len() + self.detail.len()
    }
}

impl EventBridgeBus {
    /// Puts entries until all were taken. Those that were are not put again.
    pub(super) async fn put(&self, mut entries: Vec<Entry>) -> Result<(), BusError> {
        for tried in 0..TRIES_MAX {
            if tried > 0 {
                sleep(PAUSE * 2_u32.pow(tried - 1)).await;
            }
            let mut refused = Vec::new();
            let mut why = None;
            for batch in batches(entries) {
                for (entry, code, reason) in self.put_batch(batch).await? {
                    let is_final = FINAL.contains(&code.as_str());
                    why = Some((is_final, format!("{} was not taken: {code}: {reason}", entry.detail_type)));
                    refused.push(entry);
                }
            }
            match why {
                None => return Ok(()),
                Some((is_final, reason)) if is_final || tried + 1 == TRIES_MAX => {
                    return Err(BusError::Unavailable(reason));
                }
                Some(_) => entries = refused,
            }
        }
        Ok(())
    }

    /// Puts one batch, and gives the entries that were not taken, each with a code and what was said.
    async fn put_batch(&self, batch: Vec<Entry>) -> Result<Vec<(Entry, String, String)>, BusError> {
        let requests = batch.iter().map(|entry| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.place.bus)
                .source(SOURCE)
                .detail_type(entry.detail_type)
                .detail(&entry.detail)
                .build()
        });
        let put = self.events.put_events().set_entries(Some(requests.collect())).send().await;
        let put = put.map_err(|error| {
            let told = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
            BusError::Unavailable(told.unwrap_or_else(|| DisplayErrorContext(&error).to_string()))
        })?;
        if put.failed_entry_count() == 0 {
            return Ok(Vec::new());
        }
        let results = put.entries().iter().map(Some).chain(iter::repeat(None));
        let refused = |(entry, result): (Entry, Option<&aws_sdk_eventbridge::types::PutEventsResultEntry>)| {
            let code = match result {
                Some(result) => result.error_code()?,
                None => "NoAnswer",
            };
            let reason = result.and_then(|result| result.error_message()).unwrap_or_default();
            Some((entry, code.to_owned(), reason.to_owned()))
        };
        Ok(batch.into_iter().zip(results).filter_map(refused).collect())
    }
}

/// Entries in batches that are taken whole, in their order.
fn batches(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = entry.bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < ENTRIES_MAX && bytes + size <= BATCH_BYTES_MAX => {
                bytes += size;
                batch.push(entry);
            }
            _ => {
                bytes = size;
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_small_enough_and_keep_their_order() {
        let entry = |bytes: usize| Entry { detail_type: "StepReady", detail: "x".repeat(bytes) };
        let sizes = |all: &[usize]| -> Vec<Vec<usize>> {
            batches(all.iter().map(|bytes| entry(*bytes)).collect())
                .into_iter()
                .map(|batch| batch.into_iter().map(|entry| entry.detail.len()).collect())
                .collect()
        };
        assert_eq!(sizes(&[1; 23]).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3]);
        assert_eq!(sizes(&[200_000, 50_000, 200_000, 7]), [vec![200_000, 50_000], vec![200_000, 7]]);
        assert!(sizes(&[]).is_empty());
    }
}
