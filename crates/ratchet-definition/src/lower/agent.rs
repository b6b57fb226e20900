//! What is asked of an agent: the fields of a step of type `claude_code`.

use std::collections::BTreeSet;

use ratchet_core::{
    ids::StepId,
    workflow::{ClaudeCode, OnLimit, Program, SecurityProfile, Shell, Verify},
};

use super::{
    Lowering,
    action::{profile, source_of},
    fields,
};
use crate::{
    check::{references::Context, structure::shown},
    parsed::Interpreter,
    yaml::Node,
};

/// How often an agent may try to make its check succeed, where nothing is said.
const FIX_ROUNDS: u32 = 2;

impl<'tree> Lowering<'_, 'tree> {
    pub(super) fn claude_code(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<ClaudeCode> {
        let model = node.get("model").and_then(|model| self.template(model, context));
        let append_system_prompt = node.get("append_system_prompt").and_then(|prompt| self.template(prompt, context));
        let security_profile = profile(node).unwrap_or(SecurityProfile::Restricted);
        let verify = self.verify(node, security_profile, context);
        let prompt = self.template(node.get("prompt")?, context)?;
        Some(ClaudeCode {
            prompt,
            security_profile,
            model,
            max_turns: fields::count(node, "max_turns"),
            max_cost_usd: fields::number(node, "max_cost_usd"),
            allowed_tools: node
                .get("allowed_tools")
                .map(|tools| tools.items().iter().filter_map(Node::text).map(str::to_owned).collect()),
            output_schema: node.get("output_schema").map(Node::to_json),
            append_system_prompt,
            stall_timeout: fields::duration(node, "stall_timeout"),
            session: self.session(node, context),
            verify,
            on_limit: match node.get("on_limit").and_then(Node::text) {
                Some("pause") => OnLimit::Pause,
                _ => OnLimit::Fail,
            },
        })
    }

    /// The step whose conversation an agent goes on with: one agent that is done by then.
    fn session(&mut self, node: &'tree Node, context: Context<'tree>) -> Option<StepId> {
        let named = node.get("session")?;
        let name = named.text()?;
        let at = || named.head();
        let symbols = self.resolver.symbols;
        let Some(position) = symbols.position(name) else {
            let help = self.report().nearest.help(name, symbols.ids());
            self.report().error("RT-0031", at(), format!("there is no step `{}`", shown(name)), help);
            return None;
        };
        let step = &symbols.steps[position];
        self.resolver.check_order(position, context, &at);
        let (message, help) = if step.step_type.is_some_and(|kind| kind != "claude_code") {
            (format!("`{name}` asks no agent, so it has no session"), "name a step of type `claude_code`")
        } else if step.fans_out {
            let message = format!("`{name}` has a session for each value of its list, and one is gone on with");
            (message, "put both steps into a group (`step_types`), and the `foreach` on that")
        } else {
            return Some(StepId::new(name));
        };
        self.report().error("RT-0021", at(), message, help.to_owned());
        None
    }

    /// The command that judges an agent's work.
    fn verify(&mut self, node: &'tree Node, profile: SecurityProfile, context: Context<'tree>) -> Option<Verify> {
        let rounds = node.entry("max_fix_rounds");
        let Some(command) = node.entry("verify") else {
            if let Some(rounds) = rounds {
                let message =
                    "`max_fix_rounds` says how often the agent may try to make `verify` succeed, and there is none";
                let help = "add `verify`, a command that must succeed, or remove it".to_owned();
                self.report().error("RT-0021", rounds.key.span.clone(), message, help);
            }
            return None;
        };
        if profile == SecurityProfile::PlanOnly {
            let message = "an agent of the profile `plan_only` changes nothing that a command could judge";
            let help = "remove `verify`, or give the step the profile `restricted`".to_owned();
            self.report().error("RT-0021", command.key.span.clone(), message, help);
            return None;
        }
        let command = &command.value;
        self.warn_of_effects(node, command);
        let program = match command.text() {
            Some(_) => self.script(command, Interpreter::Bash, None, context)?,
            None => Program::Words(self.words(command.items(), context)),
        };
        let max_fix_rounds = fields::integer(node, "max_fix_rounds").and_then(|rounds| u32::try_from(rounds).ok());
        let command =
            Shell { source: source_of(command), program, allow_exit_codes: BTreeSet::new(), security_profile: None };
        Some(Verify { command, max_fix_rounds: max_fix_rounds.unwrap_or(FIX_ROUNDS) })
    }
}
