//! What a file refers to: found before anything in it is checked.

use crate::yaml::{self, Content, Limits, Node};

/// A file or a published definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// A file, by its path relative to the folder of the first file.
    File(String),
    /// A file that lies outside of that folder.
    Outside(String),
    /// A published definition.
    Published {
        /// Its name.
        name: String,
        /// Its version; the newest where none is named.
        version: Option<String>,
    },
}

impl Reference {
    /// What a text stands for that names a workflow or a file of step types, in a file.
    pub(crate) fn of(text: &str, version: Option<&str>, file: &str) -> Self {
        let extension = text.rsplit_once('.').map(|(_, extension)| extension);
        let is_file = text.contains('/') || matches!(extension, Some("yaml" | "yml"));
        if !is_file {
            return Self::Published { name: text.to_owned(), version: version.map(str::to_owned) };
        }
        Self::of_file(text, file)
    }

    /// What a path stands for in a file.
    pub(crate) fn of_file(path: &str, file: &str) -> Self {
        let mut parts: Vec<&str> = file.split('/').collect();
        parts.pop();
        if path.starts_with(['/', '~']) {
            return Self::Outside(path.to_owned());
        }
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Self::Outside(path.to_owned());
                    }
                }
                part => parts.push(part),
            }
        }
        Self::File(parts.join("/"))
    }

    /// The name that it is kept under.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) | Self::Outside(path) => path.clone(),
            Self::Published { name, version: None } => name.clone(),
            Self::Published { name, version: Some(version) } => format!("{name}@{version}"),
        }
    }
}

/// Everything that a file refers to. What is wrong in it is told when it is compiled.
pub(crate) fn references(text: &str, file: &str) -> Vec<Reference> {
    // Most files refer to nothing, and are not read twice for that.
    if !text.contains("workflow") && !text.contains("step_types") {
        return Vec::new();
    }
    let (Some(tree), _) = yaml::parse(text, Limits::default()) else { return Vec::new() };
    let mut found = Vec::new();
    of_steps(&tree, file, &mut found);
    for entry in tree.get("step_types").map(Node::entries).unwrap_or_default() {
        match entry.value.text() {
            Some(path) => found.push(Reference::of_file(path, file)),
            None => of_steps(&entry.value, file, &mut found),
        }
    }
    found
}

/// The programs that the step types of a file name by relative paths: their paths, relative to the folder of the first file.
pub(crate) fn programs(text: &str, file: &str) -> Vec<String> {
    if !text.contains("exec") {
        return Vec::new();
    }
    let (Some(tree), _) = yaml::parse(text, Limits::default()) else { return Vec::new() };
    let types = tree.get("step_types").map(Node::entries).unwrap_or_default();
    let named = types.iter().filter_map(|entry| {
        let program = entry.value.get("exec")?.items().first()?.text()?;
        let is_relative = program.contains('/') && !program.starts_with('/');
        match Reference::of_file(program, file) {
            Reference::File(path) if is_relative => Some(path),
            _ => None,
        }
    });
    named.collect()
}

fn of_steps(of: &Node, file: &str, found: &mut Vec<Reference>) {
    for list in ["steps", "on_failure", "finally"] {
        for step in of.get(list).map(Node::items).unwrap_or_default() {
            if step.get("type").and_then(Node::text) == Some("workflow") {
                found.extend(of_step(step, file));
            }
        }
    }
}

/// What a step refers to that runs another workflow.
pub(crate) fn of_step(step: &Node, file: &str) -> Option<Reference> {
    let version = step.get("version").and_then(Node::scalar).map(|version| version.text.as_str());
    Some(Reference::of(step.get("workflow")?.text()?, version, file))
}

/// The names of the step types that a file declares, in its order.
pub(crate) fn type_names(tree: &Node) -> Vec<String> {
    match tree.get("step_types").map(|types| &types.content) {
        Some(Content::Map(entries)) => entries.iter().map(|entry| entry.key.text.clone()).collect(),
        _ => Vec::new(),
    }
}
