//! How much memory there is for this process: the machine's, or its control group's
//! if that is less. Linux only.

use std::fs;
use std::path::{Path, PathBuf};

/// What is taken where nothing can be found out.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// The memory that this process can have, in bytes: the machine's, or its control
/// group's if that is less. Where nothing can be found out, a gibibyte.
pub fn memory_bytes() -> usize {
    usize::try_from(memory_bytes_under(Path::new("/"))).unwrap_or(usize::MAX)
}

/// There is less memory than the broker may take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory_max is {memory_max} bytes, and this process can have {memory_bytes} (of the machine, or of its control group): the system \
     may end it before anybody gives way; set memory_max to {} or less, or leave it out",
    memory_bytes / 2
)]
pub struct TooLittleMemory {
    memory_max: usize,
    memory_bytes: usize,
}

/// Why `memory_max` bytes cannot be had, if they cannot.
pub fn too_little_for(memory_max: usize) -> Option<TooLittleMemory> {
    let memory_bytes = memory_bytes();
    (memory_max > memory_bytes).then_some(TooLittleMemory { memory_max, memory_bytes })
}

fn memory_bytes_under(root: &Path) -> u64 {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| machine_bytes(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let files = limit_files(&groups).into_iter().map(|file| root.join(file));
    // `max`, or in version 1 a number beyond every machine, is no limit.
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min().unwrap_or(UNKNOWN_BYTES)
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// Where the limits of the process's control groups and of all above them stand, by
/// what `/proc/self/cgroup` says.
///
/// In a container the path is often that of the host, which is not there; the limit is in the root then.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(path.trim_start_matches('/'));
        files.extend(own.ancestors().map(|group| Path::new(base).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_of_the_machine_and_every_control_group_counts() {
        let machine = ("proc/meminfo", "MemTotal:        2048 kB\nMemFree:  1 kB\n");
        for (files, expected) in [
            (&[machine][..], 2 << 20),
            (
                &[machine, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "1000000\n")],
                1_000_000,
            ),
            (
                &[machine, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "max\n")],
                2 << 20,
            ),
            (&[machine, ("proc/self/cgroup", "0::/elsewhere\n"), ("sys/fs/cgroup/memory.max", "500\n")], 500),
            (
                &[
                    machine,
                    ("proc/self/cgroup", "3:cpu:/x\n2:memory,hugetlb:/x\n"),
                    ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "700\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                700,
            ),
            (&[("proc/meminfo", "nonsense"), ("proc/self/cgroup", "nonsense")], UNKNOWN_BYTES),
        ] {
            assert_eq!(memory_bytes_under(root(files).path()), expected, "{files:?}");
        }
    }

    #[test]
    fn more_than_there_is_is_told_with_both_figures_and_what_to_do() {
        assert_eq!(too_little_for(1 << 20), None);
        let told = too_little_for(usize::MAX).unwrap().to_string();
        for part in [&format!("{}", usize::MAX), &format!("{}", memory_bytes()), "set memory_max to "] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory_bytes() > 1 << 20);
    }
}
