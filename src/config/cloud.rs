//! `[deployments.NAME.cloud]`: what makes a deployment a hybrid, and what the cloud
//! has in place of the edge's.

use std::path::PathBuf;

use super::files::Files;
use super::networks::network;
use super::workers::{worker, workers};
use crate::deployment::Hybrid;
use crate::network::Profile;
use crate::placement;
use crate::settings::{SettingError, Table};

/// The cloud of the deployment `name`, and its model's path if it has a model of its own. Bounds that it does
/// not name are those of the `edge`.
pub fn cloud(
    mut table: Table<'_>,
    name: &str,
    edge: crate::worker::WorkerConfig,
    files: Files<'_>,
) -> Result<(Hybrid, Option<PathBuf>), SettingError> {
    let model = files.model(&mut table, "model")?;
    let network = network(&mut table, &format!("{name}-cloud"), files)?.unwrap_or(Profile::CLOUD);
    let worker = worker(&mut table, edge)?;
    let mut count = 1;
    workers(&mut table, &mut count)?;
    let placement = placement::settings::config(&mut table)?;
    Ok((Hybrid { network, worker, workers: count, placement }, model))
}
