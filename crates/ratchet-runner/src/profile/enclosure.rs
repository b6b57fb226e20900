//! Walls around a whole program: prepared here, put up by [`inside`](super::inside) in the new process.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use landlock::{Ruleset, RulesetAttr, Scope};
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{getgid, getuid},
};

use super::{
    Files, Lack, Network, PROTECTED, Rules, filter,
    inside::{BASE, Prepared, Wall},
    machine, places,
};

/// What a program is to find within its walls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// Where it finds the workspace.
    pub(crate) workspace: &'a Path,
    /// Where this process finds it.
    pub(crate) workspace_here: &'a Path,
    /// Where it starts.
    pub(crate) directory: &'a Path,
    /// What HOME names.
    pub(crate) home: &'a Path,
    /// What TMPDIR names.
    pub(crate) temporary: &'a Path,
    /// Folders of the attempt's own that it may change.
    pub(crate) writable: &'a [PathBuf],
    /// Files and folders that it may read.
    pub(crate) readable: &'a [PathBuf],
    /// The file that is run.
    pub(crate) program: &'a Path,
    /// Where it searches programs.
    pub(crate) search: &'a str,
    /// A folder, and where else it is found: what a socket lies in that leads out.
    pub(crate) door: Option<(&'a Path, &'a Path)>,
    /// How long what outlives it may take to end when it is asked to.
    pub(crate) grace: Duration,
}

/// Walls that are ready to be put around one program.
#[derive(Debug)]
pub(crate) struct Enclosure {
    prepared: Prepared,
    made: Made,
}

/// What was made in a workspace to hold a wall, and goes again with it.
#[derive(Debug, Default)]
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // What is not empty is the step's own by now.
            let _ = match path.symlink_metadata() {
                Ok(found) if found.is_dir() => fs::remove_dir(path),
                Ok(found) if found.len() == 0 => fs::remove_file(path),
                _ => Ok(()),
            };
        }
    }
}

/// What the new process says while it puts the walls up. Kept until the program has ended.
#[derive(Debug)]
pub(crate) struct Told {
    end: File,
    what: Vec<String>,
    _made: Made,
}

impl Enclosure {
    /// Prepares what a row of the table asks for.
    pub(crate) fn new(rules: Rules, needs: &Needs<'_>) -> io::Result<Self> {
        let mut plan = Plan::default();
        plan.system(rules.network)?;
        plan.temporary_places()?;
        let mut seen: BTreeSet<PathBuf> = needs.readable.iter().cloned().collect();
        seen.extend(places::programs(needs.search));
        seen.extend(program_places(needs.program));
        // The shorter ones first: what lies in another is seen with it, and is mounted over it where it is another file.
        for path in &seen {
            if !places::is_of_system(path) && !path.starts_with(needs.workspace) {
                plan.show(path, path, false)?;
            }
        }
        plan.show(needs.workspace, needs.workspace, rules.files != Files::Read)?;
        let made = if rules.files == Files::Write { plan.protect(needs)? } else { Made::default() };
        // What it may read in its workspace's place, such as what was captured beside it.
        for path in seen.iter().filter(|path| path.starts_with(needs.workspace) && *path != needs.workspace) {
            plan.show(path, path, false)?;
        }
        for path in [needs.home, needs.temporary].into_iter().chain(needs.writable.iter().map(PathBuf::as_path)) {
            plan.show(path, path, true)?;
        }
        if let Some((from, at)) = needs.door {
            plan.show(from, at, false)?;
        }
        let programs = filter::programs().ok_or_else(|| io::Error::other("there is no filter for this machine"))?;
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        let prepared = Prepared {
            network: rules.network == Network::Open,
            maps: [c_text("deny")?, c_text(&format!("{user} {user} 1"))?, c_text(&format!("{group} {group} 1"))?],
            walls: plan.walls,
            what: plan.what,
            directory: c_string(needs.directory)?,
            scope: scope()?,
            filters: programs,
            grace: needs.grace,
        };
        Ok(Self { prepared, made })
    }

    /// Makes a command start within the walls. Its own working directory does not count any more.
    pub(crate) fn put_around(self, command: &mut Command) -> io::Result<Told> {
        let (told, tell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let what = self.prepared.what.clone();
        self.prepared.put_around(command, tell);
        Ok(Told { end: File::from(told), what, _made: self.made })
    }
}

impl Told {
    /// What the machine does not give, where the program could not be started. Where all walls stood it is not their fault.
    pub(crate) fn lack(&self, error: &io::Error) -> Option<Lack> {
        let mut said = Vec::new();
        let _ = (&self.end).read_to_end(&mut said);
        let what = match said.last_chunk::<2>() {
            Some([b'w', number]) => {
                let reason = self.what.get(usize::from(*number)).map_or("a mount", String::as_str);
                return Some(Lack { what: "mounts of its own", reason: format!("{reason}: {error}") });
            }
            Some([b'n', _]) => "namespaces for mounts and processes, with or without one for users",
            Some([b'm', _]) => "a user namespace that its user stays in",
            Some([b'p', _]) => "a second process",
            Some([b'r', _]) => "a root of its own",
            Some([b'l', _]) => "a loopback interface of its own",
            Some([b'c', _]) => "giving up capabilities",
            Some([b's', _]) => "Landlock or a filter of system calls",
            Some([b'd', _]) => "its working directory",
            _ => return None,
        };
        Some(Lack { what, reason: error.to_string() })
    }
}

/// Everything that is mounted, in order.
#[derive(Debug, Default)]
struct Plan {
    walls: Vec<Wall>,
    /// What each is, for a person.
    what: Vec<String>,
    folders: BTreeSet<PathBuf>,
}

/// Devices that every program may use.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// What of `/proc` changes the machine.
const OF_MACHINE: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

impl Plan {
    fn add(&mut self, wall: Wall, what: String) -> io::Result<()> {
        if self.walls.len() >= usize::from(u8::MAX) {
            return Err(io::Error::other("a step sees too many places outside its workspace"));
        }
        self.walls.push(wall);
        self.what.push(what);
        Ok(())
    }

    fn system(&mut self, network: Network) -> io::Result<()> {
        for path in places::system() {
            match fs::read_link(path) {
                Ok(target) => {
                    let wall = Wall::Link { to: c_string(&target)?, at: inside(path)? };
                    self.add(wall, format!("the link {}", path.display()))?;
                }
                Err(_) => self.show(path, path, false)?,
            }
        }
        if getuid().is_root() {
            for path in places::hidden() {
                let wall = if path.is_dir() {
                    Wall::Empty { at: inside(path)? }
                } else {
                    Wall::Bind { from: c_text("/dev/null")?, at: inside(path)?, writable: false }
                };
                self.add(wall, format!("hiding {}", path.display()))?;
            }
        }
        if let Some(path) = places::resolver().filter(|_| network == Network::Open) {
            self.show(&path, &path, false)?;
        }
        self.folder(Path::new("/dev"))?;
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            if path.exists() {
                self.file(&path)?;
                let wall = Wall::Bind { from: c_string(&path)?, at: inside(&path)?, writable: true };
                self.add(wall, format!("the device {name}"))?;
            }
        }
        for (name, to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            let at = inside(&Path::new("/dev").join(name))?;
            self.add(Wall::Link { to: c_text(to)?, at }, format!("the link /dev/{name}"))?;
        }
        self.folder(Path::new("/dev/shm"))?;
        self.add(Wall::Memory { at: inside(Path::new("/dev/shm"))? }, "memory that processes share".to_owned())?;
        self.folder(Path::new("/proc"))?;
        self.add(Wall::Proc { at: inside(Path::new("/proc"))? }, "a /proc of its own".to_owned())?;
        for name in OF_MACHINE {
            let path = Path::new("/proc").join(name);
            if path.exists() {
                let wall = Wall::Bind { from: inside(&path)?, at: inside(&path)?, writable: false };
                self.add(wall, format!("{} for reading alone", path.display()))?;
            }
        }
        Ok(())
    }

    /// Where programs put what they soon throw away, whatever TMPDIR says. What of the attempt lies there is shown in it.
    fn temporary_places(&mut self) -> io::Result<()> {
        for path in ["/tmp", "/var/tmp"] {
            self.folder(Path::new(path))?;
            self.add(Wall::Memory { at: inside(Path::new(path))? }, format!("an empty {path}"))?;
        }
        Ok(())
    }

    /// Makes what lies at one path seen at another.
    fn show(&mut self, from: &Path, at: &Path, writable: bool) -> io::Result<()> {
        if from.is_dir() {
            self.folder(at)?;
        } else {
            self.file(at)?;
        }
        let wall = Wall::Bind { from: c_string(from)?, at: inside(at)?, writable };
        self.add(wall, format!("showing {}", at.display()))
    }

    /// Makes a place for a folder, and for those above it.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.pop();
        for folder in above.into_iter().rev() {
            if self.folders.insert(folder.to_owned()) {
                self.add(Wall::Folder { at: inside(folder)? }, format!("a place for {}", folder.display()))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        self.add(Wall::File { at: inside(path)? }, format!("a place for {}", path.display()))
    }

    /// Keeps what may be read and not changed of a workspace that may be changed. What is not there is made for that time, so that nobody else makes it.
    fn protect(&mut self, needs: &Needs<'_>) -> io::Result<Made> {
        let mut made = Made::default();
        let here = |name: &str| needs.workspace_here.join(name);
        let kind = |name: &str| here(name).symlink_metadata().ok().map(|found| found.file_type());
        // A mount point cannot be given another name, and so nothing else can take its place.
        let has_git = kind(".git").is_some_and(|kind| kind.is_dir());
        if has_git {
            let path = needs.workspace.join(".git");
            self.add(
                Wall::Bind { from: inside(&path)?, at: inside(&path)?, writable: true },
                "holding .git in its place".to_owned(),
            )?;
        }
        for name in PROTECTED {
            if name.starts_with(".git/") && !has_git {
                continue;
            }
            match kind(name) {
                // A link would be followed to wherever it leads: what becomes of it is looked at when the step is over.
                Some(kind) if kind.is_symlink() => continue,
                Some(_) => {}
                None if name == ".git/config" => {
                    File::create_new(here(name))?;
                    made.0.push(here(name));
                }
                None if name == ".git/hooks" || name == ".claude" => {
                    fs::create_dir(here(name))?;
                    made.0.push(here(name));
                }
                // An empty file there would be added to a commit.
                None => continue,
            }
            let path = needs.workspace.join(name);
            let wall = Wall::Bind { from: inside(&path)?, at: inside(&path)?, writable: false };
            self.add(wall, format!("keeping {name}"))?;
        }
        Ok(made)
    }
}

/// What a program needs of itself: its file, by the name it is called and by the one it really has.
fn program_places(program: &Path) -> Vec<PathBuf> {
    let Ok(real) = program.canonicalize() else { return Vec::new() };
    if places::is_of_system(&real) && places::is_of_system(program) {
        return Vec::new();
    }
    let mut found = vec![program.to_owned()];
    if real != program {
        found.push(real);
    }
    found
}

/// A ruleset that keeps signals and abstract sockets inside, where the kernel has that.
fn scope() -> io::Result<Option<OwnedFd>> {
    const SINCE: i32 = 6;
    if machine::landlock().is_none_or(|version| version < SINCE) {
        return Ok(None);
    }
    let ruleset = Ruleset::default().scope(Scope::AbstractUnixSocket | Scope::Signal);
    ruleset.and_then(Ruleset::create).map(Into::into).map_err(io::Error::other)
}

/// A path as it is within the root that is being made.
fn inside(path: &Path) -> io::Result<CString> {
    let path = path.strip_prefix("/").unwrap_or(path);
    c_string(&Path::new(BASE).join(path))
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn c_text(text: &str) -> io::Result<CString> {
    Ok(CString::new(text)?)
}
