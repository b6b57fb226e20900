//! The stable codes of what can go wrong in an attempt. Each has a page of its name in `docs/errors`.

/// The program of a step is not there.
pub const PROGRAM_MISSING: &str = "RT-0300";
/// The working directory of a step is not there, or not in the workspace.
pub const WORKING_DIRECTORY: &str = "RT-0301";
/// The arguments or variables of a process are too long for the system.
pub const TOO_LONG: &str = "RT-0302";
/// The system refused to start a process.
pub const NOT_STARTED: &str = "RT-0303";
/// A command ended with an exit code that is a failure.
pub const EXIT_CODE: &str = "RT-0304";
/// An attempt took longer than its timeout.
pub const TIMEOUT: &str = "RT-0305";
/// A command was ended by a signal.
pub const SIGNAL: &str = "RT-0306";
/// The folder of an attempt cannot be used.
pub const PLACE: &str = "RT-0307";
/// The runner itself broke.
pub const BROKEN: &str = "RT-0308";
/// A declared file output is not there.
pub const OUTPUT_MISSING: &str = "RT-0310";
/// A declared file output is no file of the workspace.
pub const OUTPUT_NO_FILE: &str = "RT-0311";
/// The expression of an output cannot be evaluated.
pub const OUTPUT_EXPRESSION: &str = "RT-0312";
/// The value of an output is not of its type.
pub const OUTPUT_TYPE: &str = "RT-0313";
/// An expression reads more output than is kept.
pub const OUTPUT_TOO_LONG: &str = "RT-0314";
/// What a step leaves is more than it may. Also where its files are captured.
pub const OUTPUT_TOO_LARGE: &str = "RT-0273";
/// A file output could not be kept.
pub const OUTPUT_NOT_KEPT: &str = "RT-0315";
/// An output holds a secret of its step.
pub const OUTPUT_SECRET: &str = "RT-0317";
/// A secret is too short to be masked.
pub const SECRET_TOO_SHORT: &str = "RT-0318";
/// A program did not write the one JSON object that its step type declares.
pub const PROGRAM_OUTPUT: &str = "RT-0319";
/// A program is named by a path, and where the workflow's file lies is not known.
pub const PROGRAM_UNPLACED: &str = "RT-0320";
/// The agent's program is missing, could not be started, or refused its arguments.
pub const AGENT_UNAVAILABLE: &str = "RT-0330";
/// The agent has no key, or the API refuses it.
pub const AGENT_UNAUTHORISED: &str = "RT-0331";
/// The agent's API is busy.
pub const AGENT_RATE_LIMITED: &str = "RT-0332";
/// The agent's API failed.
pub const AGENT_API: &str = "RT-0333";
/// The agent reached a limit: turns or money.
pub const AGENT_LIMIT: &str = "RT-0334";
/// The agent's reply is not what the schema asks for.
pub const AGENT_SCHEMA: &str = "RT-0335";
/// The profile cannot be enforced.
pub const PROFILE: &str = "RT-0336";
/// The agent ended without a result.
pub const AGENT_BROKEN: &str = "RT-0337";
/// A session could not be recorded.
pub const NOT_RECORDED: &str = "RT-0338";
/// The agent said nothing for too long.
pub const AGENT_STALLED: &str = "RT-0339";
/// A recording is damaged, or not a recording.
pub const RECORDING_INVALID: &str = "RT-0340";
/// A recording has no session for the step.
pub const SESSION_MISSING: &str = "RT-0341";
/// The command that judges an agent's work never succeeded.
pub const AGENT_UNVERIFIED: &str = "RT-0342";
/// An agent's session that was to be gone on with cannot be read.
pub const SESSION_LOST: &str = "RT-0343";
/// A request may not go to the address of its host.
pub const ADDRESS_REFUSED: &str = "RT-0350";
/// A host is not known, not reached, or does not speak as it should.
pub const NOT_REACHED: &str = "RT-0351";
/// A request was answered with a status that is not expected.
pub const STATUS_UNEXPECTED: &str = "RT-0352";
/// A reply is longer than is kept.
pub const REPLY_TOO_LONG: &str = "RT-0353";
/// A redirect is not followed.
pub const REDIRECT_REFUSED: &str = "RT-0354";

/// All of them.
pub const ALL: [&str; 38] = [
    PROGRAM_MISSING,
    WORKING_DIRECTORY,
    TOO_LONG,
    NOT_STARTED,
    EXIT_CODE,
    TIMEOUT,
    SIGNAL,
    PLACE,
    BROKEN,
    OUTPUT_MISSING,
    OUTPUT_NO_FILE,
    OUTPUT_EXPRESSION,
    OUTPUT_TYPE,
    OUTPUT_TOO_LONG,
    OUTPUT_NOT_KEPT,
    OUTPUT_SECRET,
    SECRET_TOO_SHORT,
    PROGRAM_OUTPUT,
    PROGRAM_UNPLACED,
    AGENT_UNAVAILABLE,
    AGENT_UNAUTHORISED,
    AGENT_RATE_LIMITED,
    AGENT_API,
    AGENT_LIMIT,
    AGENT_SCHEMA,
    PROFILE,
    AGENT_BROKEN,
    NOT_RECORDED,
    AGENT_STALLED,
    RECORDING_INVALID,
    SESSION_MISSING,
    AGENT_UNVERIFIED,
    SESSION_LOST,
    ADDRESS_REFUSED,
    NOT_REACHED,
    STATUS_UNEXPECTED,
    REPLY_TOO_LONG,
    REDIRECT_REFUSED,
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::ALL;

    #[test]
    fn every_code_has_its_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for code in ALL {
            let page = fs::read_to_string(pages.join(format!("{code}.md"))).unwrap();
            assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        }
    }
}
