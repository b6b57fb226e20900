//! What the command's exit code says.

use ratchet_core::status::ExecutionStatus;

/// The exit codes of every command; `ratchet --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// The command did what it was asked; the execution completed.
    Completed = 0,
    /// The execution failed or was cancelled, or the machine refused something.
    Failed = 1,
    /// The file, an input or the call is wrong. Nothing ran.
    WrongCall = 2,
    /// The execution waits for a person: `ratchet resume` goes on.
    Paused = 3,
    /// The execution completed, and steps failed that were told to let it go on.
    CompletedWithFailedSteps = 4,
    /// The execution completed, and its changes were not applied to the directory.
    NotApplied = 5,
    /// Ctrl-C or SIGTERM ended it.
    Interrupted = 130,
}

impl ExitCode {
    /// What the end of an execution comes to. `continued` says whether a step failed that was told to let it go on.
    pub(crate) fn of_execution(status: ExecutionStatus, continued: bool) -> Self {
        match status {
            ExecutionStatus::Completed if continued => Self::CompletedWithFailedSteps,
            ExecutionStatus::Completed | ExecutionStatus::Running => Self::Completed,
            ExecutionStatus::Failed | ExecutionStatus::Cancelled => Self::Failed,
            ExecutionStatus::Paused => Self::Paused,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_an_execution_has_its_code() {
        let codes = ExecutionStatus::ALL.map(|status| ExitCode::of_execution(status, false) as u8);
        assert_eq!(codes, [0, 3, 0, 1, 1]);
        assert_eq!(ExitCode::of_execution(ExecutionStatus::Completed, true) as u8, 4);
        assert_eq!(ExitCode::of_execution(ExecutionStatus::Failed, true) as u8, 1);
    }
}
