//! What a workflow says of its agents.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::StepId,
    workflow::{Shell, Template},
};

/// A step that asks an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaudeCode {
    /// What is asked.
    pub prompt: Template,
    /// What its process may do.
    pub security_profile: SecurityProfile,
    /// The model, or the command's own default.
    pub model: Option<Template>,
    /// The most turns.
    pub max_turns: Option<NonZeroU32>,
    /// The most money, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// The tools it may use, within its profile; `None` for all of the profile's.
    pub allowed_tools: Option<Vec<String>>,
    /// What its reply must look like, as a JSON Schema.
    pub output_schema: Option<Value>,
    /// Added to the system prompt.
    pub append_system_prompt: Option<Template>,
    /// How long it may say nothing.
    pub stall_timeout: Option<Duration>,
    /// The step whose conversation it goes on with; a new one where there is none.
    pub session: Option<StepId>,
    /// What must succeed before the step is done.
    pub verify: Option<Verify>,
    /// What is done when a limit is reached.
    pub on_limit: OnLimit,
}

/// A command that judges the work of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// What must end well. It has no exit codes and no profile of its own.
    pub command: Shell,
    /// How often the agent may work again on what it left.
    pub max_fix_rounds: u32,
}

/// What a process of a step may do, from the narrowest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProfile {
    /// Reads the workspace; its reply is the plan.
    PlanOnly,
    /// File tools in the workspace, and nothing that runs.
    Restricted,
    /// And the commands that were allowed.
    Standard,
    /// Anything that the deployment grants.
    Elevated,
}

impl SecurityProfile {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::PlanOnly, Self::Restricted, Self::Standard, Self::Elevated];

    /// What an author writes for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::PlanOnly => "plan_only",
            Self::Restricted => "restricted",
            Self::Standard => "standard",
            Self::Elevated => "elevated",
        }
    }

    /// The one that an author writes so.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.word() == word)
    }
}

/// What is done when an agent reaches a limit of its step: turns, money or time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The attempt has failed.
    #[default]
    Fail,
    /// The run pauses; once a person lets it go on, so does the agent, in the same session and on the files that it left.
    Pause,
}
