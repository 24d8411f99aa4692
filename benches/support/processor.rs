//! What a program takes of the machine, as Linux counts it.

use std::{fs, time::Duration};

use super::Result;

/// Processor time taken so far by a process and its children.
pub fn time_of(pid: u32) -> Result<Duration> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut sum = own_time(pid)?;
    for child in children.split_whitespace() {
        sum += own_time(child.parse()?)?;
    }
    Ok(sum)
}

/// From `schedstat` of each thread, which counts nanoseconds where `stat` counts hundredths.
fn own_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Resident memory of a process in megabytes (millions of bytes).
pub fn memory_of(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
