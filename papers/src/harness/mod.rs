//! What every experiment stands on: the device and its kernels, a report with verdicts, statistics.

pub mod gpu;
pub mod report;
pub mod stats;
