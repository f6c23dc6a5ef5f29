//! The environment over the file: which variables are keys, which are somebody else's, and what is wrong with
//! one.
//!
//! A variable that is no key stops nothing: whoever starts the node need not have set it. Kubernetes puts
//! `NEARFAR_SERVICE_HOST` and the like into every pod beside a Service called `nearfar`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::service_links::ServiceLinks;
use super::{ConfigError, ENVIRONMENT_PREFIX, NodeFile, remote};
use crate::settings::SettingError;
use crate::strict_toml;
use crate::suggestion;

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

/// What begins the names of variables for deployments.
const DEPLOYMENTS: &str = "NEARFAR_DEPLOYMENTS__";

/// The settings of `text`, with the environment on top.
pub(super) fn over(text: &str) -> Result<NodeFile, ConfigError> {
    over_with(text, ours()).map(|(file, _)| file)
}

/// The same with these variables, and those of them that are keys.
fn over_with(text: &str, variables: BTreeMap<String, String>) -> Result<(NodeFile, Variables), ConfigError> {
    let own = with(text, config::Map::new()).map_err(|message| wrong(&message))?;
    let mut variables = Variables::new(variables);
    variables.pass_over_other_deployments(&own);
    loop {
        let file = with(text, variables.keys.clone()).map_err(|message| wrong(&message))?;
        // Of networks and clouds nobody knows before they are read as a whole what they may say.
        match file.unknown_key() {
            Some(error) if variables.pass_over_key(&error) => {}
            _ => return Ok((file, variables)),
        }
    }
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

/// Those that are keys, as far as is known, and what the others are told from.
struct Variables {
    keys: config::Map<String, String>,
    links: ServiceLinks,
}

impl Variables {
    fn new(variables: BTreeMap<String, String>) -> Self {
        let mut keys = Self { keys: config::Map::new(), links: ServiceLinks::among(&variables) };
        for (name, value) in variables {
            match unknown(&name, &value) {
                None => drop(keys.keys.insert(name, value)),
                Some(hint) => keys.pass_over(&name, &value, &hint),
            }
        }
        keys
    }

    /// A deployment can be changed, and is begun only with a model.
    fn pass_over_other_deployments(&mut self, file: &NodeFile) {
        let begun =
            self.keys.keys().filter_map(|name| name.strip_prefix(DEPLOYMENTS)?.strip_suffix("__MODEL"));
        let names = file.deployments.keys().cloned();
        let known: BTreeSet<String> = names.chain(begun.map(str::to_ascii_lowercase)).collect();
        self.take(|name| {
            let (deployment, rest) = name.strip_prefix(DEPLOYMENTS)?.split_once("__")?;
            let deployment = deployment.to_ascii_lowercase();
            let meant = suggestion::meant(&deployment, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("{DEPLOYMENTS}{}__{rest}", meant.to_ascii_uppercase()));
            (!known.contains(&deployment)).then(|| did_you_mean(meant))
        });
    }

    /// Passes over what has set a key that nobody asks for. False if the file has it.
    fn pass_over_key(&mut self, error: &SettingError) -> bool {
        let key = variable(&error.key, "");
        let table = error.key.rsplit_once('.').map_or("", |(table, _)| table);
        let meant = error.suggestion.as_ref().map(|known| variable(table, known));
        self.take(|name| {
            let rest = name.strip_prefix(&key)?;
            let is_it = rest.is_empty() || rest.starts_with("__");
            is_it.then(|| did_you_mean(meant.as_ref().map(|meant| format!("{meant}{rest}"))))
        })
    }

    /// Passes over those for which there is a hint, which may be empty. Whether there were any.
    fn take(&mut self, hint_for: impl Fn(&str) -> Option<String>) -> bool {
        let hints = self.keys.keys().filter_map(|name| Some((name.clone(), hint_for(name)?)));
        let hints: BTreeMap<_, _> = hints.collect();
        for (name, hint) in &hints {
            if let Some(value) = self.keys.remove(name) {
                self.pass_over(name, &value, hint);
            }
        }
        !hints.is_empty()
    }

    /// With a warning, unless it is a service's link.
    fn pass_over(&self, name: &str, value: &str, hint: &str) {
        if self.links.have(name, value) {
            tracing::debug!(
                variable = name,
                "passed over: a link to a service that is called as this program is"
            );
        } else {
            // Without the value, which may be a secret.
            tracing::warn!(variable = name, "{name}: no configuration key, so it is passed over{hint}");
        }
    }
}

/// The suggestion, which may be empty, for a variable that is no key. A key with a wrong value is a key.
fn unknown(name: &str, value: &str) -> Option<String> {
    let alone = config::Map::from_iter([(name.to_owned(), value.to_owned())]);
    let message = with("", alone).err()?;
    // Alone it makes tables on the way to its key, and such a one where something else
    // belongs has no key below it.
    let is_unknown = message.starts_with("unknown field") || message.starts_with("invalid type: map");
    is_unknown.then(|| hint(&message))
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
    did_you_mean(meant.map(|known| variable(place, known)))
}

fn did_you_mean(variable: Option<String>) -> String {
    variable.map(|variable| format!("; did you mean `{variable}`?")).unwrap_or_default()
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
        for below_a_key in ["NEARFAR_NODE_ID__X", "NEARFAR_DEPLOYMENTS__A__REQUEST_TOPICS__0"] {
            assert_eq!(unknown(below_a_key, "x").unwrap(), "", "{below_a_key}");
        }
    }

    /// The file that `text` and these variables make, and the variables that were keys.
    fn over(text: &str, variables: &[(&str, &str)]) -> (NodeFile, Vec<String>) {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (file, variables) = over_with(text, all).unwrap();
        (file, variables.keys.into_keys().collect())
    }

    const FILE: &str = "[deployments.far]\nmodel = \"m\"\n\
        [deployments.far.network.uplink.delay]\nmodel = \"constant\"\nms = 5\n";

    #[test]
    fn unknown_variables_for_networks_and_clouds_change_nothing() {
        let known = "NEARFAR_DEPLOYMENTS__FAR__NETWORK__UPLINK__DELAY__MS";
        let unknown = [
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__SED",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__UPLINK__DELY__MS",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__UPLINK__DELAY__MODLE",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__UPLINK__DELAY__SD_MS",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__DOWNLINK__DELAY__X",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__DOWNLINK__REORDER__SHRE",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__DOWNLINK__BANDWIDTH__BITS",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__DOWNLINK__OUTAGES__X",
            "NEARFAR_DEPLOYMENTS__FAR__NETWORK__DOWNLINK__LOSS__X",
            "NEARFAR_DEPLOYMENTS__FAR__CLOUD__POLCY",
            "NEARFAR_DEPLOYMENTS__FAR__CLOUD__POLICY__NAM",
            "NEARFAR_DEPLOYMENTS__FAR__CLOUD__BREAKER__X",
            "NEARFAR_DEPLOYMENTS__FAA__BATCH_MAX",
        ];
        let variables: Vec<_> = unknown.into_iter().chain([known]).map(|name| (name, "7")).collect();
        let (file, keys) = over(FILE, &variables);
        assert_eq!(keys, [known]);
        let is_a_hybrid = |file: &NodeFile| file.deployments["far"].cloud.is_some();
        assert_eq!(
            file.networks().unwrap(),
            over(&FILE.replace("ms = 5", "ms = 7"), &[]).0.networks().unwrap()
        );
        assert!(!is_a_hybrid(&file));
        for name in unknown {
            let (file, keys) = over(FILE, &[(name, "7")]);
            assert!(keys.is_empty() && !is_a_hybrid(&file), "{name}");
            assert_eq!(file.networks().unwrap(), over(FILE, &[]).0.networks().unwrap(), "{name}");
        }
    }

    #[test]
    fn a_wrong_value_within_a_network_is_no_unknown_variable() {
        for name in ["NETWORK__SEED", "NETWORK__UPLINK__DELAY__MODEL", "CLOUD__POLICY__NAME"] {
            let name = format!("NEARFAR_DEPLOYMENTS__FAR__{name}");
            let (file, keys) = over(FILE, &[(&name, "x")]);
            assert_eq!(keys, [name]);
            assert!(file.check("").is_err());
        }
    }
}
