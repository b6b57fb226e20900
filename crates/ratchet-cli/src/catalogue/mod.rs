//! The reference workflows, which come with the command: to read, to run and to begin from.

#[cfg(test)]
mod page;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use ratchet_core::workflow::Workflow;
use ratchet_definition::sources::compile_stored;

/// The file of a folder that its steps stand in.
pub(crate) const WORKFLOW: &str = "workflow.yaml";

/// A folder with a workflow, what it is for, its tests, a sample project and a recorded agent.
#[derive(Debug)]
pub(crate) struct ReferenceWorkflow {
    /// The folder's name, which is the workflow's.
    pub(crate) name: &'static str,
    /// In the order of their paths.
    pub(crate) files: &'static [ShippedFile],
}

/// A file of a reference workflow.
#[derive(Debug)]
pub(crate) struct ShippedFile {
    /// Beside the workflow.
    path: &'static str,
    /// Whether it is a program.
    executable: bool,
    content: &'static [u8],
}

const REFERENCE_WORKFLOWS: &[ReferenceWorkflow] = include!(concat!(env!("OUT_DIR"), "/reference_workflows.rs"));

/// All of them, by name.
pub(crate) fn reference_workflows() -> &'static [ReferenceWorkflow] {
    REFERENCE_WORKFLOWS
}

/// The one of this name.
pub(crate) fn reference_workflow(name: &str) -> Option<&'static ReferenceWorkflow> {
    REFERENCE_WORKFLOWS.iter().find(|workflow| workflow.name == name)
}

/// The name that a person may have meant.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let names = REFERENCE_WORKFLOWS.iter().map(|workflow| workflow.name);
    let by_likeness = names.map(|known| (strsim::jaro_winkler(known, name), known));
    by_likeness.filter(|(likeness, _)| *likeness > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

impl ReferenceWorkflow {
    /// What it says.
    pub(crate) fn workflow(&self) -> Workflow {
        compile_stored(WORKFLOW, self.text(WORKFLOW)).expect("what ships is valid: a test holds it to that")
    }

    /// What its author says of it.
    pub(crate) fn readme(&self) -> &'static str {
        self.text("README.md")
    }

    /// Writes all of it into a folder, which is made. What is there already is not written over.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        for file in self.files {
            let path = folder.join(file.path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            io::copy(&mut &*file.content, &mut fs::File::create_new(&path)?)?;
            if file.executable {
                fs::set_permissions(&path, Permissions::from_mode(0o755))?;
            }
        }
        Ok(())
    }

    fn text(&self, path: &str) -> &'static str {
        let file = self.files.iter().find(|file| file.path == path);
        file.and_then(|file| str::from_utf8(file.content).ok()).expect("what ships is whole: a test holds it to that")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_workflow_is_whole_and_has_its_folders_name() {
        assert_eq!(reference_workflows().len(), 8);
        for shipped in reference_workflows() {
            assert_eq!(shipped.workflow().name, shipped.name);
            assert!(shipped.readme().starts_with(&format!("# {}\n", shipped.name)));
            let has = |start: &str| shipped.files.iter().any(|file| file.path.starts_with(start));
            assert!(has("workflow.test.yaml") && has("sample/") && has("recording/"), "{}", shipped.name);
            // What tools leave behind beside a sample is no part of it.
            assert!(!shipped.files.iter().any(|file| file.path.contains("__pycache__")), "{}", shipped.name);
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_known() {
        assert_eq!(nearest("code-reveiw"), Some("code-review"));
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn what_is_there_is_not_written_over() {
        let place = tempfile::tempdir().expect("a folder");
        let shipped = reference_workflow("code-review").expect("it ships");
        shipped.write(place.path()).expect("written");
        assert_eq!(fs::read(place.path().join("README.md")).expect("read"), shipped.readme().as_bytes());
        assert_eq!(shipped.write(place.path()).map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
    }
}
