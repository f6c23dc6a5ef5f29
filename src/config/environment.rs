//! The environment over the file: which variables are keys, which are somebody else's, and what is wrong with
//! one.
//!
//! A variable that is no key stops nothing: whoever starts the node need not have set it. Kubernetes puts
//! `NEARFAR_SERVICE_HOST` and the like into every pod beside a Service called `nearfar`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::service_links::ServiceLinks;
use super::{ConfigError, ENVIRONMENT_PREFIX, NodeFile, remote};
use crate::strict_toml;

/// Variables with our prefix that are no configuration keys: the password, and what our tests read.
const OTHER_VARIABLES: [&str; 8] = [
    remote::PASSWORD_VARIABLE,
    "NEARFAR_BEARINGS",
    "NEARFAR_CHAOS_ROUNDS",
    "NEARFAR_CHAOS_SEED",
    "NEARFAR_FUZZ_ITERATIONS",
    "NEARFAR_FUZZ_SEED",
    "NEARFAR_PAGES",
    "NEARFAR_SOAK",
];

/// The settings of `text`, with the environment on top.
pub(super) fn over(text: &str) -> Result<NodeFile, ConfigError> {
    with(text, keys(ours())).map_err(|message| wrong(&message))
}

/// The variables that begin as ours do.
fn ours() -> BTreeMap<String, String> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_");
    // Lossily: a variable of somebody else that is not UTF-8 must not stop us.
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(&prefix) && !OTHER_VARIABLES.contains(&name.as_str()))
        .collect()
}

/// Those of `variables` that are keys. The others are passed over, with a warning unless they are a service's
/// links.
fn keys(variables: BTreeMap<String, String>) -> config::Map<String, String> {
    let links = ServiceLinks::among(&variables);
    let mut keys = config::Map::new();
    for (name, value) in variables {
        match unknown(&name, &value) {
            None => drop(keys.insert(name, value)),
            Some(_) if links.have(&name, &value) => {
                tracing::debug!(
                    variable = name,
                    "passed over: a link to a service that is called as this program is"
                );
            }
            // Without the value, which may be a secret.
            Some(hint) => {
                tracing::warn!(variable = name, "{name}: no configuration key, so it is passed over{hint}");
            }
        }
    }
    keys
}

/// The suggestion, which may be empty, for a variable that is no key. A key with a wrong value is a key.
fn unknown(name: &str, value: &str) -> Option<String> {
    let alone = config::Map::from_iter([(name.to_owned(), value.to_owned())]);
    let message = with("", alone).err()?;
    message.starts_with("unknown field").then(|| hint(&message))
}

fn with(text: &str, variables: config::Map<String, String>) -> Result<NodeFile, String> {
    let environment = config::Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true)
        .source(Some(variables));
    config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .add_source(environment)
        .build()
        .and_then(NodeFile::deserialize)
        .map_err(|error| error.to_string())
}

/// `message` is the `config` crate's: serde's problem, then: for key `broker.listen` in the environment.
fn wrong(message: &str) -> ConfigError {
    let (problem, place) = message.split_once(" for key `").unwrap_or((message, ""));
    let origin = match place.is_empty() {
        true => format!("environment ({ENVIRONMENT_PREFIX}_*)"),
        false => format!("environment, {}", variable(place, "")),
    };
    ConfigError::Override { origin, problem: problem.to_owned() }
}

/// The variable that was probably meant by one that is no key, as a part of a sentence.
fn hint(message: &str) -> String {
    let (problem, place) = message.split_once(" for key `").unwrap_or((message, ""));
    let meant = strict_toml::unknown_key(problem).and_then(|(_, meant)| meant);
    meant.map(|known| format!("; did you mean `{}`?", variable(place, known))).unwrap_or_default()
}

/// The variable for `key` in the table that `place` begins with, which ends at a backtick.
fn variable(place: &str, key: &str) -> String {
    let table = place.split('`').next().unwrap_or_default();
    let levels = table.split('.').chain([key]).filter(|level| !level.is_empty());
    let levels: Vec<_> = levels.map(str::to_ascii_uppercase).collect();
    format!("{ENVIRONMENT_PREFIX}_{}", levels.join("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_of_a_key_is_no_unknown_variable() {
        for (name, value) in [
            ("NEARFAR_NODE_ID", "gateway"),
            ("NEARFAR_SHUTDOWN_GRACE_MS", "long"),
            ("NEARFAR_BROKER__LISTEN", "tcp://10.0.0.1:1883"),
            ("NEARFAR_BROKER", "x"),
            ("NEARFAR_REMOTE__PROTOCOL", "6"),
            ("NEARFAR_REMOTE__PORT", "1883"),
            ("NEARFAR_DEPLOYMENTS__CLOUD__BATCH_MAX", "many"),
        ] {
            assert_eq!(unknown(name, value), None, "{name}");
        }
    }

    #[test]
    fn an_unknown_variable_has_a_suggestion_where_one_is_near() {
        let near = |name, meant: &str| {
            assert_eq!(unknown(name, "x").unwrap(), format!("; did you mean `{meant}`?"));
        };
        near("NEARFAR_NODE_IDD", "NEARFAR_NODE_ID");
        near("NEARFAR_BROKER__LISTN", "NEARFAR_BROKER__LISTEN");
        near("NEARFAR_DEPLOYMENTS__CLOUD__BACH_MAX", "NEARFAR_DEPLOYMENTS__CLOUD__BATCH_MAX");
        assert_eq!(unknown("NEARFAR_ZZZ", "x").unwrap(), "");
    }
}
