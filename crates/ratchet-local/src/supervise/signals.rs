//! Signals on their way from a person to the engine.

use std::{fs, io};

use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// What a person, a terminal or a service manager sends to the process that it knows.
pub(super) const PASSED_ON: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// Signals as they come. To be made inside a runtime.
pub(super) struct Signals {
    received: mpsc::UnboundedReceiver<Signal>,
}

impl Signals {
    /// Listens to some signals, less those of [`PASSED_ON`] that whoever started this process chose to ignore
    /// (`nohup`).
    pub(super) fn listen(to: &[Signal]) -> io::Result<Self> {
        let ignored = ignored();
        let (sender, received) = mpsc::unbounded_channel();
        for kind in to.iter().copied().filter(|kind| ignored & bit(*kind) == 0 || !PASSED_ON.contains(kind)) {
            let mut stream = signal(SignalKind::from_raw(kind.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if sender.send(kind).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { received })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(kind) => kind,
            None => std::future::pending().await,
        }
    }
}

fn bit(kind: Signal) -> u64 {
    1 << (kind.as_raw() - 1)
}

/// The signals that this process ignores, as the kernel says.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
