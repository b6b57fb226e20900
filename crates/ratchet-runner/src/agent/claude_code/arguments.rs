//! The command's arguments. A profile is enforced here, or the agent does not start.

use std::ffi::OsString;

use ratchet_core::workflow::SecurityProfile;
use ratchet_engine::ports::{AgentError, AgentFault, AgentRequest};
use serde_json::json;

use super::{Installed, Prepared, failure};
use crate::profile::{self, Runs, Worker};

/// Tools that only read.
const READING: [&str; 3] = ["Read", "Grep", "Glob"];
/// And those that change files.
const WRITING: [&str; 2] = ["Edit", "Write"];
/// And the one that runs commands.
const RUNNING: &str = "Bash";
/// A rule that allows changes to the workspace.
const CHANGES: &str = "Edit(./**)";
/// What no agent may change: git's own files, and what configures an agent or its tool servers.
const PROTECTED: [&str; 6] =
    ["Edit(.git)", "Edit(.git/**)", "Edit(**/.git/**)", "Edit(.claude/**)", "Edit(**/.claude/**)", "Edit(.mcp.json)"];

/// What an agent is given: its tools, and what of them it is allowed without asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tools {
    names: Vec<&'static str>,
    /// Rules by which a use of a tool is allowed; none where the profile's mode says it all.
    allowed: Vec<String>,
}

/// The tools that the request's profile gives and its step has not taken away.
pub(super) fn tools(request: &AgentRequest) -> Result<Tools, AgentError> {
    let runs = profile::rules(request.profile, Worker::Agent).runs;
    let mut of_profile = READING.to_vec();
    if request.profile != SecurityProfile::PlanOnly {
        of_profile.extend(WRITING);
    }
    if runs == Runs::Anything {
        of_profile.push(RUNNING);
    }
    let Some(given) = &request.allowed_tools else {
        let allowed = if runs == Runs::Allowed { vec![CHANGES.to_owned()] } else { Vec::new() };
        return Ok(Tools { names: of_profile, allowed });
    };
    let mut tools = Tools { names: Vec::new(), allowed: Vec::new() };
    for tool in given {
        if let Some(found) = of_profile.iter().find(|known| *known == tool) {
            tools.names.push(found);
        } else if runs == Runs::Allowed && is_command(tool) {
            if !tools.names.contains(&RUNNING) {
                tools.names.push(RUNNING);
            }
            tools.allowed.push(tool.clone());
        } else {
            let commands = if runs == Runs::Allowed { ", and commands such as `Bash(cargo test:*)`" } else { "" };
            return Err(AgentError {
                hint: Some(format!(
                    "`allowed_tools` may only take away from what the profile gives: {}{commands}",
                    of_profile.join(", ")
                )),
                ..failure(AgentFault::Profile, format!("the tool {tool} is not one of the step's profile"))
            });
        }
    }
    if runs == Runs::Allowed && WRITING.iter().any(|tool| tools.names.contains(tool)) {
        tools.allowed.push(CHANGES.to_owned());
    }
    Ok(tools)
}

/// Whether a rule names commands: not all of them.
fn is_command(rule: &str) -> bool {
    let inside = rule.strip_prefix("Bash(").and_then(|rest| rest.strip_suffix(')'));
    inside.is_some_and(|command| command.chars().next().is_some_and(char::is_alphanumeric))
}

/// All arguments. The prompt is not among them: it comes on standard input.
pub(super) fn of(request: &AgentRequest, installed: &Installed, tools: &Tools, prepared: &Prepared) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&["-p", "--output-format", "stream-json", "--verbose"]);
    // Neither the user's nor the workspace's settings, hooks and tool servers.
    add(&["--setting-sources", "", "--strict-mcp-config", "--disable-slash-commands"]);
    if installed.has_permission_prompts {
        add(&["--permission-prompts", "none"]);
    }
    if let Some(point) = &request.resume {
        add(&["--resume", &point.session_id]);
    }
    let runs = profile::rules(request.profile, Worker::Agent).runs;
    if runs == Runs::Nothing && installed.has_restricted {
        add(&["--restricted"]);
    }
    let mode = match request.profile {
        SecurityProfile::Restricted => "acceptEdits",
        SecurityProfile::PlanOnly | SecurityProfile::Standard => "dontAsk",
        SecurityProfile::Elevated => "bypassPermissions",
    };
    add(&["--permission-mode", mode, "--tools", &tools.names.join(",")]);
    if runs != Runs::Nothing {
        add(&["--settings", &json!({"disableAllHooks": true}).to_string()]);
    }
    if !tools.allowed.is_empty() {
        add(&["--allowedTools"]);
        add(&tools.allowed.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let protected = if request.profile == SecurityProfile::Elevated { &[][..] } else { &PROTECTED[..] };
    let mut denied: Vec<String> = protected.iter().map(|rule| (*rule).to_owned()).collect();
    // What it may read outside the workspace it may not change.
    denied.extend(prepared.readable.iter().map(|folder| format!("Edit(/{}/**)", folder.display())));
    if !denied.is_empty() {
        add(&["--disallowedTools"]);
        add(&denied.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if let Some(turns) = request.max_turns {
        add(&["--max-turns", &turns.to_string()]);
    }
    if let Some(cost) = request.max_cost_usd {
        add(&["--max-budget-usd", &cost.to_string()]);
    }
    if let Some(model) = &request.model {
        add(&["--model", model]);
    }
    if request.stall_timeout.is_some() {
        // Else it says a reply when it is whole, and one that is long looks like silence until then.
        add(&["--include-partial-messages"]);
    }
    if let Some(schema) = &request.output_schema {
        add(&["--json-schema", &schema.to_string()]);
    }
    if let Some(path) = &prepared.system_prompt {
        add(&["--append-system-prompt-file"]);
        arguments.push(path.into());
    }
    for folder in &prepared.readable {
        arguments.push("--add-dir".into());
        arguments.push(folder.into());
    }
    arguments
}
