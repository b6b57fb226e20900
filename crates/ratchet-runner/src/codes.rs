//! The stable codes of what can go wrong in an attempt. Each has a page of its name in `docs/errors`.

/// A recording is damaged, or not a recording.
pub const RECORDING_INVALID: &str = "RT-0340";
/// A recording has no session for the step.
pub const SESSION_MISSING: &str = "RT-0341";
