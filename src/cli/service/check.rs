//! `--check`: whether a node or broker could start, without a start.

use super::reload::ConfigFile;
use crate::cli::{Unusable, output};
use crate::config::ServeConfig;
use crate::node::NodeBuilder;

/// Says that what `serve` or `broker` was configured by can be used, once the models have been loaded too.
///
/// # Errors
/// When it cannot. Whatever the cause, only a person can change it: nobody starts a check again.
pub fn report(config: ServeConfig, file: Option<&ConfigFile>) -> anyhow::Result<()> {
    let files = file.map(|file| file.path().display().to_string()).into_iter().chain(config.files);
    let models = config.node.deployments.iter().map(|one| one.config.name.clone());
    let (files, models): (Vec<_>, Vec<_>) = (files.collect(), models.collect());
    NodeBuilder::from(config.node).check().map_err(|error| Unusable(error.to_string()))?;
    let named = |what: &str, names: &[String]| match names {
        [] => String::new(),
        names => format!("; {what}: {}", names.join(", ")),
    };
    output::line(&format!(
        "a start would succeed{}{}",
        named("files", &files),
        named("deployments with their models", &models)
    ))
}
