//! What goes wrong, and how often.

use super::{Mode, random::Random};

/// How often each thing goes wrong, in a thousand cases. Each run draws which kinds of faults it has at all, because a run in which everything fails
/// at once never gets to where a single fault hurts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// A future is dropped where it waits.
    pub(crate) crash: u32,
    /// A whole process dies, with all of its futures.
    pub(crate) crash_process: u32,
    /// A port call takes minutes.
    pub(crate) stall: u32,
    /// The store refuses before it does anything.
    pub(crate) store_unavailable: u32,
    /// The store applies a part of a commit and the answer is lost.
    pub(crate) store_torn: u32,
    /// The store applies a whole commit and the answer is lost.
    pub(crate) store_answer_lost: u32,
    /// Other commits come between the writes of one.
    pub(crate) store_interleaved: u32,
    /// The index of what is due leaves a run out.
    pub(crate) index_lags: u32,
    /// An event is not taken.
    pub(crate) bus_unavailable: u32,
    /// An event is lost.
    pub(crate) event_lost: u32,
    /// An event comes twice, or more often.
    pub(crate) event_repeated: u32,
    /// An event comes minutes or hours late.
    pub(crate) event_late: u32,
    /// There is no capacity for a task.
    pub(crate) no_capacity: u32,
    /// The answer of a launcher is lost.
    pub(crate) launcher_answer_lost: u32,
    /// A task ends without a report.
    pub(crate) task_lost: u32,
    /// A task is said to be gone although its report is on its way.
    pub(crate) gone_too_early: u32,
    /// A blob is not available.
    pub(crate) blob_unavailable: u32,
    /// The workspace is not available.
    pub(crate) workspace_unavailable: u32,
    /// The clock jumps.
    pub(crate) clock_jumps: u32,
    /// Nothing is ever delivered but the reports of attempts.
    pub(crate) events_silent: bool,
    /// No report is ever delivered either.
    pub(crate) reports_silent: bool,
}

impl Faults {
    /// The faults of a run until it calms down.
    pub(crate) fn draw(mode: Mode, random: &mut Random) -> Self {
        let mut faults = match mode {
            Mode::Calm | Mode::Killed => return Self::default(),
            Mode::Faults | Mode::Storm | Mode::Silent => Self::default(),
        };
        let mut kind = |rates: &[u32]| if random.chance(450) { *random.pick(rates) } else { 0 };
        faults.crash = kind(&[2, 10, 40]);
        faults.crash_process = kind(&[1, 4]);
        faults.stall = kind(&[2, 10]);
        faults.store_unavailable = kind(&[5, 40]);
        faults.store_torn = kind(&[20, 100]);
        faults.store_answer_lost = kind(&[20, 100]);
        faults.store_interleaved = kind(&[300, 1000]);
        faults.index_lags = kind(&[100, 500]);
        faults.bus_unavailable = kind(&[20, 100]);
        faults.event_lost = kind(&[20, 200]);
        faults.event_repeated = kind(&[50, 300]);
        faults.event_late = kind(&[50, 300]);
        faults.no_capacity = kind(&[20, 150]);
        faults.launcher_answer_lost = kind(&[20, 150]);
        faults.task_lost = kind(&[20, 150]);
        faults.gone_too_early = kind(&[50, 300]);
        faults.blob_unavailable = kind(&[5, 40]);
        faults.workspace_unavailable = kind(&[10, 60]);
        faults.clock_jumps = kind(&[2, 10]);
        if mode == Mode::Silent {
            faults.events_silent = true;
            faults.reports_silent = random.chance(250);
        }
        faults
    }

    /// What remains when the faults stop: a bus that delivers nothing but reports stays so.
    pub(crate) fn calm(&self) -> Self {
        Self { events_silent: self.events_silent, ..Self::default() }
    }
}
