//! The environment over the file: which variables are keys, which are somebody else's, and what is wrong with
//! one.
//!
//! A variable that is no key stops nothing: whoever starts the node need not have set it. Kubernetes puts
//! `NEARFAR_SERVICE_HOST` and the like into every pod beside a Service called `nearfar`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::service_links::ServiceLinks;
use super::{ConfigError, ENVIRONMENT_PREFIX, NodeFile, merge, remote};
use crate::settings::environment::{tree, variable};
use crate::settings::{Origin, Setting, SettingError, Value};
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

/// What our variables begin with.
const PREFIX: &str = "NEARFAR_";
/// What begins the names of variables for deployments.
const DEPLOYMENTS: &str = "NEARFAR_DEPLOYMENTS__";
/// How many `_` of a name are tried for `__`.
const SPLITS_MAX: usize = 8;

/// The settings of a file, whose paths are relative to `directory`, with the environment on top.
pub fn over(file: &Setting, directory: &Path) -> Result<NodeFile, ConfigError> {
    let mut variables = Variables::new(ours());
    let read = variables.over(file, directory);
    for Passed { name, is_link, hint } in variables.passed {
        if is_link {
            tracing::debug!(
                variable = name,
                "passed over: a link to a service that is called as this program is"
            );
        } else {
            // Without the value, which may be a secret.
            tracing::warn!(variable = name, "{name}: no configuration key, so it is passed over{hint}");
        }
    }
    read
}

/// The variables that begin as ours do.
fn ours() -> BTreeMap<String, String> {
    // Lossily: a variable of somebody else that is not UTF-8 must not stop us.
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str()))
        .collect()
}

/// Those that are keys, as far as is known, and what the others are told from.
struct Variables {
    keys: BTreeMap<String, String>,
    links: ServiceLinks,
    passed: Vec<Passed>,
}

/// A variable that is no key.
struct Passed {
    name: String,
    /// Whether somebody else's program has set it for a service.
    is_link: bool,
    /// What was probably meant, as a part of a sentence; it may be empty.
    hint: String,
}

impl Variables {
    fn new(keys: BTreeMap<String, String>) -> Self {
        Self { links: ServiceLinks::among(&keys), keys, passed: Vec::new() }
    }

    /// The file with the variables over it that are keys. Of many a key nobody knows before
    /// all is read whether it may be there, so it is read again without what was no key.
    fn over(&mut self, file: &Setting, directory: &Path) -> Result<NodeFile, ConfigError> {
        let known = Known { file, directory };
        self.pass_over_other_deployments(file);
        loop {
            let merged = merge::merge(&[file, &tree(PREFIX, &self.keys)])?;
            match NodeFile::new(merged, directory) {
                Err(error) if self.pass_over_key(&error, &known) => {}
                Err(error) if matches!(error.origin, Origin::Variable(_)) => return Err(error.into()),
                // The file alone has nothing wrong with it.
                Err(error) => {
                    let origin = format!("environment ({ENVIRONMENT_PREFIX}_*)");
                    return Err(ConfigError::Override { origin, problem: error.to_string() });
                }
                Ok(read) => return Ok(read),
            }
        }
    }

    /// A deployment can be changed, and is begun only with a model.
    fn pass_over_other_deployments(&mut self, file: &Setting) {
        let begun =
            self.keys.keys().filter_map(|name| name.strip_prefix(DEPLOYMENTS)?.strip_suffix("__MODEL"));
        let names = match file.get("deployments").map(|deployments| &deployments.value) {
            Some(Value::Table(entries)) => entries.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        };
        let known: BTreeSet<String> = names.into_iter().chain(begun.map(str::to_lowercase)).collect();
        self.take(|name| {
            let (deployment, rest) = name.strip_prefix(DEPLOYMENTS)?.split_once("__")?;
            let deployment = deployment.to_lowercase();
            let meant = suggestion::meant(&deployment, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("{DEPLOYMENTS}{}__{rest}", meant.to_uppercase()));
            (!known.contains(&deployment)).then(|| did_you_mean(meant))
        });
    }

    /// Passes over what has set a key that nobody asks for, or one below a key that is no table. False if
    /// something else is wrong.
    fn pass_over_key(&mut self, error: &SettingError, known: &Known<'_>) -> bool {
        let key = variable(PREFIX, &error.key);
        let table = error.key.rsplit_once('.').map_or(String::new(), |(table, _)| format!("{table}."));
        let meant = error.suggestion.as_ref().map(|known| variable(PREFIX, &format!("{table}{known}")));
        let (is_unknown, is_table) = (error.is_unknown_key(), error.has_found_table());
        self.take(|name| {
            let rest = name.strip_prefix(&key)?;
            let is_it = is_unknown && rest.is_empty() || (is_unknown || is_table) && rest.starts_with("__");
            is_it.then(|| {
                let meant = meant.as_ref().map(|meant| format!("{meant}{rest}"));
                did_you_mean(known.meant(name, meant))
            })
        })
    }

    /// Passes over those for which there is a hint, which may be empty. Whether there were any.
    fn take(&mut self, hint_for: impl Fn(&str) -> Option<String>) -> bool {
        let hints: Vec<_> =
            self.keys.keys().filter_map(|name| Some((name.clone(), hint_for(name)?))).collect();
        for (name, hint) in &hints {
            if let Some(value) = self.keys.remove(name) {
                let is_link = self.links.have(name, &value);
                self.passed.push(Passed { name: name.clone(), is_link, hint: hint.clone() });
            }
        }
        !hints.is_empty()
    }
}

/// What is known of keys: what may stand over a file.
struct Known<'a> {
    file: &'a Setting,
    directory: &'a Path,
}

impl Known<'_> {
    /// The variable that `name`, which is none, was probably meant to be: the same with `__` for some `_`,
    /// which is the commonest slip; the password's; or `similar`.
    fn meant(&self, name: &str, similar: Option<String>) -> Option<String> {
        let split = self.split(name).find(|split| self.have(split));
        let password = || suggestion::meant(name, [remote::PASSWORD_VARIABLE]).map(str::to_owned);
        split.or_else(password).or_else(|| similar.filter(|similar| self.have(similar)))
    }

    /// The names with `__` for one or two `_` of `name`, where the first part is a table.
    fn split<'n>(&self, name: &'n str) -> impl Iterator<Item = String> + use<'n> {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let places: Vec<_> = rest
            .match_indices('_')
            .map(|(at, _)| at)
            .filter(|at| !rest[..*at].ends_with('_') && !rest[at + 1..].starts_with('_'))
            .take(SPLITS_MAX)
            .collect();
        let one = places.clone().into_iter().map(|at| vec![at]);
        let two = (0..places.len()).flat_map(move |first| {
            let places = places.clone();
            (first + 1..places.len()).map(move |second| vec![places[first], places[second]])
        });
        one.chain(two).map(move |places| {
            let mut split = rest.to_owned();
            places.into_iter().rev().for_each(|at| split.insert(at, '_'));
            format!("{PREFIX}{split}")
        })
    }

    /// Whether a variable of this name sets a key, and not a table.
    fn have(&self, name: &str) -> bool {
        let variables = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        if let Some((deployment, _)) = name.strip_prefix(DEPLOYMENTS).and_then(|rest| rest.split_once("__")) {
            // By anything but a model none is begun.
            let deployments = self.file.nearest(&["deployments"]);
            if deployments.get(&deployment.to_lowercase()).is_none() {
                return false;
            }
        }
        let Ok(merged) = merge::merge(&[self.file, &tree(PREFIX, &variables)]) else { return false };
        match NodeFile::new(merged, self.directory) {
            Ok(_) => true,
            Err(error) => !error.is_unknown_key() && !error.has_found_table() && !error.wants_table(),
        }
    }
}

fn did_you_mean(variable: Option<String>) -> String {
    variable.map(|variable| format!("; did you mean `{variable}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::toml;

    const FILE: &str = "[deployments.far]\nmodel = \"m\"\n\
        [deployments.far.network.uplink.delay]\nmodel = \"constant\"\nms = 5\n";

    /// The file that `text` and these variables make, and the variables that were keys.
    fn over(text: &str, variables: &[(&str, &str)]) -> (Result<NodeFile, ConfigError>, Variables) {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut variables = Variables::new(all);
        let read = variables.over(&toml::parse(None, text).unwrap(), Path::new(""));
        (read, variables)
    }

    #[test]
    fn a_wrong_value_of_a_key_is_no_unknown_variable() {
        for (name, value) in [
            ("NEARFAR_SHUTDOWN_GRACE_MS", "long"),
            ("NEARFAR_BROKER__LISTEN", "tcp://10.0.0.1:1883"),
            ("NEARFAR_BROKER", "x"),
            ("NEARFAR_REMOTE__PROTOCOL", "6"),
            ("NEARFAR_REMOTE__PORT", "1883"),
            ("NEARFAR_DEPLOYMENTS__FAR__BATCH_MAX", "many"),
            ("NEARFAR_DEPLOYMENTS__FAR__NETWORK__SEED", "x"),
            ("NEARFAR_DEPLOYMENTS__FAR__NETWORK__UPLINK__DELAY__MODEL", "x"),
            ("NEARFAR_DEPLOYMENTS__FAR__CLOUD__POLICY__NAME", "x"),
        ] {
            let (read, variables) = over(FILE, &[(name, value)]);
            let error = read.unwrap_err().to_string();
            assert!(error.starts_with(&format!("environment, {name}")), "{error}");
            assert_eq!(variables.keys.len(), 1, "{name}");
        }
        assert_eq!(over(FILE, &[("NEARFAR_NODE_ID", "gateway")]).1.keys.len(), 1);
    }

    #[test]
    fn an_unknown_variable_has_a_suggestion_where_one_is_near() {
        let near = |name, meant: &str| {
            let (read, variables) = over(FILE, &[(name, "x")]);
            assert!(read.is_ok() && variables.keys.is_empty(), "{name}");
            let hint = if meant.is_empty() { String::new() } else { format!("; did you mean `{meant}`?") };
            assert_eq!(variables.passed[0].hint, hint);
        };
        near("NEARFAR_NODE_IDD", "NEARFAR_NODE_ID");
        near("NEARFAR_BROKER__LISTN", "NEARFAR_BROKER__LISTEN");
        near("NEARFAR_DEPLOYMENTS__FAR__BACH_MAX", "NEARFAR_DEPLOYMENTS__FAR__BATCH_MAX");
        near("NEARFAR_DEPLOYMENTS__FAA__BATCH_MAX", "NEARFAR_DEPLOYMENTS__FAR__BATCH_MAX");
        for (name, meant) in [
            ("NEARFAR_BROKER_LISTEN", "NEARFAR_BROKER__LISTEN"),
            ("NEARFAR_BROKER_ACCESS_RULES", "NEARFAR_BROKER__ACCESS_RULES"),
            ("NEARFAR_HTTP_LISTEN", "NEARFAR_HTTP__LISTEN"),
            ("NEARFAR_REMOTE_HOST", "NEARFAR_REMOTE__HOST"),
            ("NEARFAR_REMOTE_TLS_CA_FILE", "NEARFAR_REMOTE__TLS__CA_FILE"),
            ("NEARFAR_REMOTE_PASSWORD_FILE", "NEARFAR_REMOTE__PASSWORD_FILE"),
            ("NEARFAR_REMOTE__PASSWORD", "NEARFAR_REMOTE_PASSWORD"),
            ("NEARFAR_REMOTE_PASSWRD", "NEARFAR_REMOTE_PASSWORD"),
            ("NEARFAR_DEPLOYMENTS_FAR_WORKERS", "NEARFAR_DEPLOYMENTS__FAR__WORKERS"),
            // No key, but a table, or below a deployment that there is not.
            ("NEARFAR_BROKR", ""),
            ("NEARFAR_BROKER_PORT", ""),
            ("NEARFAR_DEPLOYMENTS_EDGE_WORKERS", ""),
        ] {
            near(name, meant);
        }
        for below_a_key in
            ["NEARFAR_ZZZ", "NEARFAR_NODE_ID__X", "NEARFAR_DEPLOYMENTS__FAR__REQUEST_TOPICS__0"]
        {
            near(below_a_key, "");
        }
    }

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
        let read = |text: &str, variables: &[(&str, &str)]| {
            let (read, variables) = over(text, variables);
            (read.unwrap(), variables.keys.into_keys().collect::<Vec<_>>())
        };
        let (file, keys) = read(FILE, &variables);
        assert_eq!(keys, [known]);
        let is_a_hybrid = |file: &NodeFile| file.tree.nearest(&["deployments", "far"]).get("cloud").is_some();
        assert_eq!(
            file.networks().unwrap(),
            read(&FILE.replace("ms = 5", "ms = 7"), &[]).0.networks().unwrap()
        );
        assert!(!is_a_hybrid(&file));
        for name in unknown {
            let (file, keys) = read(FILE, &[(name, "7")]);
            assert!(keys.is_empty() && !is_a_hybrid(&file), "{name}");
            assert_eq!(file.networks().unwrap(), read(FILE, &[]).0.networks().unwrap(), "{name}");
        }
    }
}
