//! What this machine gives to build walls of, and what a profile needs of it.

use std::{
    collections::BTreeMap, env, error::Error, fmt, fs, io, path::Path, process::Command, sync::OnceLock, time::Duration,
};

use ratchet_core::workflow::SecurityProfile;

use super::{Enclosure, Needs, Worker, filter};

/// Chooses whether the kernel keeps steps to their profiles: `kernel`, or `off`. Unset: `kernel`.
const CHOICE_VARIABLE: &str = "RATCHET_CONFINEMENT";
/// The widest profile that steps of this machine may have.
const CAP_VARIABLE: &str = "RATCHET_PROFILE_MAX";

/// What the person who runs ratchet says of profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Whether the kernel enforces them.
    pub is_on: bool,
    /// The widest that a step may have.
    pub cap: SecurityProfile,
}

impl Default for Confinement {
    fn default() -> Self {
        Self { is_on: true, cap: SecurityProfile::Elevated }
    }
}

impl Confinement {
    /// As the variables of this process say. An error says which word is none.
    pub fn of_this_process() -> Result<Self, String> {
        let names = [CHOICE_VARIABLE, CAP_VARIABLE];
        Self::of(&names.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?))).collect())
    }

    /// As these variables say.
    pub(crate) fn of(given: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| given.get(name).map_or("", String::as_str);
        let is_on = match text(CHOICE_VARIABLE) {
            "" | "kernel" => true,
            "off" => false,
            other => return Err(format!("{CHOICE_VARIABLE}={other} is neither `kernel` nor `off`")),
        };
        let cap = match text(CAP_VARIABLE) {
            "" => SecurityProfile::Elevated,
            word => SecurityProfile::of_word(word).ok_or_else(|| format!("{CAP_VARIABLE}={word} is no profile"))?,
        };
        Ok(Self { is_on, cap })
    }

    /// Why a step may not have a profile here.
    pub(crate) fn refusal(self, profile: SecurityProfile) -> Option<String> {
        (profile > self.cap).then(|| {
            let (asked, widest) = (profile.word(), self.cap.word());
            format!("the profile {asked} is wider than the widest that is allowed here, {widest}")
        })
    }
}

/// Something that a machine does not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What: a few words.
    pub what: &'static str,
    /// What the system said.
    pub reason: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl Error for Lack {}

/// What was found out about this machine, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What keeps an enclosure from being made; nothing where one can be.
    pub lacks: Option<Lack>,
    /// The version of Landlock that the kernel speaks. Version 6 keeps signals and abstract sockets inside.
    pub landlock: Option<i32>,
}

impl Machine {
    /// This machine, by making an enclosure and running a program in it. Asked once.
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Machine> = OnceLock::new();
        THIS.get_or_init(Self::probe)
    }

    fn probe() -> Self {
        Self { lacks: lacks(), landlock: landlock() }
    }
}

/// The version of Landlock that the kernel speaks. Asked once.
pub(super) fn landlock() -> Option<i32> {
    static VERSION: OnceLock<Option<i32>> = OnceLock::new();
    *VERSION.get_or_init(ask_landlock)
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
fn ask_landlock() -> Option<i32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

fn lacks() -> Option<Lack> {
    if filter::programs().is_none() {
        let reason = format!("there is none for {}", env::consts::ARCH);
        return Some(Lack { what: "a filter of system calls", reason });
    }
    let tried = || -> io::Result<Result<(), Lack>> {
        let place = tempfile::tempdir()?;
        let folder = place.path().canonicalize()?;
        for name in ["work", "home", "tmp"] {
            fs::create_dir(folder.join(name))?;
        }
        let (home, temporary, work) = (folder.join("home"), folder.join("tmp"), folder.join("work"));
        let needs = Needs {
            workspace: &work,
            workspace_here: &work,
            directory: &work,
            home: &home,
            temporary: &temporary,
            writable: &[],
            readable: &[],
            program: Path::new("/bin/sh"),
            search: "",
            door: None,
            grace: Duration::ZERO,
        };
        let rules = super::rules(SecurityProfile::Restricted, Worker::Agent);
        let enclosure = Enclosure::new(rules, &needs)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 0"]).env_clear();
        let told = enclosure.put_around(&mut command)?;
        let status = command.status();
        drop(command);
        Ok(match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Lack { what: "an enclosure", reason: format!("a program in it ended with {status}") }),
            Err(error) => Err(told.lack(&error).unwrap_or(Lack { what: "an enclosure", reason: error.to_string() })),
        })
    };
    match tried() {
        Ok(tried) => tried.err(),
        Err(error) => Some(Lack { what: "an enclosure", reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_caps_profiles() {
        let all = SecurityProfile::ALL;
        for (number, cap) in all.into_iter().enumerate() {
            let confinement = Confinement { cap, ..Confinement::default() };
            let allowed: Vec<bool> = all.iter().map(|profile| confinement.refusal(*profile).is_none()).collect();
            assert_eq!(allowed, (0..4).map(|other| other <= number).collect::<Vec<_>>());
        }
    }
}
