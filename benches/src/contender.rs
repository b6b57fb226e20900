//! Who runs the work.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{Outcome, PARALLEL, process::Program, workload::Workload};

/// A program that can run a workload.
pub(crate) trait Contender {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Writes what it needs into the folder and says what to start.
    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program>;
}

/// Where everything of a benchmark is written: on the disk that the target folder is on, because a sync to a file system in memory costs nothing.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
}

impl Place {
    /// An empty folder beside the release binary.
    pub(crate) fn new(binary: &Path) -> Outcome<Self> {
        let target = binary.parent().and_then(Path::parent).ok_or("the path of the binary has no folder")?;
        let root = target.join("bench");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// A folder of a contender's own for a workload.
    pub(crate) fn folder(&self, contender: &str, workload: &Workload) -> Outcome<PathBuf> {
        let folder = self.root.join(format!("{}-{}", contender.replace(' ', "-"), workload.key()));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// The command under measurement. Many runs at once are one process of its engine, as every other contender does them in one process.
pub(crate) struct Ratchet {
    pub(crate) binary: PathBuf,
}

impl Ratchet {
    /// One run of a workflow in a folder, with the state in `state` beside it.
    pub(crate) fn run(&self, file: &str, folder: &Path, more: &[&str]) -> Program {
        let mut words = vec![self.binary.display().to_string(), "run".into(), file.into()];
        words.extend(["--in-place", "--quiet", "--workspace", ".", "--state-dir", "state"].map(String::from));
        words.extend(more.iter().map(ToString::to_string));
        Program { words, folder: folder.to_path_buf() }
    }
}

impl Contender for Ratchet {
    fn name(&self) -> &'static str {
        "ratchet"
    }

    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program> {
        fs::write(folder.join("workflow.yaml"), workload.workflow())?;
        if let Workload::Many { runs, .. } = workload {
            let own = env::current_exe()?.display().to_string();
            let words = vec![own, "service".into(), "workflow.yaml".into(), runs.to_string()];
            return Ok(Program { words, folder: folder.to_path_buf() });
        }
        let parallel = PARALLEL.to_string();
        Ok(self.run("workflow.yaml", folder, &["--max-parallel", &parallel]))
    }
}

/// GNU make, which keeps nothing.
pub(crate) struct GnuMake;

impl Contender for GnuMake {
    fn name(&self) -> &'static str {
        "make"
    }

    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program> {
        fs::write(folder.join("Makefile"), workload.makefile(false))?;
        let words = vec!["make".into(), "--silent".into(), format!("--jobs={PARALLEL}")];
        Ok(Program { words, folder: folder.to_path_buf() })
    }
}

/// GNU make that could go on where it was stopped: each step leaves a file behind that says it is done, which is make's way. None is synced to the disk.
pub(crate) struct KeepingMake;

impl Contender for KeepingMake {
    fn name(&self) -> &'static str {
        "kept make"
    }

    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program> {
        fs::write(folder.join("Makefile"), workload.makefile(true))?;
        let words = ["make", "--silent", "--always-make"].map(String::from).into_iter();
        let words = words.chain([format!("--jobs={PARALLEL}")]).collect();
        Ok(Program { words, folder: folder.to_path_buf() })
    }
}

/// A loop of bash, which keeps nothing either.
pub(crate) struct ShellLoop;

impl Contender for ShellLoop {
    fn name(&self) -> &'static str {
        "shell loop"
    }

    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program> {
        fs::write(folder.join("loop.sh"), workload.script(PARALLEL))?;
        let words = vec!["bash".into(), "loop.sh".into()];
        Ok(Program { words, folder: folder.to_path_buf() })
    }
}

/// The physical limit: this program itself, doing nothing but what cannot be left out. See [`crate::limit`].
pub(crate) struct Limit;

impl Contender for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn prepare(&self, workload: &Workload, folder: &Path) -> Outcome<Program> {
        let (chains, steps, join) = match *workload {
            Workload::Chain(steps) => (1, steps, "plain"),
            Workload::Many { runs, steps } => (runs, steps, "plain"),
            Workload::Parallel(steps) => (steps, 1, "joined"),
            Workload::FanOut(children) => (children, 1, "plain"),
        };
        let words = vec![
            env::current_exe()?.display().to_string(),
            "limit".into(),
            "limit.db".into(),
            chains.to_string(),
            steps.to_string(),
            join.into(),
        ];
        Ok(Program { words, folder: folder.to_path_buf() })
    }
}
