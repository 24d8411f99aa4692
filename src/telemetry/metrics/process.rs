//! Process metrics under the names that all Prometheus client libraries use.
//! From /proc; elsewhere than on Linux there is nothing to say.

use std::fs;

use crate::telemetry::text::Exposition;

struct Process {
    resident_bytes: f64,
    virtual_bytes: f64,
    cpu_seconds: f64,
    /// Since 1970.
    started_seconds: f64,
    open_files: f64,
}

pub(super) fn render(out: &mut Exposition) {
    let Some(process) = read() else { return };
    for (name, kind, help, value) in [
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", process.resident_bytes),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", process.virtual_bytes),
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            process.cpu_seconds,
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors.", process.open_files),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process, in seconds since the Unix epoch.",
            process.started_seconds,
        ),
    ] {
        out.family(name, kind, help);
        out.sample(name, &[], value);
    }
}

/// Resident memory in bytes; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    read().map_or(0, |process| process.resident_bytes as u64)
}

/// Fields by their numbers in proc_pid_stat(5).
fn read() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, which is the second field, may hold anything, a bracket and spaces too.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<f64> =
        rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
    let field = |number: usize| fields.get(number - 4).copied().unwrap_or(0.0);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    Some(Process {
        resident_bytes: field(24) * rustix::param::page_size() as f64,
        virtual_bytes: field(23),
        cpu_seconds: (field(14) + field(15)) / ticks,
        started_seconds: boot + field(22) / ticks,
        // Reading the folder is itself one.
        open_files: fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen_as_the_system_sees_it() {
        let process = read().expect("Linux says");
        assert!(process.resident_bytes > 1e6 && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_files >= 3.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let age = now.as_secs_f64() - process.started_seconds;
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}
