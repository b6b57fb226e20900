//! Variables that hold secrets: cut into the secrets and what stands beside them, so that no value is ever taken for a secret's place.

use std::{collections::BTreeMap, ops::Range, sync::LazyLock};

use ratchet_core::workflow::{SecretPart, Template};
use regex::Regex;

use super::Lowering;
use crate::{
    check::references::Context,
    command::variables,
    yaml::{Entry, Node, Positions},
};

/// A secret in a template: its name, and nothing done with it.
static SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{-?\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}").ok());

impl<'tree> Lowering<'_, 'tree> {
    /// The variables of a step that hold secrets: those that it names, and those whose text reads one.
    pub(super) fn secrets(&mut self, node: &'tree Node, context: Context<'tree>) -> BTreeMap<String, Vec<SecretPart>> {
        let mut variables = BTreeMap::new();
        let named = node.get("secrets").map(Node::items).unwrap_or_default();
        for name in named {
            let Some(text) = name.text() else { continue };
            self.check_secret(text, name.head());
            if variables::is_code(text) {
                let message = format!("a value cannot be put into `{text}`: what stands there may be run");
                self.report().error("RT-0116", name.head(), message, "give the secret another name".to_owned());
            }
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
        if let (Some(name), Some(kind)) = (variables.keys().next(), node.get("type").and_then(Node::text))
            && !matches!(kind, "shell" | "webhook")
        {
            let message = format!("a step of type `{kind}` cannot be given a secret, and this one asks for `{name}`");
            let help = "use it in a step of type `shell`".to_owned();
            let at =
                node.entry("secrets").or(node.entry("environment")).map_or(node.head(), |entry| entry.key.span.clone());
            self.report().error("RT-0021", at, message, help);
        }
        variables
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
pub(super) fn reads_secret(entry: &Entry) -> bool {
    let is_match = |text: &str| SECRET.as_ref().is_some_and(|secret| secret.is_match(text));
    entry.value.text().is_some_and(is_match)
}
