//! Processor time and memory of a program, as Linux counts them.

use std::{fs, time::Duration};

use super::Result;

/// Processor time taken so far by a process and its children. It is less than before when a thread or
/// a child has ended.
pub fn time_of(pid: u32) -> Result<Duration> {
    let mut sum = own_time(pid)?;
    for child in children(pid)? {
        sum += own_time(child)?;
    }
    Ok(sum)
}

/// From `schedstat` of each thread, which counts nanoseconds where `stat` counts hundredths.
pub fn own_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Processes that any thread of this one has started and that still run.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(list) = fs::read_to_string(task?.path().join("children")) else { continue };
        for child in list.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    Ok(found)
}

/// Resident memory of a process in megabytes (millions of bytes).
pub fn memory_of(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
