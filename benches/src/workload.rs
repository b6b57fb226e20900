//! What is run: the same work for every contender.

use std::{fmt, fmt::Write as _};

/// Some steps, each of them one process of the program `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Steps in a row.
    Chain(u32),
    /// Steps side by side, and one that needs them all.
    Parallel(u32),
    /// Whole runs at once, of so many steps in a row each.
    Many {
        /// How many runs.
        runs: u32,
        /// How many steps in each.
        steps: u32,
    },
    /// One step for each item of a list.
    FanOut(u32),
}

impl Workload {
    /// What is compared with other programs.
    pub(crate) const COMPARED: [Self; 3] = [Self::Chain(40), Self::Parallel(200), Self::Many { runs: 200, steps: 5 }];

    /// What shows how the cost of a step grows with its run.
    pub(crate) const GROWING: [Self; 7] = [
        Self::Chain(40),
        Self::Chain(400),
        Self::Chain(2_000),
        Self::FanOut(40),
        Self::FanOut(400),
        Self::FanOut(2_000),
        Self::FanOut(10_000),
    ];

    /// How many processes of steps it starts.
    pub(crate) fn steps(self) -> u32 {
        match self {
            Self::Chain(steps) | Self::FanOut(steps) => steps,
            Self::Parallel(steps) => steps + 1,
            Self::Many { runs, steps } => runs * steps,
        }
    }

    /// A name for files and for JSON.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Chain(steps) => format!("chain-{steps}"),
            Self::Parallel(steps) => format!("parallel-{steps}"),
            Self::Many { runs, steps } => format!("many-{runs}x{steps}"),
            Self::FanOut(children) => format!("fan-out-{children}"),
        }
    }

    /// One run of it as a workflow.
    pub(crate) fn workflow(self) -> String {
        let mut text = format!("name: {}\nversion: \"1\"\nsteps:\n", self.key());
        let mut step = |id: &str, more: &str| {
            let _ = write!(text, "  - id: {id}\n    type: shell\n    command: \"true\"\n{more}");
        };
        match self {
            Self::Chain(steps) | Self::Many { steps, .. } => (0..steps).for_each(|n| step(&format!("s{n}"), "")),
            Self::Parallel(steps) => {
                (0..steps).for_each(|n| step(&format!("s{n}"), "    needs: []\n"));
                step("join", "");
            }
            Self::FanOut(children) => step("child", &format!("    foreach: \"range({children})\"\n")),
        }
        text
    }

    /// All of it for GNU make. Where each step is to be kept, it leaves a file of its name.
    pub(crate) fn makefile(self, kept: bool) -> String {
        let recipe = if kept { "\t@true\n\t@touch $@\n" } else { "\t@true\n" };
        let names = |count: u32| (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
        let mut text = String::new();
        match self {
            Self::Chain(steps) => {
                // The last step comes first in the file: that makes it the goal.
                for n in (0..steps).rev() {
                    let need = n.checked_sub(1).map(|before| format!("s{before}")).unwrap_or_default();
                    let _ = write!(text, "s{n}: {need}\n{recipe}");
                }
                if !kept {
                    let _ = writeln!(text, ".PHONY: {}", names(steps));
                }
            }
            Self::Many { runs, steps } => {
                let chains = |n: u32| (0..runs).map(|run| format!("s{run}-{n}")).collect::<Vec<_>>().join(" ");
                let _ = writeln!(text, "all: {}", chains(steps - 1));
                for (run, n) in (0..runs).flat_map(|run| (0..steps).map(move |n| (run, n))) {
                    let need = n.checked_sub(1).map(|before| format!("s{run}-{before}")).unwrap_or_default();
                    let _ = write!(text, "s{run}-{n}: {need}\n{recipe}");
                }
                let steps = if kept { String::new() } else { (0..steps).map(chains).collect::<Vec<_>>().join(" ") };
                let _ = writeln!(text, ".PHONY: all {steps}");
            }
            Self::Parallel(steps) | Self::FanOut(steps) => {
                let _ = write!(text, "join: {}\n{recipe}", names(steps));
                if !kept {
                    let _ = writeln!(text, ".PHONY: join {}", names(steps));
                }
                (0..steps).for_each(|n| {
                    let _ = write!(text, "s{n}:\n{recipe}");
                });
            }
        }
        text
    }

    /// All of it as a script. `/bin/true` is a process; the shell's own `true` would be none.
    pub(crate) fn script(self, parallel: u32) -> String {
        match self {
            Self::Chain(steps) => format!("for ((n = 0; n < {steps}; n++)); do /bin/true; done\n"),
            Self::Many { runs, steps } => format!(
                "for ((r = 0; r < {runs}; r++)); do\n  if ((r >= {parallel})); then wait -n; fi\n  \
                 for ((n = 0; n < {steps}; n++)); do /bin/true; done &\ndone\nwait\n"
            ),
            Self::Parallel(steps) | Self::FanOut(steps) => format!(
                "for ((n = 0; n < {steps}; n++)); do\n  if ((n >= {parallel})); then wait -n; fi\n  /bin/true &\ndone\nwait\n/bin/true\n"
            ),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(steps) => write!(f, "{steps} steps in a row"),
            Self::Parallel(steps) => write!(f, "{steps} steps in parallel and a join"),
            Self::Many { runs, steps } => write!(f, "{runs} workflows of {steps} steps at once"),
            Self::FanOut(children) => write!(f, "a fan-out of {children} children"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_starts_the_same_number_of_processes() {
        for workload in Workload::COMPARED {
            let runs = if let Workload::Many { runs, .. } = workload { runs } else { 1 };
            assert_eq!(
                workload.workflow().matches("command:").count(),
                (workload.steps() / runs) as usize,
                "{workload}"
            );
            for kept in [false, true] {
                let recipes = workload.makefile(kept);
                assert_eq!(recipes.matches("\t@true").count(), workload.steps() as usize, "{workload}");
            }
        }
    }
}
