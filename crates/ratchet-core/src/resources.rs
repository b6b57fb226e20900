//! The size of a step's task, where tasks are containers.

use crate::workflow::Template;

/// What a task is given. What is not said is the deployment's choice.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// 1024 are one processor. One of [`CPU_UNITS`].
    pub cpu_units: Option<u32>,
    /// Mebibytes; with the processors, a size that a container can have.
    pub memory_mib: Option<u32>,
    /// Gibibytes of disk.
    pub disk_gib: Option<u32>,
    /// The image that the task runs in.
    pub image: Option<Template>,
    /// Whether the task may run on capacity that is taken back at any time.
    pub spot: Option<bool>,
}

impl Resources {
    /// The bytes of disk.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.disk_gib.map(|gib| u64::from(gib) << 30)
    }
}

/// The sizes of a processor that a container can have.
pub const CPU_UNITS: [u32; 7] = [256, 512, 1024, 2048, 4096, 8192, 16_384];

/// The gibibytes of disk that a container can have.
pub const DISK_GIB: std::ops::RangeInclusive<u32> = 21..=200;

const GIB: u32 = 1024;

/// The least and the most memory beside so many units of processor, and the step between two sizes, in mebibytes.
pub fn memory_range(cpu_units: u32) -> Option<(u32, u32, u32)> {
    Some(match cpu_units {
        256 => (GIB / 2, 2 * GIB, GIB / 2),
        512 => (GIB, 4 * GIB, GIB),
        1024 => (2 * GIB, 8 * GIB, GIB),
        2048 => (4 * GIB, 16 * GIB, GIB),
        4096 => (8 * GIB, 30 * GIB, GIB),
        8192 => (16 * GIB, 60 * GIB, 4 * GIB),
        16_384 => (32 * GIB, 120 * GIB, 8 * GIB),
        _ => return None,
    })
}

/// Whether a container can have so much memory beside so many units of processor.
pub fn fits(cpu_units: u32, memory_mib: u32) -> bool {
    let is_half_size = cpu_units == 256 && memory_mib == 3 * GIB / 2;
    memory_range(cpu_units).is_some_and(|(least, most, step)| {
        (least..=most).contains(&memory_mib) && memory_mib.is_multiple_of(step) && !is_half_size
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_that_containers_can_have() {
        for (cpu, memory, expected) in [
            (256, 512, true),
            (256, 1024, true),
            (256, 1536, false),
            (256, 2048, true),
            (256, 3072, false),
            (512, 512, false),
            (512, 4096, true),
            (1024, 2048, true),
            (1024, 2560, false),
            (4096, 30 * 1024, true),
            (4096, 31 * 1024, false),
            (8192, 16 * 1024, true),
            (8192, 18 * 1024, false),
            (16_384, 120 * 1024, true),
            (16_384, 36 * 1024, false),
            (300, 1024, false),
        ] {
            assert_eq!(fits(cpu, memory), expected, "{cpu} {memory}");
        }
    }
}
