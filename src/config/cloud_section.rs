//! `[deployments.NAME.cloud]`: what makes a deployment a hybrid, and what the cloud has in
//! place of the edge's. How a request's site is chosen is read by the `settings` module.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer};

use super::network_section::both_given;
use super::tree::Tree;
use super::{ConfigError, network};
use crate::deployment::Hybrid;
use crate::network::Profile;
use crate::network::settings::shape;
use crate::placement::settings::config as placement_config;
use crate::settings::{Setting, SettingError, Table};
use crate::worker::{self, WORKERS_MAX};

/// The section, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudSection {
    tree: Setting,
    /// Where its files stand.
    directory: PathBuf,
}

/// Gives a file's text; or nothing, while settings are only checked.
type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// What it may say.
const KEYS: &[&str] = &[
    "model",
    "one_way_latency_ms",
    "network",
    "batch_max",
    "queue_requests_max",
    "queue_bytes_max",
    "inference_timeout_ms",
    "workers",
    "policy",
    "cloud_timeout_ms",
    "recent_window_s",
    "recent_answers_max",
    "breaker",
];

/// The most of anything that is counted here.
const COUNT_MAX: u64 = 1 << 40;

impl CloudSection {
    /// Makes paths relative to `directory`.
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
    }

    /// What parses but makes no sense. Files of recorded delays are read later.
    pub(super) fn check(&self, name: &str) -> Result<(), SettingError> {
        self.read(name, worker::Config::default(), &|_| Ok(None)).map(|_| ())
    }

    /// The network between sensors and the cloud of the deployment `name`.
    pub(super) fn network_profile(&self, name: &str) -> Result<Profile, ConfigError> {
        let edge = worker::Config::default();
        self.clone().into_config(name, edge).map(|(hybrid, _model)| hybrid.network)
    }

    /// Everything else that it says, wherever in the file it says it.
    pub(super) fn but_network(self, name: &str) -> Option<(Hybrid, Option<PathBuf>)> {
        let (hybrid, model) = self.into_config(name, worker::Config::default()).ok()?;
        Some((Hybrid { network: Profile::NONE, ..hybrid }, model))
    }

    /// The cloud of the deployment `name`, and its model's path if it has a model of its
    /// own. Bounds that it does not name are those of the `edge`.
    pub(super) fn into_config(
        self,
        name: &str,
        edge: worker::Config,
    ) -> Result<(Hybrid, Option<PathBuf>), ConfigError> {
        let read =
            |file: &str| super::read(&self.directory.join(file)).map(Some).map_err(|error| error.to_string());
        self.read(name, edge, &read).map_err(|error| ConfigError::Override {
            origin: format!("`{}`", error.key),
            problem: error.problem.to_string(),
        })
    }

    fn read(
        &self,
        name: &str,
        edge: worker::Config,
        read: Read<'_>,
    ) -> Result<(Hybrid, Option<PathBuf>), SettingError> {
        let path = format!("deployments.{name}.cloud");
        let mut fields = Table::of(&self.tree, path.as_str())?;
        fields.refuse_all_but(KEYS)?;
        let model = fields.find_text("model")?.map(|model| self.directory.join(model));
        let network = self.network(&mut fields, name, read)?;
        let worker = worker::Config {
            batch_max: count(&mut fields, "batch_max")?.unwrap_or(edge.batch_max),
            queue_requests_max: count(&mut fields, "queue_requests_max")?.unwrap_or(edge.queue_requests_max),
            queue_bytes_max: count(&mut fields, "queue_bytes_max")?.unwrap_or(edge.queue_bytes_max),
            inference_timeout: match fields.find_number("inference_timeout_ms", ..)? {
                None => edge.inference_timeout,
                Some(0) => None,
                Some(timeout) => Some(Duration::from_millis(timeout)),
            },
            ..edge
        };
        let workers = count(&mut fields, "workers")?.unwrap_or(1);
        if workers > WORKERS_MAX {
            let problem = format!("found {workers}, expected between 1 and {WORKERS_MAX}");
            return Err(fields.invalid("workers", problem));
        }
        let placement = placement_config(&mut fields)?;
        fields.finish()?;
        Ok((Hybrid { network, worker, workers, placement }, model))
    }

    fn network(&self, fields: &mut Table<'_>, name: &str, read: Read<'_>) -> Result<Profile, SettingError> {
        let latency_ms = fields.find_number::<f64>("one_way_latency_ms", ..)?;
        match (fields.find("network"), latency_ms) {
            (Some(_), Some(_)) => Err(fields.invalid("network", both_given())),
            (Some(entry), None) => shape(entry.table()?, &format!("{name}-cloud"), read).map(Profile::shaped),
            (None, Some(latency_ms)) => {
                network(latency_ms).map_err(|problem| fields.invalid("one_way_latency_ms", problem))
            }
            (None, None) => Ok(Profile::CLOUD),
        }
    }
}

fn count(fields: &mut Table<'_>, key: &'static str) -> Result<Option<usize>, SettingError> {
    let Some(found) = fields.find_number::<u64>(key, ..)? else { return Ok(None) };
    if (1..=COUNT_MAX).contains(&found) {
        return Ok(Some(found as usize));
    }
    Err(fields.invalid(key, format!("found {found}, expected between 1 and {COUNT_MAX}")))
}

impl<'de> Deserialize<'de> for CloudSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { tree: Tree::deserialize(deserializer)?.0, directory: PathBuf::new() })
    }
}
