//! Variables that hold secrets: cut into the secrets and what stands beside them, so that no value is ever taken for a secret's place.

use std::{collections::BTreeMap, ops::Range, sync::LazyLock};

use ratchet_core::workflow::{SecretPart, Template};
use regex::Regex;

use super::Lowering;
use crate::{
    check::{references::Context, structure::shown},
    command::variables,
    yaml::{Entry, Node, Positions},
};

/// The longest name of a secret's file.
const FILE_NAME_MAX: usize = 100;

/// A secret in a template: its name, and nothing done with it.
static SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{-?\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}").ok());

impl<'tree> Lowering<'_, 'tree> {
    /// The variables of a step that hold secrets: those that it names, those whose text reads one, and where it runs commands those of the workflow.
    pub(super) fn secrets(&mut self, node: &'tree Node, context: Context<'tree>) -> BTreeMap<String, Vec<SecretPart>> {
        let mut variables = BTreeMap::new();
        let named = node.get("secrets").map(Node::items).unwrap_or_default();
        for name in named {
            let Some(text) = name.text() else { continue };
            self.check_secret_variable(text, &name.head());
            variables.insert(text.to_owned(), vec![SecretPart::Secret(text.to_owned())]);
        }
        for entry in node.get("environment").map(Node::entries).unwrap_or_default() {
            if !reads_secret(entry) {
                continue;
            }
            if variables.contains_key(&entry.key.text) {
                let message = format!("`{}` stands under `secrets` and under `environment`", entry.key.text);
                self.report().error("RT-0021", entry.key.span.clone(), message, "remove one of the two".to_owned());
            }
            let parts = self.secret_parts(&entry.value, context);
            variables.insert(entry.key.text.clone(), parts);
        }
        let file = node.get("secrets").and_then(|secrets| secrets.entries().first());
        if let Some(name) = variables.keys().next().or(file.map(|entry| &entry.key.text)).cloned() {
            self.check_asker(node, &name);
        }
        if node.get("type").and_then(Node::text) == Some("shell") {
            let is_own = |name: &str| {
                ["environment", "secrets"]
                    .iter()
                    .any(|field| node.get(field).is_some_and(|own| own.entry(name).is_some()))
            };
            for (name, parts) in self.workflow_secrets.clone().into_iter().filter(|(name, _)| !is_own(name)) {
                variables.entry(name).or_insert(parts);
            }
        }
        variables
    }

    /// The secrets that a step gets as files, and the files' names.
    pub(super) fn secret_files(&mut self, node: &'tree Node) -> BTreeMap<String, String> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for entry in node.get("secrets").map(Node::entries).unwrap_or_default() {
            let name = &entry.key.text;
            self.check_secret_variable(name, &entry.key.span);
            if let Some(variable) = node.get("environment").and_then(|own| own.entry(name)) {
                let message = format!("`{name}` stands under `secrets` and under `environment`");
                self.report().error("RT-0021", variable.key.span.clone(), message, "remove one of the two".to_owned());
            }
            let Some(file) = entry.value.get("file") else { continue };
            let text = file.text().unwrap_or_default();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if text.is_empty()
                || matches!(text, "." | "..")
                || text.len() > FILE_NAME_MAX
                || !text.chars().all(is_plain)
            {
                let message = format!("`{}` cannot be the name of a secret's file", shown(text));
                let help =
                    "write a name of letters, digits, hyphens, underscores and dots, without a folder".to_owned();
                self.report().error("RT-0022", file.head(), message, help);
            } else if files.values().any(|other| other == text) {
                let message = format!("two secrets of the step would be in one file, `{text}`");
                self.report().error("RT-0021", file.head(), message, "give each a file of its own".to_owned());
            }
            files.insert(name.clone(), text.to_owned());
        }
        files
    }

    /// The variables of the workflow that hold secrets.
    pub(super) fn secrets_of_workflow(&mut self, root: &'tree Node, context: Context<'tree>) {
        for entry in root.get("environment").map(Node::entries).unwrap_or_default() {
            if reads_secret(entry) {
                let parts = self.secret_parts(&entry.value, context);
                self.workflow_secrets.insert(entry.key.text.clone(), parts);
            }
        }
    }

    /// Who asks for a secret has a process that can use it.
    fn check_asker(&mut self, node: &Node, name: &str) {
        let at =
            || node.entry("secrets").or(node.entry("environment")).map_or(node.head(), |entry| entry.key.span.clone());
        let profile = node.get("security_profile").and_then(Node::text).unwrap_or("restricted");
        match node.get("type").and_then(Node::text) {
            Some("claude_code") if matches!(profile, "restricted" | "plan_only") => {
                let message =
                    format!("an agent of the profile `{profile}` runs nothing that could use the secret `{name}`");
                let help = "use it in a step of type `shell`".to_owned();
                self.report().error("RT-0021", at(), message, help);
            }
            // What a webhook cannot use is told by its name.
            None | Some("shell" | "claude_code" | "webhook") => {}
            Some(kind) => {
                let message =
                    format!("a step of type `{kind}` cannot be given a secret, and this one asks for `{name}`");
                self.report().error("RT-0021", at(), message, "use it in a step of type `shell`".to_owned());
            }
        }
    }

    /// A secret that becomes the variable of its name.
    fn check_secret_variable(&mut self, name: &str, at: &Range<usize>) {
        self.check_secret(name, at.clone());
        if variables::is_code(name) {
            let message = format!("a value cannot be put into `{name}`: what stands there may be run");
            self.report().error("RT-0116", at.clone(), message, "give the secret another name".to_owned());
        }
    }

    /// A text that may hold secrets.
    pub(super) fn secret_parts(&mut self, node: &'tree Node, context: Context<'tree>) -> Vec<SecretPart> {
        let (Some(text), Some(secret)) = (node.text(), SECRET.as_ref()) else { return Vec::new() };
        let found: Vec<(Range<usize>, String)> = secret
            .captures_iter(text)
            .filter_map(|found| Some((found.get(0)?.range(), found.get(1)?.as_str().to_owned())))
            .collect();
        let positions = Positions::of(node, self.file);
        for (at, name) in &found {
            self.check_secret(name, positions.locate(at));
        }
        if let Some(at) = text.find("{%") {
            let message = "a statement cannot stand in a variable that holds a secret";
            let help = "put what the statement makes into a variable of its own".to_owned();
            self.report().error("RT-0021", positions.locate(&(at..at + 2)), message, help);
            return Vec::new();
        }
        // All of it is looked at with the secrets blanked, so that what is wrong is found in its place.
        let blanked = secret.replace_all(text, |found: &regex::Captures<'_>| " ".repeat(found[0].len()));
        let Some(whole) = self.template_of(node, &blanked, context) else { return Vec::new() };
        let mut parts = Vec::new();
        let mut from = 0;
        let beside = |range: Range<usize>| {
            let source = text[range].to_owned();
            (!source.is_empty()).then(|| SecretPart::Text(Template { source, uses: whole.uses.clone() }))
        };
        for (at, name) in found {
            parts.extend(beside(from..at.start));
            parts.push(SecretPart::Secret(name));
            from = at.end;
        }
        parts.extend(beside(from..text.len()));
        parts
    }

    fn check_secret(&mut self, name: &str, at: Range<usize>) {
        let declared = &self.resolver.symbols.secrets;
        if declared.contains(&name) {
            return;
        }
        let declared = declared.clone();
        let help = self.report().nearest.help(name, declared);
        let help = help.unwrap_or_else(|| format!("declare it: `secrets: [{name}]` at the top of the file"));
        self.report().error("RT-0050", at, format!("the workflow declares no secret `{name}`"), help);
    }
}

/// Whether a variable holds a secret.
pub(crate) fn reads_secret(entry: &Entry) -> bool {
    let is_match = |text: &str| SECRET.as_ref().is_some_and(|secret| secret.is_match(text));
    entry.value.text().is_some_and(is_match)
}
