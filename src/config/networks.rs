//! The simulated network of a deployment: `one_way_latency_ms` or `network`, of itself and of its cloud.

use super::files::Files;
use crate::network::Profile;
use crate::network::settings::{LATENCY_MS_MAX, latency, shape};
use crate::settings::{SettingError, Table};

/// Reads the network, if the table says one; its link is called `link`.
pub fn network(table: &mut Table<'_>, link: &str, files: Files<'_>) -> Result<Option<Profile>, SettingError> {
    match (table.find("network"), latency(table)?) {
        (Some(entry), Some(_)) => Err(entry.invalid(format!(
            "there is a one_way_latency_ms too; use one or the other \
             (delay = {{ model = \"constant\", ms = 50 }}, at most {LATENCY_MS_MAX} ms)"
        ))),
        (Some(entry), None) => {
            shape(entry.table()?, link, &|file| files.text(file)).map(|shape| Some(Profile::shaped(shape)))
        }
        (None, latency) => Ok(latency),
    }
}
