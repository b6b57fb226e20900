//! A workflow is put together with what it refers to: other workflows, step types of its own, and step types of shared files.

mod interface;
pub(crate) mod reference;
mod taint;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ratchet_core::{
    execution::DefinitionRef,
    history::sha256_hex,
    ids::Digest,
    workflow::{Action, Workflow},
};

pub(crate) use self::interface::{Interface, Interfaces, What};
pub(crate) use self::taint::Taints;
use self::{
    reference::{Reference, of_step, type_names},
    taint::Known,
};
use crate::{
    check::{defaults, ignore, order, report::Report, secrets, structure, symbols::Symbols},
    compile::Compiled,
    diagnostic::{Diagnostic, Diagnostics, Source},
    lower::{self, lower},
    mistake::{Mistake, Severity},
    shape::{Shape, TYPES_FILE, WORKFLOW, step_type},
    sources::{Entry, Sources},
    yaml::{self, Content, Kind, Limits, Node, Scalar, Style},
};

/// The most workflows of which each runs the next.
const DEPTH_MAX: usize = 16;

/// Compiles a workflow with all that it refers to. An error holds everything that is wrong with its own file, warnings included, and of another file what
/// stands first.
pub fn compile_all(sources: &Sources) -> Result<Compiled, Diagnostics> {
    compile_within(sources, 0, Known::default())
}

/// The names of step types, and what their author should look at.
pub type CheckedTypes = (Vec<String>, Vec<Diagnostic>);

/// Checks a file of step types. Gives their names, and what their author should look at; `None` where the file is none.
pub fn check_types(sources: &Sources) -> Option<Result<CheckedTypes, Diagnostics>> {
    let root = sources.held.root.as_str();
    // Most files declare none, and are not read twice for that.
    if !sources.root_text().contains("step_types") {
        return None;
    }
    let (tree, _) = yaml::parse(sources.root_text(), Limits::default());
    let tree = tree.filter(|tree| tree.get("step_types").is_some() && tree.get("steps").is_none())?;
    let names = type_names(&tree);
    let mut linker = Linker::new(sources, 0, Known::default());
    let (_, findings) = linker.file(root, |linker, text, report| {
        let tree = checked(text, &Shape::Record(&TYPES_FILE), report)?;
        Some(linker.interfaces(root, text, &tree, report))
    });
    let is_wrong = findings.iter().any(|finding| finding.severity() == Severity::Error);
    Some(if is_wrong { Err(Diagnostics::new(findings)) } else { Ok((names, findings)) })
}

fn compile_within(sources: &Sources, depth: usize, tainted: Known) -> Result<Compiled, Diagnostics> {
    let mut linker = Linker::new(sources, depth, tainted);
    let root = sources.held.root.as_str();
    let Some(entry) = &sources.held.entry else {
        let (workflow, findings) = linker.file(root, |linker, text, report| linker.workflow_of(root, text, report));
        return match workflow {
            Some(workflow) if findings.iter().all(|finding| finding.severity() == Severity::Warning) => {
                Ok(Compiled { workflow, warnings: findings })
            }
            _ => Err(Diagnostics::new(findings)),
        };
    };
    let found = linker.types_of(root).and_then(|types| match types.get(&entry.step_type) {
        Some(Interface { what: What::Run { workflow, .. }, .. }) => Ok(workflow.clone()),
        _ => Err(Wrong::Missing(format!("it declares no group of steps `{}`", entry.step_type))),
    });
    match found {
        Ok(workflow) => {
            let (name, version) = (entry.name.clone(), entry.version.clone());
            let workflow = Workflow { name, version, ..Workflow::clone(&workflow) };
            Ok(Compiled { workflow, warnings: Vec::new() })
        }
        Err(wrong) => {
            let (code, message) = match wrong {
                Wrong::Inside { code, message, at } => (code, format!("{message}, at {at}")),
                other => other.told(&sources.shown(root)),
            };
            let shown = Arc::new(Source::new(sources.shown(root), "", &[]));
            Err(Diagnostics::new(vec![Diagnostic::new(Mistake::error(code, message, 0..0), shown)]))
        }
    }
}

/// Why what is referred to cannot be used.
#[derive(Debug, Clone)]
enum Wrong {
    /// It is not there.
    Missing(String),
    /// It includes itself: the path from it to it.
    Cycle(String),
    /// Something in it is wrong: what, and where.
    Inside { code: &'static str, message: String, at: String },
    /// Too many run each other.
    TooDeep,
}

impl Wrong {
    fn empty(name: &str) -> Self {
        Self::Inside { code: "RT-0092", message: "nothing can be made of it".to_owned(), at: name.to_owned() }
    }

    fn told(&self, name: &str) -> (&'static str, String) {
        match self {
            Self::Missing(reason) => ("RT-0090", format!("`{name}` cannot be used: {reason}")),
            Self::Cycle(path) => ("RT-0091", format!("this never ends, because it runs itself: {path}")),
            Self::Inside { code, message, at } => ("RT-0092", format!("`{name}` is wrong: {message} [{code}] at {at}")),
            Self::TooDeep => ("RT-0093", format!("more than {DEPTH_MAX} workflows run each other down to `{name}`")),
        }
    }

    fn help(&self, name: &str) -> String {
        match self {
            Self::Missing(_) => "a file is named by its path from this one, as in `./deploy.yaml`, and anything else by the name that it was published under".into(),
            Self::Cycle(_) => "take one of them out of what it runs".into(),
            Self::Inside { .. } => format!("see all that is wrong with it: `ratchet validate {name}`"),
            Self::TooDeep => "have fewer of them run each other".into(),
        }
    }
}

/// Puts the files of some sources together.
struct Linker<'s> {
    sources: &'s Sources,
    /// How many workflows run each other down to these sources.
    depth: usize,
    /// What is being compiled, each for the one before.
    stack: Vec<String>,
    workflows: BTreeMap<String, Result<Interface, Wrong>>,
    types: BTreeMap<String, Result<Arc<BTreeMap<String, Interface>>, Wrong>>,
    /// What is given an agent's words.
    tainted: Known,
}

impl<'s> Linker<'s> {
    fn new(sources: &'s Sources, depth: usize, tainted: Known) -> Self {
        Self { sources, depth, stack: Vec::new(), workflows: BTreeMap::new(), types: BTreeMap::new(), tainted }
    }
}

impl Linker<'_> {
    /// What an agent wrote of the inputs of a file's workflow, or of a step type of it.
    fn taints(&self, file: &str, step_type: Option<&str>) -> Taints {
        let held = &self.sources.held;
        let is_meant = file == held.root && step_type == held.entry.as_ref().map(|entry| entry.step_type.as_str());
        let inputs = if is_meant { held.tainted.clone() } else { BTreeSet::new() };
        Taints { inputs, depth: self.depth + self.stack.len(), known: self.tainted.clone() }
    }

    /// Looks at a file, and gives what it is made into with all that was found.
    fn file<T>(
        &mut self,
        name: &str,
        make: impl FnOnce(&mut Self, &str, &mut Report) -> Option<T>,
    ) -> (Option<T>, Vec<Diagnostic>) {
        let sources = self.sources;
        let text = sources.held.files.get(name).map_or("", String::as_str);
        let limits = Limits::default();
        let mut report = Report::default();
        // A file that is too long is not looked into.
        let hidden = if text.len() <= limits.bytes { secrets::check(text, &mut report) } else { Vec::new() };
        self.stack.push(name.to_owned());
        let made = make(self, text, &mut report);
        self.stack.pop();
        let shown = Arc::new(Source::new(sources.shown(name), text, &hidden));
        let findings = ignore::apply(text, report.into_mistakes());
        (made, findings.into_iter().map(|mistake| Diagnostic::new(mistake, shown.clone())).collect())
    }

    /// The workflow of a file. Everything that is wrong goes into the report.
    fn workflow_of(&mut self, name: &str, text: &str, report: &mut Report) -> Option<Workflow> {
        let mut tree = checked(text, &Shape::Record(&WORKFLOW), report)?;
        defaults::apply(&mut tree, Limits::default(), report);
        let interfaces = self.interfaces(name, text, &tree, report);
        let symbols = Symbols::of(&tree, &interfaces);
        let graph = order::check(&symbols, report);
        lower(&tree, text, &symbols, graph.as_ref(), &self.taints(name, None), report)
    }

    /// What a file is wrong for, where it is.
    fn wrong_with(findings: &[Diagnostic]) -> Option<Wrong> {
        let first = findings.iter().find(|finding| finding.severity() == Severity::Error)?;
        let (line, column) = first.place();
        let at = format!("{}:{line}:{column}", first.file());
        Some(match first.code() {
            // The path is the whole of it.
            "RT-0091" => Wrong::Cycle(first.message().rsplit_once(": ").map_or("", |(_, path)| path).to_owned()),
            "RT-0093" => Wrong::TooDeep,
            code => Wrong::Inside { code, message: first.message().to_owned(), at },
        })
    }

    fn enter(&self, name: &str) -> Result<(), Wrong> {
        if let Some(from) = self.stack.iter().position(|open| open == name) {
            let path: Vec<&str> = self.stack[from..].iter().map(String::as_str).chain([name]).collect();
            return Err(Wrong::Cycle(path.join(" -> ")));
        }
        if self.depth + self.stack.len() >= DEPTH_MAX { Err(Wrong::TooDeep) } else { Ok(()) }
    }

    fn tell(&self, wrong: &Wrong, reference: &Reference, at: &Node, report: &mut Report) {
        let name = reference.name();
        let (code, message) = wrong.told(&name);
        report.error(code, at.head(), message, wrong.help(&self.sources.shown(&name)));
    }

    fn missing(&self, name: &str) -> Wrong {
        let reason = self.sources.missing.get(name).map_or("it was not kept with the workflow", String::as_str);
        Wrong::Missing(reason.to_owned())
    }

    /// The workflow that a step refers to.
    fn workflow(&mut self, reference: &Reference) -> Result<Interface, Wrong> {
        let name = reference.name();
        if let Some(known) = self.workflows.get(&name) {
            return known.clone();
        }
        let found = match reference {
            Reference::File(_) | Reference::Outside(_) => self.workflow_file(&name),
            Reference::Published { .. } => self.published(&name),
        };
        // The way round depends on where it was found.
        if !matches!(found, Err(Wrong::Cycle(_))) {
            self.workflows.insert(name, found.clone());
        }
        found
    }

    fn workflow_file(&mut self, name: &str) -> Result<Interface, Wrong> {
        if !self.sources.held.files.contains_key(name) {
            return Err(self.missing(name));
        }
        self.enter(name)?;
        let (workflow, findings) = self.file(name, |linker, text, report| linker.workflow_of(name, text, report));
        if let Some(wrong) = Self::wrong_with(&findings) {
            return Err(wrong);
        }
        let workflow = workflow.ok_or_else(|| Wrong::empty(name))?;
        Ok(run(Arc::new(workflow), &self.sources.rooted(name, None)))
    }

    fn published(&mut self, name: &str) -> Result<Interface, Wrong> {
        let Some(text) = self.sources.held.published.get(name) else { return Err(self.missing(name)) };
        let depth = self.depth + self.stack.len();
        if depth >= DEPTH_MAX {
            return Err(Wrong::TooDeep);
        }
        let sources = Sources::read(name, text).map_err(|message| Wrong::Inside {
            code: "RT-0092",
            message,
            at: name.to_owned(),
        })?;
        match compile_within(&sources, depth, self.tainted.clone()) {
            Ok(Compiled { workflow, .. }) => Ok(run(Arc::new(workflow), &sources)),
            Err(diagnostics) => {
                let wrong = Self::wrong_with(diagnostics.all());
                Err(wrong.unwrap_or_else(|| Wrong::empty(name)))
            }
        }
    }

    /// The step types that a file declares.
    fn types_of(&mut self, name: &str) -> Result<Arc<BTreeMap<String, Interface>>, Wrong> {
        if let Some(known) = self.types.get(name) {
            return known.clone();
        }
        let found = self.types_file(name);
        if !matches!(found, Err(Wrong::Cycle(_))) {
            self.types.insert(name.to_owned(), found.clone());
        }
        found
    }

    fn types_file(&mut self, name: &str) -> Result<Arc<BTreeMap<String, Interface>>, Wrong> {
        if !self.sources.held.files.contains_key(name) {
            return Err(self.missing(name));
        }
        self.enter(name)?;
        let (types, findings) = self.file(name, |linker, text, report| {
            // A workflow may lend its types too.
            let is_workflow = yaml::parse(text, Limits::default()).0.is_some_and(|tree| tree.get("steps").is_some());
            let shape = if is_workflow { &WORKFLOW } else { &TYPES_FILE };
            let mut tree = checked(text, &Shape::Record(shape), report)?;
            if is_workflow {
                defaults::apply(&mut tree, Limits::default(), report);
            }
            Some(linker.interfaces(name, text, &tree, report))
        });
        if let Some(wrong) = Self::wrong_with(&findings) {
            return Err(wrong);
        }
        let types = types.map(Interfaces::into_types).unwrap_or_default();
        Ok(Arc::new(types))
    }

    /// What the steps of a file refer to.
    fn interfaces(&mut self, file: &str, text: &str, tree: &Node, report: &mut Report) -> Interfaces {
        let mut interfaces = Interfaces::new(file);
        let entries = tree.get("step_types").map(Node::entries).unwrap_or_default();
        let mut owners = vec![tree];
        owners.extend(entries.iter().map(|entry| &entry.value));
        for step in owners.into_iter().flat_map(steps_of) {
            if step.get("type").and_then(Node::text) != Some("workflow") {
                continue;
            }
            let (Some(reference), Some(at)) = (of_step(step, file), step.get("workflow")) else { continue };
            let found = self.workflow(&reference);
            if let Err(wrong) = &found {
                self.tell(wrong, &reference, at, report);
            }
            if let (Reference::File(_) | Reference::Outside(_), Some(version)) = (&reference, step.entry("version")) {
                let message = "a file is the version that it is";
                report.error("RT-0021", version.key.span.clone(), message, "remove `version`".to_owned());
            }
            interfaces.workflows.insert(reference.name(), found.ok());
        }
        let mut types = Types { file, text, tree, entries, path: Vec::new() };
        for position in 0..entries.len() {
            self.step_type(&mut types, position, &mut interfaces, report);
        }
        interfaces
    }

    /// A step type of a file, after those that its own steps are of.
    fn step_type(&mut self, types: &mut Types<'_>, position: usize, interfaces: &mut Interfaces, report: &mut Report) {
        let entry = &types.entries[position];
        let name = entry.key.text.as_str();
        if interfaces.types.contains_key(name) {
            return;
        }
        if step_type(name).is_some() {
            let message = format!("`{name}` is a type of step already");
            report.error("RT-0094", entry.key.span.clone(), message, "choose another name".to_owned());
            interfaces.types.insert(name.to_owned(), None);
            return;
        }
        types.path.push(position);
        for step in steps_of(&entry.value) {
            let Some(of) = step.get("type") else { continue };
            let Some(other) = types.entries.iter().position(|entry| Some(entry.key.text.as_str()) == of.text()) else {
                continue;
            };
            if let Some(from) = types.path.iter().position(|open| *open == other) {
                let path = types.path[from..].iter().chain([&other]);
                let path: Vec<&str> = path.map(|position| types.entries[*position].key.text.as_str()).collect();
                let wrong = Wrong::Cycle(path.join(" -> "));
                let (code, message) = wrong.told(name);
                report.error(code, of.head(), message, wrong.help(name));
                interfaces.types.insert(types.entries[other].key.text.clone(), None);
            } else {
                self.step_type(types, other, interfaces, report);
            }
        }
        types.path.pop();
        let made = match entry.value.text() {
            Some(path) => self.shared_type(types, name, path, &entry.value, report),
            None if entry.value.is_null() => None,
            None => self.own_type(types, name, &entry.value, interfaces, report),
        };
        interfaces.types.entry(name.to_owned()).or_insert(made);
    }

    /// A step type that another file declares.
    fn shared_type(
        &mut self,
        types: &Types<'_>,
        name: &str,
        path: &str,
        at: &Node,
        report: &mut Report,
    ) -> Option<Interface> {
        let reference = Reference::of_file(path, types.file);
        let found = match &reference {
            Reference::File(file) => self.types_of(file),
            other => Err(self.missing(&other.name())),
        };
        let known = match found {
            Ok(known) => known,
            Err(wrong) => {
                self.tell(&wrong, &reference, at, report);
                return None;
            }
        };
        let Some(interface) = known.get(name) else {
            let message = format!("`{path}` declares no step type `{name}`");
            let help = report.nearest.help(name, known.keys().map(String::as_str));
            report.error("RT-0090", at.head(), message, help);
            return None;
        };
        let What::Run { .. } = &interface.what else { return Some(interface.clone()) };
        let taints = self.taints(types.file, Some(name));
        let workflow = match interface.action(name) {
            Action::Workflow(run) if !taints.inputs.is_empty() => {
                let inputs = taints.inputs.clone();
                let given = taints.given(&run, inputs);
                given.map_err(|unfit| report.error(unfit.code, at.head(), unfit.message, unfit.help)).ok()?.workflow
            }
            Action::Workflow(run) => run.workflow,
            _ => return Some(interface.clone()),
        };
        let entry = types.entry_of(name);
        let workflow =
            Workflow { name: entry.name.clone(), version: entry.version.clone(), ..Workflow::clone(&workflow) };
        let key = reference.name();
        Some(run(Arc::new(workflow), &self.sources.rooted(&key, Some(entry))))
    }

    /// A step type that is declared where it is used.
    fn own_type(
        &self,
        types: &Types<'_>,
        name: &str,
        node: &Node,
        interfaces: &Interfaces,
        report: &mut Report,
    ) -> Option<Interface> {
        match (node.get("steps"), node.get("exec")) {
            (Some(_), None) => {
                let entry = types.entry_of(name);
                let root = Types::group(&entry, node);
                let symbols = Symbols::of(&root, interfaces);
                let graph = order::check(&symbols, report);
                let taints = self.taints(types.file, Some(name));
                let workflow = lower(&root, types.text, &symbols, graph.as_ref(), &taints, report)?;
                Some(run(Arc::new(workflow), &self.sources.rooted(types.file, Some(entry))))
            }
            (None, Some(exec)) => {
                let command = command_of(exec, types.file, report)?;
                let digest = command.first().and_then(|program| self.sources.program(program));
                let none = Interfaces::new(types.file);
                let symbols = Symbols::of(node, &none);
                let (inputs, outputs) = lower::exec_interface(node, types.text, &symbols, report);
                Some(Interface { what: What::Exec(command, digest), inputs, outputs })
            }
            (Some(_), Some(exec)) => {
                let message = "a step type has `steps` or `exec`, not both";
                report.error("RT-0021", exec.head(), message, "remove one of the two".to_owned());
                None
            }
            (None, None) => {
                let message = format!("nothing says what a step of type `{name}` does");
                let help = "write `steps`, a list of steps, or `exec`, a program and its arguments".to_owned();
                report.error("RT-0011", node.head(), message, help);
                None
            }
        }
    }
}

/// The step types of a file, while they are looked at.
struct Types<'a> {
    file: &'a str,
    text: &'a str,
    tree: &'a Node,
    entries: &'a [yaml::Entry],
    /// Those that are being looked at, each for the one before.
    path: Vec<usize>,
}

impl Types<'_> {
    /// A type as the workflow that its steps run.
    fn entry_of(&self, step_type: &str) -> Entry {
        let of_file = |field: &str| self.tree.get(field).and_then(Node::text).unwrap_or_default();
        let name = match of_file("name") {
            "" => step_type.to_owned(),
            name => format!("{name}/{step_type}"),
        };
        Entry { step_type: step_type.to_owned(), name, version: of_file("version").to_owned() }
    }

    /// A group of steps as a workflow's file would have it.
    fn group(entry: &Entry, node: &Node) -> Node {
        let text = |name: &str, text: &str| yaml::Entry {
            key: yaml::Key { text: name.to_owned(), span: node.head(), line: 0 },
            value: Node {
                span: node.head(),
                content: Content::Scalar(Scalar { text: text.to_owned(), style: Style::Plain, kind: Kind::Text }),
            },
        };
        let mut entries = vec![text("name", &entry.name), text("version", &entry.version)];
        entries.extend(node.entries().iter().cloned());
        Node { span: node.span.clone(), content: Content::Map(entries) }
    }
}

/// The tree of a file whose structure was checked; `None` where nothing can be made of it.
fn checked(text: &str, shape: &Shape, report: &mut Report) -> Option<Node> {
    let (tree, mistakes) = yaml::parse(text, Limits::default());
    for mistake in mistakes {
        report.add(mistake);
    }
    let mut tree = tree?;
    report.custom_types = type_names(&tree).into_iter().collect::<BTreeSet<_>>();
    structure::check(&mut tree, shape, &"the file", report).then_some(tree)
}

/// What a step runs that follows a definition.
fn run(workflow: Arc<Workflow>, sources: &Sources) -> Interface {
    let text: Arc<str> = sources.text().into();
    let definition = DefinitionRef {
        name: workflow.name.clone(),
        version: workflow.version.clone(),
        digest: Digest::new(sha256_hex(text.as_bytes())),
        origin: sources.origin.clone(),
    };
    let (inputs, outputs) = (workflow.inputs.clone(), workflow.outputs.clone());
    Interface { what: What::Run { definition, text, workflow }, inputs, outputs }
}

/// The steps of a workflow or of a group.
fn steps_of(of: &Node) -> impl Iterator<Item = &Node> {
    let lists = ["steps", "on_failure", "finally"].into_iter();
    lists.flat_map(|list| of.get(list).map(Node::items).unwrap_or_default())
}

/// The program of a step type and its arguments. One that is named by a path lies beside the file that names it.
fn command_of(exec: &Node, file: &str, report: &mut Report) -> Option<Vec<String>> {
    let mut command: Vec<String> = Vec::new();
    for word in exec.items() {
        let text = &word.scalar()?.text;
        if text.contains("{{") || text.contains("{%") {
            let message = "the words of `exec` are constants, and this is a template";
            let help = "declare an input: the program reads it as a field of the object on its standard input";
            report.error("RT-0021", word.head(), message, help.to_owned());
        }
        command.push(text.clone());
    }
    let program = command.first_mut()?;
    if program.contains('/') && !program.starts_with('/') {
        if let Reference::File(path) = Reference::of_file(program, file) {
            *program = format!("./{path}");
        } else {
            let message = "this program lies outside of the folder of the workflow's file";
            let help = "move it there, or name it by its absolute path, or by its name alone".to_owned();
            report.error("RT-0022", exec.items()[0].head(), message, help);
        }
    }
    Some(command)
}
