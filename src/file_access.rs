//! Who may read a file: the system's file permissions, in words for whoever has to change them.
//!
//! What is said here stands beside an error or a warning, so nothing here fails: what cannot be found out is
//! left out.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
/// Of a directory: whether what is in it can be reached.
const SEARCH: u32 = 0o1;

/// The system's reason why `path` cannot be read. Where a permission is missing, who tried and what would
/// help stand behind it.
pub fn unreadable(path: &Path, cause: &io::Error) -> String {
    match Process::this() {
        Some(process) if cause.kind() == io::ErrorKind::PermissionDenied => {
            format!("{cause}: {process} tried; {}", process.remedy(path))
        }
        _ => cause.to_string(),
    }
}

/// A warning about a file with a secret that every user of this machine can read or change, with what to do;
/// none where the file, or a directory above it, keeps them out.
pub fn open_to_all(path: &Path) -> Option<String> {
    let (path, metadata) = reachable_by_all(path)?;
    let can = match metadata.mode() & (READ | WRITE) {
        0 => return None,
        READ => "read",
        WRITE => "change",
        _ => "read and change",
    };
    let file = path.display();
    let needs_group =
        Process::this().filter(|process| process.class(&metadata) == Class::Others && process.user != 0);
    let remedy = match needs_group {
        // Without the group this process could not read it either.
        Some(process) => {
            let group = id_or_name(GROUPS, process.groups[0]);
            format!("`chgrp {group} {file}` and `chmod u=rw,g=r,o= {file}` keep")
        }
        None => format!("`chmod o= {file}` keeps"),
    };
    Some(format!(
        "every user of this machine can {can} it (mode {:04o}): {remedy} the others out",
        metadata.mode() & 0o7777
    ))
}

/// A warning about a file that every user of this machine can change, with what to do; none where the file,
/// or a directory above it, keeps them out.
pub fn changeable_by_all(path: &Path) -> Option<String> {
    let (path, metadata) = reachable_by_all(path)?;
    (metadata.is_file() && metadata.mode() & WRITE != 0).then(|| {
        format!(
            "every user of this machine can change it (mode {:04o}): `chmod o-w {}` keeps the others from it",
            metadata.mode() & 0o7777,
            path.display()
        )
    })
}

/// The file itself, where no directory above it keeps others out.
fn reachable_by_all(path: &Path) -> Option<(PathBuf, Metadata)> {
    let path = fs::canonicalize(path).ok()?;
    let is_reachable = path.ancestors().skip(1).all(|directory| allows_others(directory, SEARCH));
    let metadata = fs::metadata(&path).ok().filter(|_| is_reachable)?;
    Some((path, metadata))
}

fn allows_others(path: &Path, permission: u32) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & permission != 0)
}

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Whose permissions count for a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    user: u32,
    /// The group that new files get, then all others; never empty.
    groups: Vec<u32>,
}

/// Which of a file's three sets of permissions is a process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Owner,
    Group,
    Others,
}

impl Process {
    /// This one; none where the system does not say.
    fn this() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// Reads Linux's `status` file of a process.
    fn parse(status: &str) -> Option<Self> {
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        // Real, effective, saved, and that for files, which is what counts (proc_pid_status(5)).
        let for_files = |name| line(name)?.split_whitespace().nth(3)?.parse::<u32>().ok();
        let others = line("Groups:").unwrap_or_default().split_whitespace();
        let mut groups = vec![for_files("Gid:")?];
        groups.extend(others.filter_map(|group| group.parse::<u32>().ok()));
        Some(Self { user: for_files("Uid:")?, groups })
    }

    fn class(&self, metadata: &Metadata) -> Class {
        if metadata.uid() == self.user {
            Class::Owner
        } else if self.groups.contains(&metadata.gid()) {
            Class::Group
        } else {
            Class::Others
        }
    }

    /// What would let this process read `path`.
    fn remedy(&self, path: &Path) -> String {
        let (place, metadata, permission, bits) = match closed_directory(path) {
            Some((directory, metadata)) => (directory, metadata, "x", SEARCH),
            None => match fs::metadata(path) {
                // To know what is in a directory does not suffice to reach it.
                Ok(metadata) if metadata.is_dir() => (path.to_owned(), metadata, "rx", READ | SEARCH),
                Ok(metadata) => (path.to_owned(), metadata, "r", READ),
                Err(_) => return "look at the directories above it with `namei -l`".to_owned(),
            },
        };
        let shown = place.display();
        let (class, shift) = match self.class(&metadata) {
            Class::Owner => ('u', 6),
            Class::Group => ('g', 3),
            Class::Others => ('o', 0),
        };
        let belongs = format!(
            "{shown} belongs to user {} and group {}, mode {:04o}",
            Named { file: USERS, id: metadata.uid() },
            Named { file: GROUPS, id: metadata.gid() },
            metadata.mode() & 0o7777
        );
        if metadata.mode() >> shift & bits == bits {
            return format!(
                "{belongs}, which would let it: something else does not, such as a sandbox (systemd's Protect...=) or SELinux"
            );
        }
        match class {
            'o' => format!(
                "{belongs}: `chgrp {} {shown}` and `chmod g+{permission} {shown}` would help",
                id_or_name(GROUPS, self.groups[0])
            ),
            class => format!("{belongs}: `chmod {class}+{permission} {shown}` would help"),
        }
    }
}

/// The first directory on the way to `path` that does not let this process through.
fn closed_directory(path: &Path) -> Option<(PathBuf, Metadata)> {
    let absolute = std::path::absolute(path).ok()?;
    let mut ways: Vec<_> = absolute.ancestors().collect();
    ways.reverse();
    let closed = ways.windows(2).find(|pair| {
        let reached = fs::symlink_metadata(pair[1]);
        reached.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    })?;
    Some((closed[0].to_owned(), fs::metadata(closed[0]).ok()?))
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = Named { file: GROUPS, id: self.groups[0] };
        write!(f, "user {} with group {group}", Named { file: USERS, id: self.user })
    }
}

/// A user or group: the name, where there is one, and the number.
struct Named {
    file: &'static str,
    id: u32,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.file, self.id) {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

fn id_or_name(file: &str, id: u32) -> String {
    name(file, id).unwrap_or_else(|| id.to_string())
}

/// The name of a user or group, in a file where the first field is the name and the third the number.
fn name(file: &str, id: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number = id.to_string();
    lines.find(|fields| fields.get(2) == Some(&number.as_str())).map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t0\t1\t2\t993\nGid:\t0\t1\t2\t990\nGroups:\t4 27 \n";

    #[test]
    fn a_process_is_who_its_files_are_opened_as() {
        assert_eq!(Process::parse(STATUS), Some(Process { user: 993, groups: vec![990, 4, 27] }));
        assert_eq!(Process::parse("Name:\tx\n"), None);
        let this = Process::this().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(this.class(&file.as_file().metadata().unwrap()), Class::Owner);
    }

    #[test]
    fn what_would_help_goes_by_owner_group_and_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("users.txt");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o200)).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let (user, group) = (metadata.uid(), metadata.gid());
        let others = Process { user: user + 1, groups: vec![group + 1] };
        for (process, expected) in [
            (Process { user, groups: vec![group] }, format!("`chmod u+r {}`", file.display())),
            (Process { user: user + 1, groups: vec![9, group] }, format!("`chmod g+r {}`", file.display())),
            (others, format!("and `chmod g+r {}` would help", file.display())),
        ] {
            let remedy = process.remedy(&file);
            assert!(remedy.contains(&expected) && remedy.contains("mode 0200"), "{remedy}");
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o740)).unwrap();
        let remedy = Process { user: user + 1, groups: vec![group] }.remedy(directory.path());
        assert!(remedy.contains(&format!("`chmod g+rx {}`", directory.path().display())), "{remedy}");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let remedy = Process { user, groups: vec![group] }.remedy(&file);
        assert!(remedy.contains("something else does not"), "{remedy}");
    }

    #[test]
    fn a_secret_is_open_to_all_where_neither_it_nor_a_directory_keeps_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.key");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (directory_mode, file_mode, expected) in [
            (0o700, 0o644, None),
            (0o750, 0o666, None),
            (0o755, 0o640, None),
            (0o755, 0o644, Some("can read it (mode 0644): `chmod o= ")),
            (0o755, 0o602, Some("can change it (mode 0602)")),
            (0o711, 0o666, Some("can read and change it (mode 0666)")),
        ] {
            set(directory.path(), directory_mode);
            set(&file, file_mode);
            let said = open_to_all(&file);
            assert_eq!(said.is_some(), expected.is_some(), "{directory_mode:o} {file_mode:o} {said:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()));
            let is_changeable = directory_mode & 1 != 0 && file_mode & 2 != 0;
            assert_eq!(changeable_by_all(&file).is_some(), is_changeable, "{directory_mode:o} {file_mode:o}");
        }
        assert_eq!(open_to_all(&directory.path().join("none")), None);
    }
}
