//! `nearfar passwd`: sets, changes and removes the users of a users file.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::output;
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
    #[arg(long)]
    delete: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
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
    // A broken file is said to be one before anyone types a password.
    Users::parse(&text).map_err(invalid)?;
    if args.delete {
        let Some(changed) = Users::without(&text, &args.user).map_err(invalid)? else {
            bail!("{}: there is no user {:?}", args.file.display(), args.user);
        };
        replace(&file, &changed, is_new)?;
        output::line(&format!("user {:?} removed", args.user))?;
        return Ok(());
    }
    let changed =
        Users::with_password(&text, &args.user, &ask()?).map_err(|error| anyhow::anyhow!(error.problem))?;
    replace(&file, &changed, is_new)?;
    output::line(&format!("password of user {:?} set", args.user))?;
    user_name_remark(&args.user).iter().for_each(|remark| output::complain(remark));
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
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(password)
}

fn first_line(input: impl Read) -> anyhow::Result<String> {
    // Room for a line's end, and for one byte too many, which is then refused with its reason.
    let bytes_max = u64::try_from(PASSWORD_BYTES_MAX + 3)?;
    let read = || -> Result<String, TextError> {
        let mut line = Vec::new();
        text::unmarked(input)?.take(bytes_max).read_until(b'\n', &mut line)?;
        Ok(text::decode(&line)?.trim_end_matches(['\r', '\n']).to_owned())
    };
    read().context("the password on standard input cannot be read")
}

/// Replaces the file in one step, so that nobody ever reads half of it. It keeps its owner, its group and its
/// mode, because a node that runs as another user has to read it; a new one is for its owner alone.
fn replace(file: &Path, text: &str, is_new: bool) -> anyhow::Result<()> {
    let cannot_be_written = || format!("{}: cannot be written", file.display());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are made with mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(directory).with_context(cannot_be_written)?;
    if !is_new {
        let before = fs::metadata(file).with_context(cannot_be_written)?;
        keep_rights(temporary.as_file(), &before).with_context(|| {
            format!(
                "{}: its owner (user {}) and group ({}) cannot be kept, so nothing was changed: run this as root or as that user",
                file.display(),
                before.uid(),
                before.gid()
            )
        })?;
    }
    let write = || -> io::Result<()> {
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    };
    write().with_context(cannot_be_written)
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
