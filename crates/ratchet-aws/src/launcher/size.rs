//! How large a task is: what its step says, and what goes with it.

use ratchet_core::resources::{CPU_UNITS, fits, memory_range};
use ratchet_engine::order::TaskSize;

/// The size of tasks whose steps do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSizes {
    /// 1024 are one processor.
    pub cpu_units: u32,
    /// Mebibytes.
    pub memory_mib: u32,
}

impl TaskSizes {
    /// The processors and the memory of a task. What a step says alone brings the least that goes with it, and no less than is usual.
    pub(super) fn of(self, size: &TaskSize) -> Result<(u32, u32), String> {
        let (cpu, memory) = match (size.cpu_units, size.memory_mib) {
            (Some(cpu), Some(memory)) => (cpu, memory),
            (None, None) => (self.cpu_units, self.memory_mib),
            (Some(cpu), None) => {
                let (least, most, _) = memory_range(cpu).unwrap_or_default();
                (cpu, self.memory_mib.clamp(least, most.max(least)))
            }
            (None, Some(memory)) => {
                let larger = CPU_UNITS.into_iter().filter(|cpu| *cpu >= self.cpu_units);
                let smaller = CPU_UNITS.into_iter().rev().filter(|cpu| *cpu < self.cpu_units);
                let cpu = larger.chain(smaller).find(|cpu| fits(*cpu, memory));
                (cpu.unwrap_or(self.cpu_units), memory)
            }
        };
        if fits(cpu, memory) {
            Ok((cpu, memory))
        } else {
            Err(format!("no task has {cpu} units of processor with {memory} MiB of memory"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_goes_with_what_is() {
        let usual = TaskSizes { cpu_units: 1024, memory_mib: 2048 };
        for (cpu, memory, expected) in [
            (None, None, Some((1024, 2048))),
            (Some(256), Some(512), Some((256, 512))),
            (Some(4096), None, Some((4096, 8192))),
            (Some(256), None, Some((256, 2048))),
            (None, Some(4096), Some((1024, 4096))),
            (None, Some(512), Some((256, 512))),
            (None, Some(122_880), Some((16_384, 122_880))),
            (Some(256), Some(8192), None),
        ] {
            let size = TaskSize { cpu_units: cpu, memory_mib: memory, ..TaskSize::default() };
            assert_eq!(usual.of(&size).ok(), expected, "{cpu:?} {memory:?}");
        }
    }
}
