//! How much work a test's thread did: its processor time, which a busy machine does not change as it changes the clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs something, and fails where it took more work than this.
pub(crate) fn at_most<T>(limit: Duration, name: &str, run: impl FnOnce() -> T) -> T {
    let start = processor_time();
    let result = run();
    let took = processor_time().saturating_sub(start);
    assert!(took <= limit, "{name} took {took:?} of work, and {limit:?} is the most");
    result
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
