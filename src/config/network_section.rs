//! `[deployments.NAME.network]`: a simulated network that is more than a latency. What it may
//! say is the `settings` module's business; here it is taken out of the file as it stands.

use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer};

use super::tree::Tree;
use super::{ConfigError, LATENCY_MS_MAX};
use crate::network::Profile;
use crate::network::settings::shape;
use crate::settings::{Setting, SettingError, Table};

/// The section, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSection {
    tree: Setting,
    /// Where its files stand.
    directory: PathBuf,
}

impl NetworkSection {
    /// Makes paths relative to `directory`.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
    }

    /// What parses but makes no sense. Files of recorded delays are read later.
    pub(super) fn check(&self, path: &str) -> Result<(), SettingError> {
        shape(Table::of(&self.tree, path)?, "", &|_| Ok(None)).map(|_| ())
    }

    /// The profile that it describes, for the deployment `name`.
    pub(super) fn profile(&self, name: &str) -> Result<Profile, ConfigError> {
        let read =
            |file: &str| super::read(&self.directory.join(file)).map(Some).map_err(|error| error.to_string());
        let path = format!("deployments.{name}.network");
        Table::of(&self.tree, path).and_then(|table| shape(table, name, &read)).map(Profile::shaped).map_err(
            |error| ConfigError::Override {
                origin: format!("`{}`", error.key),
                problem: error.problem.to_string(),
            },
        )
    }
}

/// `one_way_latency_ms` and a network contradict each other.
pub(super) fn both_given() -> String {
    format!(
        "there is a one_way_latency_ms too; use one or the other \
         (delay = {{ model = \"constant\", ms = 50 }}, at most {LATENCY_MS_MAX} ms)"
    )
}

impl<'de> Deserialize<'de> for NetworkSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { tree: Tree::deserialize(deserializer)?.0, directory: PathBuf::new() })
    }
}
