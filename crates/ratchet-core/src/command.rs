//! What to do in the world once a change is committed. Each can be derived again from the state, so losing one loses nothing.

use jiff::Timestamp;

/// What a change of a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start the attempt's task.
    LaunchStep,
    /// End the attempt's task.
    StopStep,
    /// Start the first child of each lane.
    StartChildren,
    /// Tell the steps that need this one, or the fan-out that it is a child of.
    TellDependents,
    /// Begin the child that takes over this one's lane.
    PassLane,
    /// Look at the step again at this time.
    WakeAt(Timestamp),
    /// Nothing is left to do: the execution ends as a success.
    Conclude,
    /// A person is needed: the execution pauses.
    PauseExecution,
}
