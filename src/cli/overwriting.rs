//! What a command writes takes the place of nothing that it reads, and of nothing that is there unless
//! `--force` says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::growing_file::unfinished;

/// Why nothing is written: said before anything is done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("{said_by}: {} is the same file as {}, which is read: name another file", output.display(), input.display())]
    Input { said_by: &'static str, output: PathBuf, input: PathBuf },
    #[error("{said_by}: found -, expected the name of a file: standard output has what the command prints")]
    NoFile { said_by: &'static str },
    #[error("{said_by}: {} exists already and is kept: name another file, or replace it with --force", .output.display())]
    Exists { said_by: &'static str, output: PathBuf },
    #[error(
        "{said_by}: {} exists already and is kept, the beginning that an earlier run left: move it away, or replace it with --force",
        .output.display()
    )]
    Unfinished { said_by: &'static str, output: PathBuf },
    #[error(
        "{said_by}: {} has the results of an experiment, which are kept: name another directory, or replace them with --force",
        .directory.display()
    )]
    Results { said_by: &'static str, directory: PathBuf },
    #[error(
        "{said_by}: the results in {} would replace {}, which is read: name another directory",
        .directory.display(), .input.display()
    )]
    Inside { said_by: &'static str, directory: PathBuf, input: PathBuf },
}

/// Checks that `output`, which the flag or argument `said_by` names, may be written.
///
/// # Errors
/// [`Refused`] when it is one of `inputs`, by whatever path, or exists and may not be replaced by force.
pub fn check(
    said_by: &'static str,
    output: &Path,
    inputs: &[PathBuf],
    is_forced: bool,
) -> Result<(), Refused> {
    if output == Path::new("-") {
        return Err(Refused::NoFile { said_by });
    }
    // A pipe or a device holds nothing that could be lost.
    let is_file = fs::metadata(output).is_ok_and(|known| known.is_file());
    if !is_file {
        return Ok(());
    }
    if let Some(input) = inputs.iter().find(|input| are_same(output, input)) {
        return Err(Refused::Input { said_by, output: output.to_owned(), input: input.clone() });
    }
    if is_forced { Ok(()) } else { Err(Refused::Exists { said_by, output: output.to_owned() }) }
}

/// The same for an output that has another name until it is complete.
///
/// # Errors
/// [`Refused`], also when that other name is taken.
pub fn check_growing(
    said_by: &'static str,
    output: &Path,
    inputs: &[PathBuf],
    is_forced: bool,
) -> Result<(), Refused> {
    check(said_by, output, inputs, is_forced)?;
    check(said_by, &unfinished(output), inputs, is_forced).map_err(|refused| match refused {
        Refused::Exists { said_by, output } => Refused::Unfinished { said_by, output },
        other => other,
    })
}

/// Whether both paths lead to one file: through links of either kind, and however they are spelled.
pub fn are_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|known| (known.dev(), known.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// The files that the model at `path` may be read from.
pub fn model_files(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => vec![path.to_owned(), path.with_file_name("config.json")],
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_input_is_told_by_any_of_its_names() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("input"), "precious").unwrap();
        symlink("input", place("link")).unwrap();
        fs::hard_link(place("input"), place("hard")).unwrap();
        fs::create_dir(place("below")).unwrap();
        let inputs = [place("none"), place("input")];
        for name in ["input", "link", "hard", "./input", "below/../input"] {
            for is_forced in [false, true] {
                let refused = check("--out", &place(name), &inputs, is_forced);
                assert!(matches!(refused, Err(Refused::Input { .. })), "{name}: {refused:?}");
            }
        }
        assert!(check("--out", &place("new"), &inputs, false).is_ok());
    }

    #[test]
    fn what_is_there_is_kept_unless_forced_under_both_of_its_names() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out.csv");
        let refused = |is_forced| check_growing("--out", &out, &[], is_forced);
        fs::write(unfinished(&out), "half").unwrap();
        assert!(matches!(refused(false), Err(Refused::Unfinished { .. })));
        fs::write(&out, "whole").unwrap();
        assert!(matches!(refused(false), Err(Refused::Exists { .. })));
        assert!(refused(true).is_ok());
        // The name that it would have meanwhile is that of an input.
        assert!(matches!(
            check_growing("--out", &out, &[unfinished(&out)], true),
            Err(Refused::Input { .. })
        ));
        assert!(check_growing("--out", Path::new("/dev/null"), &["/dev/null".into()], false).is_ok());
    }
}
