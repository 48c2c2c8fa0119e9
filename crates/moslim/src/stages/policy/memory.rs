//! The most memory that the phases of a step needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use moslim_rl::Phase;

/// Measures the most memory of every phase; knows nothing where the operating system does not say.
#[derive(Clone, Default)]
pub(super) struct PhaseMemory(Rc<RefCell<BTreeMap<String, f64>>>);

impl PhaseMemory {
    /// Begins to measure.
    pub(super) fn start() -> Self {
        forget_peak();
        Self::default()
    }

    /// A phase is over.
    pub(super) fn lap(&self, phase: Phase) {
        if let Some(bytes) = peak_bytes() {
            let name = match phase {
                Phase::Generate => "generate",
                Phase::Reward => "reward",
                Phase::Reference => "reference",
                Phase::Update => "update",
            };
            self.0.borrow_mut().insert(format!("memory/{name}_peak_bytes"), bytes);
        }
        forget_peak();
    }

    /// What the phases of the last step needed, in bytes.
    pub(super) fn take(&self) -> BTreeMap<String, f64> {
        let mut found = self.0.take();
        if let Some(most) = found.values().copied().reduce(f64::max) {
            found.insert("memory/peak_bytes".into(), most);
        }
        found
    }
}

/// The most memory that the process had resident since [`forget_peak`], on Linux.
pub(crate) fn peak_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Begins to measure the most memory anew.
pub(crate) fn forget_peak() {
    // Where that is not allowed, the peak is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
