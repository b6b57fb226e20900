//! What works and is rarely what its author wants: each a warning with its reason.

use super::{Lowering, fields};
use crate::yaml::{Node, Positions};

/// Words of a name that say that its value is a secret.
const SECRET_WORDS: &[&str] =
    &["apikey", "credential", "credentials", "passphrase", "passwd", "password", "secret", "token"];
/// Words that stand together and say the same.
const SECRET_PAIRS: &[&str] = &["access_key", "api_key", "private_key"];
/// Words at the end of a name that say that its value is something else about a secret.
const ABOUT_SECRETS: &[&str] = &["file", "header", "id", "name", "path", "url", "user", "username"];
/// A shorter text is no secret that anybody uses.
const SECRET_LENGTH_MIN: usize = 6;

/// Programs that fetch.
const FETCHERS: &[&str] = &["curl", "wget"];
/// Programs that run what they read.
const RUNNERS: &[&str] = &["bash", "node", "perl", "python", "python3", "ruby", "sh", "zsh"];

impl<'tree> Lowering<'_, 'tree> {
    /// Everything about the file as a whole. Called when all its texts have been looked at.
    pub(super) fn check_practice(&mut self, root: &'tree Node) {
        let steps = &self.resolver.symbols.steps;
        self.check_environment(root);
        for step in steps {
            self.check_environment(step.node);
            for command in ["command", "verify"].into_iter().filter_map(|field| step.node.get(field)) {
                self.check_fetching(command);
            }
            let is_agent = step.step_type == Some("claude_code");
            if is_agent && step.fans_out && step.node.get("max_cost_usd").is_none() && root.get("budget").is_none() {
                let message = "an agent is asked once for each value of a list, and nothing limits what that costs";
                let help = "add `max_cost_usd` to the step, or a `budget` to the workflow";
                self.report().warning("RT-0064", step.id_span.clone(), message, help);
            }
        }
        // What a template's file reads is not known here.
        let reads_unknown = steps.iter().any(|step| step.node.get("template_file").is_some());
        // Where there is an error, a text that reads an input may not have been looked at.
        let reads_unknown = reads_unknown || self.report().has_errors();
        for entry in root.get("inputs").map(Node::entries).unwrap_or_default() {
            let name = entry.key.text.as_str();
            if !reads_unknown && !self.resolver.inputs_read.contains(name) {
                let message = format!("nothing reads the input `{name}`");
                let help = format!("write `{{{{ inputs.{name} }}}}` where it is meant, or remove it");
                self.report().warning("RT-0068", entry.key.span.clone(), message, help);
            }
            let is_text = entry.value.get("type").and_then(Node::text) == Some("string");
            if is_text && is_secret(name) && entry.value.get("sensitive").is_none() {
                let message = format!("the input `{name}` looks like a secret, and shows wherever it is used");
                let help = "add `sensitive: true`, or `sensitive: false` where it is none; better still, use `secrets`";
                self.report().warning("RT-0067", entry.key.span.clone(), message, help);
            }
            if fields::boolean(&entry.value, "required") == Some(true)
                && let Some(default) = entry.value.entry("default")
            {
                let message = format!("`{name}` has a default, so it is never missing");
                self.report().warning(
                    "RT-0070",
                    default.key.span.clone(),
                    message,
                    "remove `required`, or the default",
                );
            }
        }
    }

    /// Secrets that stand in the file as the values of variables.
    fn check_environment(&mut self, of: &Node) {
        for entry in of.get("environment").map(Node::entries).unwrap_or_default() {
            let Some(text) = entry.value.text() else { continue };
            if is_secret(&entry.key.text) && text.len() >= SECRET_LENGTH_MIN && !text.contains("{{") {
                let message = format!("the value of `{}` stands in the file, and looks like a secret", entry.key.text);
                let help = "pass it with `--env`, or use `secrets`: whoever sees the file has it";
                self.report().warning("RT-0066", entry.key.span.clone(), message, help);
            }
        }
    }

    /// `curl … | sh`: nobody has seen what runs.
    fn check_fetching(&mut self, command: &Node) {
        let Some(script) = command.text() else { return };
        for line in script.lines() {
            let mut fetches = false;
            for part in line.split('|') {
                let mut words = part.split_whitespace().skip_while(|word| matches!(*word, "sudo" | "env" | "then"));
                let Some(word) = words.next() else { continue };
                let program = word.rsplit('/').next().unwrap_or(word);
                if fetches && RUNNERS.contains(&program) {
                    let start = word.as_ptr() as usize - script.as_ptr() as usize;
                    let at = Positions::of(command, self.file).locate(&(start..start + word.len()));
                    let message = "what comes from the network is run without anybody having seen it";
                    let help = "download it into a file, compare its digest (`sha256sum --check`), and run the file";
                    self.report().warning("RT-0065", at, message, help);
                    return;
                }
                fetches |= FETCHERS.contains(&program);
            }
        }
    }
}

/// Whether a name says that its value is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split('_').collect();
    let about = words.last().is_some_and(|last| ABOUT_SECRETS.contains(last));
    !about
        && (words.iter().any(|word| SECRET_WORDS.contains(word)) || SECRET_PAIRS.iter().any(|pair| name.contains(pair)))
}
