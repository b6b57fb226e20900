//! Invariants that are broken on purpose, to see that the simulation notices.

/// One broken invariant. Those that can be broken from outside the engine are; the rest are in `docs/simulation.md` as patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The launcher starts what it said was gone.
    LauncherForgets,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::LauncherForgets];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::LauncherForgets => "launcher-forgets",
        }
    }
}
