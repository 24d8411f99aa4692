//! Resource use of a child: its private memory and its processor time. Only Linux reports them, so the limits
//! on them apply only there.

use std::{fs, path::Path, time::Duration};

/// Address space of a thread's stack, as glibc reserves it. Hardly any of it is ever touched.
const STACK: u64 = 8 << 20;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// Private memory. Excludes weights mapped from their file and code, which the system can evict and read
    /// again.
    pub(super) held: u64,
    /// Bytes reserved but not held yet, such as compute buffers.
    pub(super) reserved: u64,
    /// Private and mapped memory.
    pub(super) resident: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessorTime {
    /// Processor time of the thread that serves all requests, llama-server's main thread.
    pub(super) first_thread: Duration,
    pub(super) all_threads: Duration,
}

impl ProcessorTime {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            first_thread: self.first_thread.saturating_sub(earlier.first_thread),
            all_threads: self.all_threads.saturating_sub(earlier.all_threads),
        }
    }
}

/// `None` when the process is gone or the system does not report it.
pub(super) fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// `None` when the process is gone or the system does not report it.
pub(super) fn processor_time(pid: u32) -> Option<ProcessorTime> {
    let time = |path: String| parse_time(&fs::read_to_string(path).ok()?);
    Some(ProcessorTime {
        first_thread: time(format!("/proc/{pid}/task/{pid}/stat"))?,
        all_threads: time(format!("/proc/{pid}/stat"))?,
    })
}

/// Lets the system kill this process before its parent when memory runs out.
pub(super) fn goes_first(pid: u32) {
    let own = read_number(Path::new("/proc/self/oom_score_adj")).unwrap_or(0);
    let score = own.saturating_add(500).min(1000);
    // A system without such scores chooses by itself.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
}

fn read_number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The fields of `/proc/PID/status` are described in proc_pid_status(5).
fn parse_memory(status: &str) -> Option<Memory> {
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let bytes = |name: &str| number(name).map(|kilobytes| kilobytes.saturating_mul(1024));
    let held = bytes("RssAnon")? + bytes("RssShmem")? + bytes("VmSwap").unwrap_or(0);
    let stacks = number("Threads")?.saturating_sub(1).saturating_mul(STACK);
    Some(Memory { held, reserved: bytes("VmData")?.saturating_sub(stacks), resident: bytes("VmRSS")? })
}

/// User and system time of a `stat` file, described in proc_pid_stat(5).
fn parse_time(stat: &str) -> Option<Duration> {
    // The name of the program is in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_parsed() {
        let status = "Name:\ta\nVmRSS:\t  1000 kB\nRssAnon:\t 600 kB\nRssFile:\t 300 kB\nRssShmem:\t 100 kB\n\
                      VmData:\t 20000 kB\nVmSwap:\t 50 kB\nThreads:\t2\n";
        let expected = Memory { held: 750 * 1024, reserved: 20000 * 1024 - STACK, resident: 1000 * 1024 };
        assert_eq!(parse_memory(status), Some(expected));
        assert_eq!(parse_memory("Name:\ta\n"), None, "a process that has ended");

        let stat = "7 (a) b) R 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        let second = rustix::param::clock_ticks_per_second() as f64;
        let time = parse_time(stat).expect("a time").as_secs_f64();
        assert!((time - 300.0 / second).abs() < 1e-6, "{time}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory_and_computes() {
        let pid = std::process::id();
        let memory = memory(pid).expect("memory");
        assert!(memory.held > 100_000 && memory.resident >= memory.held, "{memory:?}");
        let time = processor_time(pid).expect("times");
        assert!(time.all_threads >= time.first_thread, "{time:?}");
        assert!(super::memory(u32::MAX).is_none());
    }
}
