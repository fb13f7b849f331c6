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
