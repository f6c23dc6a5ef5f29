//! `[deployments.NAME.network]`: a simulated network that is more than a latency. What it may say is the `settings` module's
//! business; here it is taken out of the file as it stands.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{ConfigError, LATENCY_MS_MAX};
use crate::network::Profile;
use crate::settings::{Setting, SettingError, Value, network_shape};

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
        network_shape(&self.tree, path, "", &|_| Ok(None)).map(|_| ())
    }

    /// The profile that it describes, for the deployment `name`.
    pub(super) fn profile(&self, name: &str) -> Result<Profile, ConfigError> {
        let read =
            |file: &str| super::read(&self.directory.join(file)).map(Some).map_err(|error| error.to_string());
        let path = format!("deployments.{name}.network");
        network_shape(&self.tree, &path, name, &read).map(Profile::shaped).map_err(|error| {
            ConfigError::Override { origin: format!("`{}`", error.key), problem: error.problem }
        })
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
        let tree = deserializer.deserialize_any(Tree)?.0;
        Ok(Self { tree, directory: PathBuf::new() })
    }
}

/// Any value; its line is found again by its key when it is needed.
struct Tree;

struct Node(Setting);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self(Setting { line: 0, value })
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true, false, text, a list or a table")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Value::Flag(flag).into())
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Node, E> {
        Ok(Value::Whole(whole.into()).into())
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Node, E> {
        Ok(Value::Whole(whole.into()).into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Value::Number(number).into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Value::Text(text.to_owned()).into())
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Value::Nothing.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some((name, Node(setting))) = entries.next_entry::<String, Node>()? {
            table.push((name, setting));
        }
        Ok(Value::Table(table).into())
    }
}
