//! What this process uses, from Linux's /proc; nothing elsewhere.

use std::fs;
use std::time::Duration;

/// Linux counts processor time for programs in hundredths of a second (USER_HZ) on
/// every architecture that we build for.
const TICKS_PER_S: f64 = 100.0;

/// What this process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Memory that it has in RAM.
    pub resident_bytes: u64,
    /// Memory that it has addresses for.
    pub virtual_bytes: u64,
    /// Threads that run.
    pub threads: u64,
    /// Files and sockets that are open.
    pub open_files: u64,
    /// Files and sockets that may be open; none without a limit.
    pub open_files_max: Option<u64>,
    /// When it started, since 1970.
    pub started_at: Duration,
}

impl Process {
    /// This process; none where the system does not tell.
    pub fn this() -> Option<Self> {
        let [own, status, limits, system] = ["self/stat", "self/status", "self/limits", "stat"]
            .map(|file| fs::read_to_string(format!("/proc/{file}")));
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Self::read(&own.ok()?, &status.ok()?, &limits.ok()?, &system.ok()?, open_files)
    }

    fn read(own: &str, status: &str, limits: &str, system: &str, open_files: u64) -> Option<Self> {
        // The fields after the program's name, which ends with the last bracket; the name
        // may hold blanks and brackets.
        let fields: Vec<&str> = own.rsplit(')').next()?.split_ascii_whitespace().collect();
        // proc(5) counts from the process's id: utime is field 14, stime 15, starttime 22. Here the state is
        // the first, which is field 3 there.
        let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
        let boot_s: f64 = value(system, "btime ")?.parse().ok()?;
        let open_files_max = value(limits, "Max open files")?.split_ascii_whitespace().next()?;
        Some(Self {
            cpu: Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_S),
            resident_bytes: bytes(status, "VmRSS:")?,
            virtual_bytes: bytes(status, "VmSize:")?,
            threads: value(status, "Threads:")?.parse().ok()?,
            open_files,
            open_files_max: open_files_max.parse().ok(),
            started_at: Duration::from_secs_f64(boot_s + ticks(19)? / TICKS_PER_S),
        })
    }
}

/// What stands behind `key` in its line.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// A figure that the system gives in kB, by which it means 1,024 bytes.
fn bytes(status: &str, key: &str) -> Option<u64> {
    let kib: u64 = value(status, key)?.strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_whatever_the_program_is_called() {
        let own = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1000 9999 77 18446744073709551615\n";
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t7\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let process = Process::read(own, status, limits, "cpu 1 2\nbtime 1700000000\n", 9);
        let expected = Process {
            cpu: Duration::from_secs(2),
            resident_bytes: 524_288,
            virtual_bytes: 2_097_152,
            threads: 7,
            open_files: 9,
            open_files_max: Some(1_024),
            started_at: Duration::from_secs(1_700_000_010),
        };
        assert_eq!(process, Some(expected));
        assert_eq!(Process::read("", status, limits, "", 9), None);
    }
}
