//! A workflow's file with all that it refers to: the files of workflows and step types that it names, and published definitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ratchet_core::{history::sha256_hex, ids::Digest, workflow::Workflow};
use serde::{Deserialize, Serialize};

pub use crate::link::{CheckedTypes, check_types, compile_all};
use crate::{
    compile::SourceFile,
    link::reference::{Reference, programs, references},
};

/// The most files and published definitions that one workflow may refer to, in all.
pub const SOURCES_MAX: usize = 64;

/// How the text begins that holds more than one file. No workflow begins so.
const MARK: &str = "{\"ratchet_sources\":1,";

/// Where files and published definitions are found.
pub trait Lookup {
    /// The content of a file, by its path relative to the folder of the workflow's own file. An error says why there is none.
    fn file(&self, path: &str) -> Result<String, String>;

    /// The text of a published definition: of a version, or the newest. An error says why there is none.
    fn published(&self, name: &str, version: Option<&str>) -> Result<String, String>;

    /// The digest of a program, by its path relative to the folder of the workflow's own file; `None` where there is none.
    fn program(&self, _path: &str) -> Option<Digest> {
        None
    }
}

/// Finds nothing: for a text that stands alone.
#[derive(Debug, Clone, Copy)]
pub struct NoLookup;

impl Lookup for NoLookup {
    fn file(&self, _path: &str) -> Result<String, String> {
        Err("only the workflow's own text is at hand".to_owned())
    }

    fn published(&self, _name: &str, _version: Option<&str>) -> Result<String, String> {
        Err("no published definitions are at hand".to_owned())
    }
}

/// A workflow's file and all that it refers to, as it was when it was read: a run does not depend on files that change later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// What the workflow's own file is called in reports.
    pub(crate) origin: String,
    pub(crate) held: Held,
    /// Why something that is referred to is not here.
    pub(crate) missing: BTreeMap<String, String>,
}

/// What is written of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The name of the workflow's own file among the files.
    pub(crate) root: String,
    /// The step type of that file that is meant, where it is not the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<Entry>,
    /// The inputs that hold what an agent wrote.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tainted: BTreeSet<String>,
    /// The content of files, by their paths relative to the folder of the first of them.
    pub(crate) files: BTreeMap<String, String>,
    /// The texts of published definitions, by what refers to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) published: BTreeMap<String, String>,
    /// The digests of programs that step types name, by their paths relative to the folder of the first file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) programs: BTreeMap<String, Digest>,
}

/// A step type that is run as a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The type.
    pub(crate) step_type: String,
    /// What the workflow is called.
    pub(crate) name: String,
    /// Its version: that of the workflow whose steps are of the type.
    pub(crate) version: String,
}

/// The workflow that a stored text gives: one that was valid when it was stored. An error says why it is not any more.
pub fn compile_stored(origin: &str, text: &str) -> Result<Workflow, String> {
    let sources = Sources::read(origin, text)?;
    compile_all(&sources).map(|compiled| compiled.workflow).map_err(|diagnostics| diagnostics.to_string())
}

impl Sources {
    /// Reads all that a file refers to. What cannot be found is told when it is compiled.
    pub fn gather(root: &SourceFile, lookup: &dyn Lookup) -> Self {
        let key = root.name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut held = Held { root: key.clone(), ..Held::default() };
        let mut missing = BTreeMap::new();
        held.files.insert(key.clone(), root.text.clone());
        let mut open = VecDeque::from([key]);
        while let Some(key) = open.pop_front() {
            for program in programs(&held.files[&key], &key) {
                if let Some(digest) = lookup.program(&program) {
                    held.programs.insert(program, digest);
                }
            }
            for reference in references(&held.files[&key], &key) {
                let name = reference.name();
                if held.files.contains_key(&name) || held.published.contains_key(&name) || missing.contains_key(&name) {
                    continue;
                }
                if held.files.len() + held.published.len() >= SOURCES_MAX {
                    missing.insert(name, format!("the workflow refers to more than {SOURCES_MAX} files"));
                    continue;
                }
                let found = match &reference {
                    Reference::File(path) => lookup.file(path),
                    Reference::Outside(_) => Err("it lies outside of the folder of the workflow's own file".to_owned()),
                    Reference::Published { name, version } => lookup.published(name, version.as_deref()),
                };
                match (found, reference) {
                    (Err(reason), _) => {
                        missing.insert(name, reason);
                    }
                    (Ok(text), Reference::Published { .. }) => {
                        held.published.insert(name, text);
                    }
                    (Ok(text), _) => {
                        held.files.insert(name.clone(), text);
                        open.push_back(name);
                    }
                }
            }
        }
        Self { origin: root.name.clone(), held, missing }
    }

    /// Reads what [`text`](Self::text) wrote, or a workflow's text alone. `origin` is what the file is called in reports. An error says what is wrong.
    pub fn read(origin: &str, text: &str) -> Result<Self, String> {
        if !text.starts_with(MARK) {
            return Ok(Self::gather(&SourceFile { name: origin.to_owned(), text: text.to_owned() }, &NoLookup));
        }
        let held: Held = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !held.files.contains_key(&held.root) {
            return Err(format!("the file {} is not in it", held.root));
        }
        Ok(Self { origin: origin.to_owned(), held, missing: BTreeMap::new() })
    }

    /// All of it as one text: the workflow's own where there is nothing else to say.
    pub fn text(&self) -> String {
        let Held { root, entry, tainted, files, published, programs } = &self.held;
        if programs.is_empty() && entry.is_none() && tainted.is_empty() && published.is_empty() && files.len() == 1 {
            return files[root].clone();
        }
        // Texts under names always have a JSON form.
        let json = serde_json::to_string(&self.held).unwrap_or_default();
        format!("{MARK}{}", json.strip_prefix('{').unwrap_or_default())
    }

    /// The SHA-256 of the [`text`](Self::text).
    pub fn digest(&self) -> Digest {
        Digest::new(sha256_hex(self.text().as_bytes()))
    }

    /// What the workflow's own file is called in reports.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text of the workflow's own file.
    pub fn root_text(&self) -> &str {
        self.held.files.get(&self.held.root).map_or("", String::as_str)
    }

    /// The digest of a program that a step type names, where it lies beside the workflow's own file.
    pub(crate) fn program(&self, name: &str) -> Option<Digest> {
        self.held.programs.get(name.strip_prefix("./")?).cloned()
    }

    /// Another of the files, or a step type of one, with what that refers to.
    pub(crate) fn rooted(&self, root: &str, entry: Option<Entry>) -> Self {
        let mut held = Held { root: root.to_owned(), entry, ..Held::default() };
        let mut open = vec![root.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if let Some(text) = self.held.published.get(&name) {
                held.published.insert(name, text.clone());
            } else if let Some(text) = self.held.files.get(&name) {
                open.extend(references(text, &name).iter().map(Reference::name));
                let digest = |program: String| Some((self.held.programs.get(&program)?.clone(), program));
                held.programs.extend(
                    programs(text, &name).into_iter().filter_map(digest).map(|(digest, program)| (program, digest)),
                );
                held.files.insert(name, text.clone());
            }
        }
        Self { origin: self.shown(root), held, missing: BTreeMap::new() }
    }

    /// What a file is called in reports.
    pub(crate) fn shown(&self, file: &str) -> String {
        if file == self.held.root {
            return self.origin.clone();
        }
        match self.origin.rsplit_once('/') {
            Some((folder, _)) if self.held.root.contains('/') => {
                let depth = self.held.root.matches('/').count();
                let folder = (1..=depth).fold(folder, |folder, _| folder.rsplit_once('/').map_or("", |(up, _)| up));
                if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
            }
            Some((folder, _)) => format!("{folder}/{file}"),
            None => file.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(BTreeMap<&'static str, &'static str>);

    impl Lookup for Folder {
        fn file(&self, path: &str) -> Result<String, String> {
            self.0.get(path).map(|text| (*text).to_owned()).ok_or_else(|| "there is no such file".to_owned())
        }

        fn published(&self, name: &str, version: Option<&str>) -> Result<String, String> {
            Ok(format!("published {name} {version:?}"))
        }
    }

    #[test]
    fn all_that_is_referred_to_travels_and_nothing_else() {
        let folder = Folder(BTreeMap::from([
            ("sub/b.yaml", "steps: [{id: c, type: workflow, workflow: ../c.yaml}]"),
            ("c.yaml", "steps: [{id: d, type: workflow, workflow: shared, version: \"2\"}]"),
            ("other.yaml", "never read"),
        ]));
        let text = "steps:\n- {id: b, type: workflow, workflow: ./sub/b.yaml}\n- {id: x, type: workflow, workflow: ../x.yaml}\n";
        let root = SourceFile { name: "flows/a.yaml".into(), text: text.into() };
        let sources = Sources::gather(&root, &folder);
        assert_eq!(sources.held.files.keys().collect::<Vec<_>>(), ["a.yaml", "c.yaml", "sub/b.yaml"]);
        assert_eq!(sources.held.published.keys().collect::<Vec<_>>(), ["shared@2"]);
        assert_eq!(sources.missing.len(), 1, "{:?}", sources.missing);
        assert_eq!((sources.shown("a.yaml"), sources.shown("c.yaml")), ("flows/a.yaml".into(), "flows/c.yaml".into()));
        let below = sources.rooted("sub/b.yaml", None);
        assert_eq!(below.origin, "flows/sub/b.yaml");
        assert_eq!(below.held.files.keys().collect::<Vec<_>>(), ["c.yaml", "sub/b.yaml"]);
        assert_eq!(below.shown("c.yaml"), "flows/c.yaml");
        let again = Sources::read("flows/sub/b.yaml", &below.text()).unwrap();
        assert_eq!((again.held.clone(), again.digest()), (below.held.clone(), below.digest()));
    }

    #[test]
    fn what_refers_to_nothing_is_its_own_text() {
        let text = "name: x\n";
        let sources = Sources::read("x.yaml", text).unwrap();
        assert_eq!(sources.text(), text);
        assert!(Sources::read("x.yaml", "{\"ratchet_sources\":1,\"root\":\"a\",\"files\":{}}").is_err());
        assert!(Sources::read("x.yaml", "{\"ratchet_sources\":1,").is_err());
    }
}
