//! The embedded broker's own file, read again while the broker runs: all of it needs a restart, so what has
//! changed is only told of.

use std::path::{Path, PathBuf};

use super::listeners::Place;
use super::{ConfigError, read, rumqttd, warn_of_changeable};
use crate::broker;
use crate::settings::{Setting, Value, join, toml};

/// The file, and what it said when the broker started.
#[derive(Debug)]
pub struct BrokerFile {
    path: PathBuf,
    tree: Setting,
}

impl BrokerFile {
    /// Reads the file, with what it makes of the broker and the places of the listeners' addresses.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, line and key.
    pub fn read(path: &Path) -> Result<(Self, broker::Config, Vec<Place>), ConfigError> {
        let tree = toml::parse(Some(&path.display().to_string()), &read(path)?)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        warn_of_changeable(path);
        let (config, places) = rumqttd::read_placed(&tree, directory)?;
        Ok((Self { path: path.to_owned(), tree }, config, places))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys of which the file says something else now.
    ///
    /// # Errors
    /// [`ConfigError`] where it can be used no more, and would end the next start.
    pub fn changed_keys(&self) -> Result<Vec<String>, ConfigError> {
        let (newer, ..) = Self::read(&self.path).map_err(|error| error.named_by("broker.config"))?;
        let mut keys = Vec::new();
        changed(&self.tree, &newer.tree, "", &mut keys);
        Ok(keys)
    }
}

/// Adds the keys at `path` of which the two say different things.
fn changed(before: &Setting, after: &Setting, path: &str, keys: &mut Vec<String>) {
    let (Value::Table(one), Value::Table(other)) = (&before.value, &after.value) else {
        if !before.says_as(after) {
            keys.push(path.to_owned());
        }
        return;
    };
    let new = other.iter().filter(|(name, _)| before.get(name).is_none());
    for (name, _) in one.iter().chain(new) {
        let below = join(path, name);
        match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => changed(before, after, &below, keys),
            _ => keys.push(below),
        }
    }
}
