//! The size of a step's task.

use ratchet_core::resources::{CPU_UNITS, DISK_GIB, Resources, fits, memory_range};

use super::{Lowering, fields};
use crate::{check::references::Context, yaml::Node};

/// Units of one processor.
const UNITS: f64 = 1024.0;

impl<'tree> Lowering<'_, 'tree> {
    /// Sizes that a container can have.
    pub(super) fn resources(&mut self, of: &'tree Node, context: Context<'tree>) -> Option<Resources> {
        let node = of.get("resources")?;
        if let Some(kind @ ("assert" | "template" | "wait" | "approval")) = of.get("type").and_then(Node::text)
            && let Some(entry) = of.entry("resources")
        {
            let message = format!("`resources` means nothing for a step of type `{kind}`: it has no task");
            self.report().error("RT-0021", entry.key.span.clone(), message, "remove it".to_owned());
        }
        let cpu = node.get("cpu").and_then(|cpu| self.cpu(cpu));
        let memory = node.get("memory").and_then(|memory| self.size(memory, 1, "4GB"));
        let disk_gib = node.get("disk").and_then(|disk| self.size(disk, 1024, "50GB")).and_then(|mib| {
            let gib = mib / 1024;
            if mib.is_multiple_of(1024) && DISK_GIB.contains(&gib) {
                return Some(gib);
            }
            let message = format!("a task has {} to {} GiB of disk", DISK_GIB.start(), DISK_GIB.end());
            self.report().error("RT-0082", node.get("disk")?.head(), message, None);
            None
        });
        if let Some(memory) = memory
            && let Some(at) = node.get("memory")
        {
            self.check_memory(at, cpu, memory);
        }
        Some(Resources {
            cpu_units: cpu,
            memory_mib: memory,
            disk_gib,
            image: node.get("image").and_then(|image| self.template(image, context)),
            spot: fields::boolean(node, "spot"),
        })
    }

    /// Processors as a number or as text, or units of them.
    fn cpu(&mut self, node: &Node) -> Option<u32> {
        let given = match node.text() {
            Some(text) => {
                let lower = text.trim().to_ascii_lowercase();
                lower.strip_suffix("vcpu").map_or(lower.as_str(), str::trim_end).parse::<f64>().ok()
            }
            None => node.to_json().as_f64(),
        };
        let found = given.and_then(|number| {
            CPU_UNITS.into_iter().find(|units| {
                let units = f64::from(*units);
                (number - units).abs() < f64::EPSILON || (number - units / UNITS).abs() < f64::EPSILON
            })
        });
        if found.is_none() {
            let help = "write 0.25, 0.5, 1, 2, 4, 8 or 16, or units of which 1024 are one processor".to_owned();
            self.report().error("RT-0082", node.head(), "no task has so many processors", help);
        }
        found
    }

    /// Mebibytes. A number without a unit counts as many of them.
    fn size(&mut self, node: &Node, unit: u32, example: &str) -> Option<u32> {
        let size = match node.text() {
            Some(text) => mebibytes(text),
            None => node.to_json().as_u64().and_then(|n| u32::try_from(n).ok()).and_then(|n| n.checked_mul(unit)),
        };
        if size.is_none() {
            let help = format!("write a whole number and its unit, as in `{example}` or `512MB`");
            self.report().error("RT-0082", node.head(), "this is no size", help);
        }
        size
    }

    fn check_memory(&mut self, at: &Node, cpu: Option<u32>, memory: u32) {
        let gib = |mib: u32| f64::from(mib) / 1024.0;
        match cpu {
            Some(cpu) if !fits(cpu, memory) => {
                let message =
                    format!("no task has {} GB of memory beside {} vCPU", gib(memory), f64::from(cpu) / UNITS);
                let help = memory_range(cpu).map(|(least, most, step)| match cpu {
                    256 => "it has 0.5, 1 or 2 GB".to_owned(),
                    _ => format!("it has {} to {} GB, in steps of {}", gib(least), gib(most), gib(step)),
                });
                self.report().error("RT-0082", at.head(), message, help);
            }
            None if !CPU_UNITS.into_iter().any(|cpu| fits(cpu, memory)) => {
                let message = format!("no task has {} GB of memory", gib(memory));
                let help = "it has 0.5 GB, or 1 to 30 GB in whole steps, or up to 120 GB; how much goes with which `cpu` is in the guide";
                self.report().error("RT-0082", at.head(), message, help.to_owned());
            }
            _ => {}
        }
    }
}

/// `512MB`, `4GB`, `4 GiB`: here MB and GB are the binary ones, as containers have them.
fn mebibytes(text: &str) -> Option<u32> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u32 = text[..end].parse().ok()?;
    match text[end..].trim().to_ascii_lowercase().as_str() {
        "mb" | "mib" => Some(number),
        "gb" | "gib" => number.checked_mul(1024),
        _ => None,
    }
}
