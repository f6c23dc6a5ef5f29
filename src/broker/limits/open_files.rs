//! How many files and sockets the system lets the process have, and what that leaves for clients.

use std::fmt;

/// Sockets that have not said CONNECT yet, beyond the clients that may be online.
const CONNECTING_MAX: usize = 256;
/// Files and sockets kept for everything else: health and metrics, files that are
/// read again, listeners, links to other brokers.
const KEPT_FILES: usize = 128;

/// How many files and sockets the process may have open; `None` where there is no limit or none is known.
pub fn open_files_max() -> Option<usize> {
    #[cfg(unix)]
    {
        let (soft, _hard) = rlimit::Resource::NOFILE.get().ok()?;
        Some(usize::try_from(soft).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    None
}

/// Lets the process have as many files and sockets as the system allows it to: for a
/// program of its own, at its start.
///
/// The usual limit of 1,024 is there for programs that wait with `select`, which cannot count further.
///
/// # Errors
/// What the system says; then the limit is as it was.
pub fn raise_open_files_max() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        rlimit::increase_nofile_limit(u64::MAX)?;
    }
    Ok(())
}

/// How many clients there may be within the limit of open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Clients online.
    pub connections_max: usize,
    /// Sockets of all listeners together.
    pub sockets_max: usize,
}

/// The limit of open files is too low for the clients that there may be.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFewFiles {
    asked: usize,
    given: usize,
    files_max: usize,
    files_needed: usize,
}

impl Capacity {
    /// What is left of `connections_max` clients where so many files may be open; and,
    /// where that is less, why.
    pub fn within(connections_max: usize, files_max: Option<usize>) -> (Self, Option<TooFewFiles>) {
        let sockets_max = connections_max.saturating_add(CONNECTING_MAX);
        let all = Self { connections_max, sockets_max };
        let files_needed = sockets_max.saturating_add(KEPT_FILES);
        let Some(files_max) = files_max.filter(|&files_max| files_max < files_needed) else {
            return (all, None);
        };
        let sockets = (files_max - KEPT_FILES.min(files_max / 2)).max(1);
        let given = (sockets - CONNECTING_MAX.min(sockets / 4)).min(connections_max);
        let capacity = Self { connections_max: given, sockets_max: sockets };
        let too_few = TooFewFiles { asked: connections_max, given, files_max, files_needed };
        (capacity, Some(too_few))
    }
}

impl fmt::Display for TooFewFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, given, files_max, files_needed } = self;
        write!(
            f,
            "the process may have {files_max} files and sockets open, which is too few for {asked} clients: {given} may be online at \
             once. Let it have {files_needed} (LimitNOFILE={files_needed} in a systemd unit, --ulimit nofile={files_needed} for \
             Docker, ulimit -n {files_needed} in a shell), or lower router.max_connections"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_fit_into_the_files_that_may_be_open_and_some_are_kept() {
        let within = |files_max| Capacity::within(1_000, files_max);
        let all = Capacity { connections_max: 1_000, sockets_max: 1_256 };
        assert_eq!((within(None), within(Some(1_384))), ((all, None), (all, None)));
        for (files_max, connections_max, sockets_max) in
            [(1_383, 999, 1_255), (1_024, 672, 896), (128, 48, 64), (10, 4, 5), (0, 1, 1)]
        {
            let (capacity, too_few) = within(Some(files_max));
            assert_eq!(capacity, Capacity { connections_max, sockets_max }, "{files_max}");
            let words = too_few.unwrap().to_string();
            assert!(
                words.contains("too few for 1000 clients") && words.contains("LimitNOFILE=1384"),
                "{words}"
            );
        }
    }

    #[test]
    fn few_clients_have_room_for_arriving_ones_beside_them() {
        let (capacity, too_few) = Capacity::within(5, Some(256));
        assert_eq!((capacity, too_few.is_some()), (Capacity { connections_max: 5, sockets_max: 128 }, true));
    }
}
