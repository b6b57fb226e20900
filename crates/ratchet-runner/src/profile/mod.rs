//! What a process of a step may do: the table, and the walls that keep it to that.
//!
//! A profile is a row of [`rules`]. The agent's own command is told to keep to it, and whether it does or not the kernel keeps the whole process in an enclosure: a
//! root of its own that holds what the row lets it see, processes and signals of its own, and a filter of system calls. What a machine cannot give is an error that says
//! what is missing; nothing weaker takes its place.

mod enclosure;
mod filter;
mod inside;
mod machine;
mod places;

#[cfg(test)]
mod escapes;

use ratchet_core::workflow::SecurityProfile;

pub(crate) use self::enclosure::{Enclosure, Needs};
pub use self::machine::{Confinement, Lack, Machine};

/// Who works in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// An agent's command, and what that starts.
    Agent,
    /// The author's own command.
    Command,
    /// The author's command that judges an agent's work: it runs what the agent wrote, and so it reaches no more than the agent.
    Check,
}

/// What a worker may do to the files of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Read them.
    Read,
    /// Change them, but for what would be run, or would configure an agent, when the step is long over.
    Write,
    /// Change all of them.
    WriteAll,
}

/// What a worker reaches of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Nothing, its own loopback aside.
    None,
    /// All of it.
    Open,
}

/// What an agent may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Nothing.
    Nothing,
    /// The commands that the step's `allowed_tools` name.
    Allowed,
    /// Anything.
    Anything,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Of the workspace. Besides it everybody sees the step's inputs, the system's programs and libraries, and a home and a temporary folder of the attempt's own.
    pub files: Files,
    /// By the kernel.
    pub network: Network,
    /// By the agent's own command; an author's command runs what it likes, within the walls.
    pub runs: Runs,
}

/// The table. No row ever shows the engine's state, another run's files, the home of the person who runs ratchet, or another process.
pub fn rules(profile: SecurityProfile, worker: Worker) -> Rules {
    use SecurityProfile::{Elevated, PlanOnly, Restricted, Standard};
    let files = match profile {
        PlanOnly => Files::Read,
        Restricted | Standard => Files::Write,
        Elevated => Files::WriteAll,
    };
    let (network, runs) = match (worker, profile) {
        (Worker::Agent, PlanOnly | Restricted) => (Network::None, Runs::Nothing),
        (Worker::Agent, Standard) => (Network::None, Runs::Allowed),
        (Worker::Command, PlanOnly | Restricted) | (Worker::Check, PlanOnly | Restricted | Standard) => {
            (Network::None, Runs::Anything)
        }
        (Worker::Command, Standard) | (_, Elevated) => (Network::Open, Runs::Anything),
    };
    Rules { files, network, runs }
}

/// What to do where a machine cannot keep a step to its profile.
pub(crate) const HINT: &str = "`ratchet doctor` says what is missing; RATCHET_CONFINEMENT=off leaves an agent of the profiles plan_only and restricted to its own command's rules";

/// What of a workspace is protected where its files may be written, by its path in it: what git runs, and what configures an agent and its tool servers.
pub(crate) const PROTECTED: [&str; 4] = [".git/hooks", ".git/config", ".claude", ".mcp.json"];
