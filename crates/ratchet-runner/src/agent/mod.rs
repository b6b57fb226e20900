//! The agents: Claude Code, one that replays recorded sessions, and what a recording looks like.

mod claude_code;
mod places;
mod recorded;
mod recorder;
mod recording;
mod said;
mod secrets;

#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod transcript;

pub use claude_code::{ClaudeCode, Installed};
pub use recorded::RecordedAgent;
pub use recorder::Recorder;
pub use recording::{Edit, RecordedFailure, RecordedFault, RecordedReply, Recording, RecordingError, Session};
pub use said::Said;
