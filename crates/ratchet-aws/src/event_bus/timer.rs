//! Events that are for later: messages that a queue holds back.

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use jiff::Timestamp;
use ratchet_engine::ports::{BusError, Envelope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{EventBridgeBus, carried};

/// How long a queue holds a message back at most.
pub const TIMER_SECONDS_MAX: i32 = 15 * 60;

/// A message of the queue.
#[derive(Debug, Deserialize)]
pub struct Timed {
    /// When it is for.
    pub at: Timestamp,
    /// The event's detail.
    pub detail: Value,
}

/// The same on its way out.
#[derive(Serialize)]
struct Outgoing<'a> {
    at: Timestamp,
    detail: &'a RawValue,
}

/// Whole seconds until a time, never too few; none where it is too far away.
pub(super) fn delay(now: Timestamp, at: Timestamp) -> Option<i32> {
    let nanoseconds = at.as_nanosecond().saturating_sub(now.as_nanosecond()).max(0);
    let seconds = nanoseconds.div_euclid(1_000_000_000) + i128::from(nanoseconds % 1_000_000_000 != 0);
    i32::try_from(seconds).ok().filter(|seconds| *seconds <= TIMER_SECONDS_MAX)
}

impl EventBridgeBus {
    pub(super) async fn send_later(&self, envelope: &Envelope, at: Timestamp, seconds: i32) -> Result<(), BusError> {
        let detail = carried::close(envelope, self.blobs.as_ref()).await?;
        let broken = |error: serde_json::Error| BusError::Unavailable(error.to_string());
        let detail = RawValue::from_string(detail).map_err(broken)?;
        let body = serde_json::to_string(&Outgoing { at, detail: &detail }).map_err(broken)?;
        let sent = self
            .queues
            .send_message()
            .queue_url(&self.place.timers)
            .delay_seconds(seconds)
            .message_body(body)
            .send()
            .await;
        sent.map(drop).map_err(|error| {
            let told = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
            BusError::Unavailable(told.unwrap_or_else(|| DisplayErrorContext(&error).to_string()))
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_message_is_held_back_long_enough_or_not_sent() {
        let after = |milliseconds| {
            delay(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds))
        };
        assert_eq!([-5000, 0, 1, 1000, 1001, 900_000].map(after), [0, 0, 1, 1, 2, 900].map(Some));
        assert_eq!(after(900_001), None);
        assert_eq!(delay(Timestamp::MIN, Timestamp::MAX), None);
    }
}
