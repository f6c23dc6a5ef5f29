//! Environment variables as a tree of settings.
//!
//! A variable's name is its key in capitals, with two underscores between a table and what stands in it. Its
//! value is text, which becomes a number or true where one is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Origin, Setting, Value};

/// What stands between a table and its key in a variable's name.
const SEPARATOR: &str = "__";

/// The tree of those `variables` whose names begin with `prefix`.
pub fn tree(prefix: &str, variables: &BTreeMap<String, String>) -> Setting {
    let mut tree = Setting::of(Value::Table(Vec::new()));
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(prefix) else { continue };
        let path = path.to_lowercase();
        let origin = Origin::Variable(Arc::from(name.as_str()));
        tree.set(path.split(SEPARATOR), Setting { origin, value: Value::Text(value.clone()) });
    }
    tree
}

/// Whether the variable `name` sets `key`, whatever it begins with, rather than something below it.
pub(crate) fn is_for(name: &str, key: &str) -> bool {
    name.ends_with(&variable("", key))
}

/// The name of the variable for `key`.
pub fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.to_uppercase().replace('.', SEPARATOR))
}
