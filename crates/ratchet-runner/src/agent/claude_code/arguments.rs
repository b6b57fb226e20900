//! The command's arguments. A profile is enforced here, or the agent does not start.

use std::ffi::OsString;

use ratchet_core::workflow::SecurityProfile;
use ratchet_engine::ports::{AgentError, AgentFault, AgentRequest};

use super::{Installed, Prepared, failure};

/// Tools that only read.
const READING: [&str; 3] = ["Read", "Grep", "Glob"];
/// And those that change files.
const WRITING: [&str; 2] = ["Edit", "Write"];
/// What no agent may change: git's own files, and what configures an agent or its tool servers.
const PROTECTED: [&str; 6] =
    ["Edit(.git)", "Edit(.git/**)", "Edit(**/.git/**)", "Edit(.claude/**)", "Edit(**/.claude/**)", "Edit(.mcp.json)"];

/// The tools that the request's profile gives and its step has not taken away. A profile that cannot be enforced is an error, never a weaker one.
pub(super) fn tools(request: &AgentRequest) -> Result<Vec<&'static str>, AgentError> {
    let of_profile: Vec<&'static str> = match request.profile {
        SecurityProfile::PlanOnly => READING.to_vec(),
        SecurityProfile::Restricted => READING.into_iter().chain(WRITING).collect(),
        SecurityProfile::Standard | SecurityProfile::Elevated => {
            let name = if request.profile == SecurityProfile::Standard { "standard" } else { "elevated" };
            return Err(AgentError {
                hint: Some(
                    "use `security_profile: restricted`, and run commands in shell steps of their own".to_owned(),
                ),
                ..failure(AgentFault::Profile, format!("this version cannot enforce the profile {name} for an agent"))
            });
        }
    };
    let Some(allowed) = &request.allowed_tools else { return Ok(of_profile) };
    let mut tools = Vec::new();
    for tool in allowed {
        let found = of_profile.iter().find(|known| *known == tool).copied().ok_or_else(|| AgentError {
            hint: Some(format!(
                "`allowed_tools` may only take away from what the profile gives: {}",
                of_profile.join(", ")
            )),
            ..failure(AgentFault::Profile, format!("the tool {tool} is not one of the step's profile"))
        })?;
        tools.push(found);
    }
    Ok(tools)
}

/// All arguments. The prompt is not among them: it comes on standard input.
pub(super) fn of(request: &AgentRequest, installed: &Installed, tools: &[&str], prepared: &Prepared) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&["-p", "--output-format", "stream-json", "--verbose"]);
    // Neither the user's nor the workspace's settings, hooks and tool servers.
    add(&["--setting-sources", "", "--strict-mcp-config", "--disable-slash-commands"]);
    if installed.has_permission_prompts {
        add(&["--permission-prompts", "none"]);
    }
    if installed.has_restricted {
        add(&["--restricted"]);
    }
    let mode = if request.profile == SecurityProfile::Restricted { "acceptEdits" } else { "dontAsk" };
    add(&["--permission-mode", mode, "--tools", &tools.join(",")]);
    let mut denied: Vec<String> = PROTECTED.iter().map(|rule| (*rule).to_owned()).collect();
    // What it may read outside the workspace it may not change.
    denied.extend(prepared.readable.iter().map(|folder| format!("Edit(/{}/**)", folder.display())));
    add(&["--disallowedTools"]);
    add(&denied.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(turns) = request.max_turns {
        add(&["--max-turns", &turns.to_string()]);
    }
    if let Some(cost) = request.max_cost_usd {
        add(&["--max-budget-usd", &cost.to_string()]);
    }
    if let Some(model) = &request.model {
        add(&["--model", model]);
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
