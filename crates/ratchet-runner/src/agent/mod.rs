//! The agents: one that replays recorded sessions, and what a recording looks like.

mod places;
mod recorded;
mod recording;

#[cfg(test)]
mod testing;

pub use recorded::RecordedAgent;
pub use recording::{Edit, RecordedFailure, RecordedFault, RecordedReply, Recording, RecordingError, Session};
