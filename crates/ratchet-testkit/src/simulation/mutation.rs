//! Contracts that a port breaks on purpose, to see that the laws notice. `docs/simulation.md` lists them.

use ratchet_core::{budget::Budget, group::LIMIT_MAX};
use ratchet_engine::ports::{Expectation, Write};

use super::random::hash;

/// A broken contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The store writes a row that must not be there over the one that is.
    ClaimsOverwrite,
    /// The store replaces a row whatever its revision is.
    RevisionsIgnored,
    /// The store leaves a write of a commit out and says that it was applied.
    WritesDropped,
    /// The store answers with the row of an execution as it was before its last change.
    StaleReads,
    /// The store does not show rows of older epochs that are not settled, so that nobody fences them.
    OldRowsHidden,
    /// The store loses some arrivals of children, each time that they come.
    ArrivalsLost,
    /// The store never says that a run is due.
    NothingDue,
    /// A late report comes with the token of the attempt that took its place, as if tokens were not compared.
    TokensIgnored,
    /// The launcher starts what it said was gone.
    LauncherForgets,
    /// The store adds what an agent used each time that it is told.
    PaidTwice,
    /// The store does not count whose turn it is.
    TurnsUncounted,
    /// The step cache gives everybody the lease.
    LeasesForAll,
    /// The step cache gives the entry of another key.
    EntriesMixedUp,
    /// The launcher says of runs that nobody drives that somebody does.
    DeadDrive,
    /// The launcher says of every run that nobody drives it.
    NobodyDrives,
    /// Nothing that one step left is laid over what another did.
    LaterFilesLost,
    /// The store loses some versions of artifacts, each time that they are registered.
    VersionsLost,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::ClaimsOverwrite,
        Self::RevisionsIgnored,
        Self::WritesDropped,
        Self::StaleReads,
        Self::OldRowsHidden,
        Self::ArrivalsLost,
        Self::NothingDue,
        Self::TokensIgnored,
        Self::LauncherForgets,
        Self::PaidTwice,
        Self::TurnsUncounted,
        Self::LeasesForAll,
        Self::EntriesMixedUp,
        Self::DeadDrive,
        Self::NobodyDrives,
        Self::LaterFilesLost,
        Self::VersionsLost,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaimsOverwrite => "claims-overwrite",
            Self::RevisionsIgnored => "revisions-ignored",
            Self::WritesDropped => "writes-dropped",
            Self::StaleReads => "stale-reads",
            Self::OldRowsHidden => "old-rows-hidden",
            Self::ArrivalsLost => "arrivals-lost",
            Self::NothingDue => "nothing-due",
            Self::TokensIgnored => "tokens-ignored",
            Self::LauncherForgets => "launcher-forgets",
            Self::PaidTwice => "paid-twice",
            Self::TurnsUncounted => "turns-uncounted",
            Self::LeasesForAll => "leases-for-all",
            Self::EntriesMixedUp => "entries-mixed-up",
            Self::DeadDrive => "dead-drive",
            Self::NobodyDrives => "nobody-drives",
            Self::LaterFilesLost => "later-files-lost",
            Self::VersionsLost => "versions-lost",
        }
    }

    /// A write as the broken store takes it, where `current` is the revision of the row that is there.
    pub(crate) fn forge(self, write: &mut Write, current: Option<u64>) {
        if let (Self::TurnsUncounted, Write::TakeTurn { member, .. }) = (self, &mut *write) {
            member.limit = LIMIT_MAX;
        }
        let (Write::Step { expect, .. }, Some(current)) = (write, current) else { return };
        let is_forged = match self {
            Self::ClaimsOverwrite => *expect == Expectation::Absent,
            Self::RevisionsIgnored => *expect != Expectation::Absent,
            _ => false,
        };
        if is_forged {
            *expect = Expectation::Revision(current);
        }
    }

    /// What the broken store writes before a write.
    pub(crate) fn before(self, write: &Write) -> Option<Write> {
        let (Self::PaidTwice, Write::SettleCall { owner, call, .. }) = (self, write) else { return None };
        Some(Write::EnterCall { owner: owner.clone(), call: call.clone(), budget: Budget::default() })
    }

    /// Whether the broken store does not apply a write.
    pub(crate) fn drops(self, write: &Write) -> bool {
        use ratchet_core::join::JoinKind;
        match (self, write) {
            (Self::WritesDropped, Write::Step { row, .. }) => {
                hash(&format!("{} {}", row.key, row.revision())).is_multiple_of(40)
            }
            (Self::VersionsLost, Write::Artifact(artifact)) => hash(&artifact.origin.source()).is_multiple_of(10),
            (Self::ArrivalsLost, Write::Unite { key, place, .. }) if key.kind == JoinKind::Children => {
                hash(&format!("{key:?} {place}")).is_multiple_of(10)
            }
            _ => false,
        }
    }
}
