//! What processes have used, as the kernel counts it.

use std::{fs, io, time::Duration};

/// The CPU time of all threads of all these processes.
///
/// Threads that have ended are not in it; servers of this kind keep theirs.
pub(crate) fn cpu_time(pids: &[u32]) -> io::Result<Duration> {
    let mut total = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The first number is the time on a CPU, in nanoseconds.
            let figures = fs::read_to_string(thread?.path().join("schedstat"))?;
            let time = figures.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            total += time.ok_or_else(|| io::Error::other("schedstat has no time"))?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// The CPU time of this process.
pub(crate) fn own_cpu_time() -> io::Result<Duration> {
    cpu_time(&[std::process::id()])
}

/// The time for which all cores were busy, or taken away by the machine beneath this one.
pub(crate) fn busy_time() -> io::Result<Duration> {
    let figures = fs::read_to_string("/proc/stat")?;
    let mut fields = figures.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let mut ticks = 0;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of the first two.
    for is_busy in [true, true, true, false, false, true, true, true] {
        let value = fields.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| io::Error::other("/proc/stat has no times"))?;
        ticks += if is_busy { value } else { 0 };
    }
    // The kernel tells user space 100 a second, whatever it counts.
    Ok(Duration::from_millis(ticks * 10))
}
