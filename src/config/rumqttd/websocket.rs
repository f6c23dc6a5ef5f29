//! `[ws.NAME]`: a listener for MQTT over WebSocket, with one key of our own, `allowed_origins`.

use std::path::Path;

use super::FOREIGN_KEYS;
use crate::broker::{Listener, WebSocket};
use crate::settings::{SettingError, Table};

/// Origins that one listener may name.
const ORIGINS_MAX: usize = 1_000;

/// Reads a WebSocket listener.
pub fn listener(mut table: Table<'_>, name: &str, directory: &Path) -> Result<Listener, SettingError> {
    let listener = super::listener(&mut table, name, directory)?;
    let allowed_origins = origins(&mut table)?;
    table.refuse_foreign(FOREIGN_KEYS)?;
    Ok(Listener { websocket: Some(WebSocket { allowed_origins }), ..listener })
}

fn origins(table: &mut Table<'_>) -> Result<Vec<String>, SettingError> {
    let Some(entry) = table.find("allowed_origins") else { return Ok(Vec::new()) };
    let origins = entry.items()?;
    if origins.len() == 0 {
        return Err(entry.wrong("at least one origin; without the key, pages of any origin may connect"));
    }
    if origins.len() > ORIGINS_MAX {
        return Err(entry.wrong(format!("a list of at most {ORIGINS_MAX} origins")));
    }
    let expected =
        "an origin: scheme, host and, unless it is the scheme's own, port, such as \"https://plant.example\"";
    let origin = |origin: &str| WebSocket::is_origin(origin).then(|| origin.to_owned());
    origins.map(|entry| entry.parsed(expected, origin)).collect()
}
