//! `nearfar passwd`: sets, changes and removes the users of a users file.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::exit_status::is_for_a_person;
use super::{Unusable, output};
use crate::broker::{PASSWORD_BYTES_MAX, Users, UsersError, check_user_name, user_name_remark};
use crate::config::{self, ConfigError};
use crate::text::{self, TextError};

#[derive(clap::Args)]
pub struct Args {
    /// The users file, as broker.users names it; made if there is none
    file: PathBuf,
    /// The user. The password is asked for, or read from standard input when that is not a terminal
    user: String,
    /// Remove the user instead
    #[arg(long, short_alias = 'D')]
    delete: bool,
    /// Nothing: it is taken to say why a password has no place there
    #[arg(hide = true)]
    password: Option<OsString>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.password.is_some() {
        bail!(Unusable(
            "found a third argument, expected FILE and USER: a password is not taken from the command line, where others see it and the \
             shell keeps it; it is asked for, or read from standard input"
                .to_owned()
        ));
    }
    check_user_name(&args.user)
        .map_err(|problem| ConfigError::Override { origin: "USER".to_owned(), problem })?;
    // Through a link, so that the file it names is replaced and not the link.
    let (file, is_new) = match fs::canonicalize(&args.file) {
        Ok(file) => (file, false),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => (args.file.clone(), true),
        Err(cause) => return Err(unreadable(&args.file, cause).into()),
    };
    let text = if is_new { String::new() } else { config::read_users_text(&file)? };
    let invalid = |error: UsersError| config::invalid_users(&file, error);
    // A broken file is said to be one before anyone types a password. What this user's own line says may be
    // anything: it goes.
    Users::check_others(&text, &args.user).map_err(invalid)?;
    if args.delete {
        let Some(changed) = Users::without(&text, &args.user).map_err(invalid)? else {
            bail!(Unusable(format!("{}: there is no user {:?}", args.file.display(), args.user)));
        };
        replace(&file, &changed, is_new)?;
        output::line(&format!("user {:?} removed", args.user))?;
        return Ok(());
    }
    let changed =
        Users::with_password(&text, &args.user, &ask()?).map_err(|error| Unusable(error.problem))?;
    replace(&file, &changed, is_new)?;
    output::line(&format!("password of user {:?} set", args.user))?;
    user_name_remark(&[&args.user]).iter().for_each(|remark| output::complain(remark));
    Ok(())
}

fn unreadable(file: &Path, cause: io::Error) -> ConfigError {
    ConfigError::Unreadable { file: file.display().to_string(), cause: cause.into() }
}

/// The password: typed twice without echo, or the first line of standard input.
fn ask() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return first_line(io::stdin().lock());
    }
    let password = rpassword::prompt_password("Password: ").context("the password cannot be read")?;
    if rpassword::prompt_password("Again: ").context("the password cannot be read")? != password {
        bail!(Unusable("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(password)
}

fn first_line(input: impl Read) -> anyhow::Result<String> {
    // Room for a line's end, and for one byte too many.
    let bytes_max = u64::try_from(PASSWORD_BYTES_MAX + 3)?;
    let read = || -> Result<String, TextError> {
        let mut line = Vec::new();
        text::unmarked(input)?.take(bytes_max).read_until(b'\n', &mut line)?;
        Ok(text::decode(&line)?.trim_end_matches(['\r', '\n']).to_owned())
    };
    let password = read()
        .map_err(|error| Unusable(format!("the password on standard input cannot be read: {error}")))?;
    if password.len() > PASSWORD_BYTES_MAX {
        // What stands behind it was not read, so nobody knows how long it is.
        bail!(Unusable(format!(
            "the password on standard input has more than the {PASSWORD_BYTES_MAX} bytes that are allowed"
        )));
    }
    Ok(password)
}

/// Replaces the file in one step, so that nobody ever reads half of it. It keeps its owner, its group and its
/// mode, because a node that runs as another user has to read it; a new one is for its owner alone.
fn replace(file: &Path, text: &str, is_new: bool) -> anyhow::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fails = |cause: io::Error| unwritable(file, directory, &cause);
    // Temporary files are made with mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(fails)?;
    if !is_new {
        let before = fs::metadata(file).map_err(fails)?;
        keep_rights(temporary.as_file(), &before).map_err(|cause| {
            Unusable(format!(
                "{}: its owner (user {}) and group ({}) cannot be kept, so nothing was changed: run this as root or as that user: {cause}",
                file.display(),
                before.uid(),
                before.gid()
            ))
        })?;
    }
    let write = || -> io::Result<()> {
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    };
    write().map_err(fails)
}

/// Why the file stays as it is. The name of the temporary file beside it helps nobody.
fn unwritable(file: &Path, directory: &Path, cause: &io::Error) -> anyhow::Error {
    let (file, directory) = (file.display(), directory.display());
    let plain = match cause.raw_os_error() {
        Some(_) => cause.to_string(),
        None => io::Error::from(cause.kind()).to_string(),
    };
    let advice = match cause.kind() {
        io::ErrorKind::NotFound => format!("there is no directory {directory}: make it first"),
        io::ErrorKind::PermissionDenied => format!(
            "{plain}: a file is replaced by a new one beside it, so whoever runs this needs the right to write in {directory}: run it as \
             root, or as the owner of that directory"
        ),
        _ => plain,
    };
    let said = format!("{file}: cannot be written, and nothing was changed: {advice}");
    if is_for_a_person(cause) { Unusable(said).into() } else { anyhow::Error::msg(said) }
}

/// Gives `file` the owner, group and mode of the one that it replaces.
fn keep_rights(file: &File, before: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    let owner = (before.uid() != now.uid()).then(|| before.uid());
    let group = (before.gid() != now.gid()).then(|| before.gid());
    if owner.is_some() || group.is_some() {
        fchown(file, owner, group)?;
    }
    // Behind it: a change of the owner takes some modes away (chown(2)).
    file.set_permissions(before.permissions())
}
