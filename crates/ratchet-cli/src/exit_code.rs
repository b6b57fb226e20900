//! What the command's exit code says.

use ratchet_core::status::ExecutionStatus;

/// The exit codes of every command; `ratchet --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// The command did what it was asked; the execution completed.
    Completed,
    /// The execution failed or was cancelled, or the machine refused something.
    Failed,
    /// The file, an input or the call is wrong. Nothing ran.
    WrongCall,
    /// The execution waits for a person: `ratchet resume` goes on.
    Paused,
    /// The execution completed, and steps failed that were told to let it go on.
    CompletedWithFailedSteps,
    /// The execution completed, and its changes were not applied to the directory.
    NotApplied,
    /// Ctrl-C or SIGTERM ended it.
    Interrupted,
    /// That of a program which a person ran through the command.
    OfProgram(u8),
}

impl ExitCode {
    /// What a program's exit code comes to: the same.
    pub(crate) fn of_program(code: i32) -> Self {
        match u8::try_from(code) {
            Ok(0) => Self::Completed,
            Ok(code) => Self::OfProgram(code),
            Err(_) => Self::Failed,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::WrongCall => 2,
            Self::Paused => 3,
            Self::CompletedWithFailedSteps => 4,
            Self::NotApplied => 5,
            Self::Interrupted => 130,
            Self::OfProgram(code) => code,
        }
    }

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
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_an_execution_has_its_code() {
        let codes = ExecutionStatus::ALL.map(|status| ExitCode::of_execution(status, false).number());
        assert_eq!(codes, [0, 3, 0, 1, 1]);
        assert_eq!(ExitCode::of_execution(ExecutionStatus::Completed, true).number(), 4);
        assert_eq!(ExitCode::of_execution(ExecutionStatus::Failed, true).number(), 1);
    }
}
