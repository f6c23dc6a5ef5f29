//! The files that settings name, seen from where the settings stand.

use std::path::{Path, PathBuf};

use crate::settings::{Origin, SettingError, Table};
use crate::shipped;

/// How other files are found, and whether they are read.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// What paths are relative to.
    pub directory: &'a Path,
    /// False while settings are only checked.
    pub are_read: bool,
}

impl Files<'_> {
    /// The path at `key`. On a command line it is relative to where the program was started.
    pub fn path(&self, table: &mut Table<'_>, key: &'static str) -> Result<Option<PathBuf>, SettingError> {
        let Some(entry) = table.find(key) else { return Ok(None) };
        let path = entry.text()?;
        Ok(Some(match entry.setting().origin {
            Origin::Flag(_) => PathBuf::from(path),
            _ => self.directory.join(path),
        }))
    }

    /// The model at `key`: its path, or the word for the one that the program carries.
    pub fn model(&self, table: &mut Table<'_>, key: &'static str) -> Result<Option<PathBuf>, SettingError> {
        let word = table.find_text(key)?.map(Path::new).filter(|word| shipped::is_meant_by(word));
        let path = self.path(table, key)?;
        Ok(path.map(|path| word.filter(|_| !path.exists()).map_or(path, Path::to_owned)))
    }

    /// The text of a file; none while settings are only checked.
    pub fn text(&self, file: &str) -> Result<Option<String>, String> {
        let read = |path: PathBuf| super::read(&path).map_err(|error| error.to_string());
        self.are_read.then(|| read(self.directory.join(file))).transpose()
    }
}
