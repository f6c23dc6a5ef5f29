//! `[ws.NAME]`: a listener for MQTT over WebSocket, with one key of our own, `allowed_origins`.

use std::path::Path;

use super::{LISTENER_KEYS, SettingsError, Table, Value, read_listener_table};
use crate::broker::{Listener, WebSocket};

/// Origins that one listener may name.
const ORIGINS_MAX: usize = 1_000;

/// Reads a WebSocket listener.
pub(super) fn read(table: &Table<'_>, name: &str, directory: &Path) -> Result<Listener, SettingsError> {
    let keys: Vec<_> = LISTENER_KEYS.iter().copied().chain(["allowed_origins"]).collect();
    table.allow_only(&keys)?;
    let listener = read_listener_table(table, name, directory)?;
    Ok(Listener { websocket: Some(WebSocket { allowed_origins: origins(table)? }), ..listener })
}

fn origins(table: &Table<'_>) -> Result<Vec<String>, SettingsError> {
    const KEY: &str = "allowed_origins";
    let Some(value) = table.value(KEY) else { return Ok(Vec::new()) };
    let origins = value.get_ref().as_array().filter(|origins| origins.len() <= ORIGINS_MAX);
    let origins = origins.ok_or_else(|| {
        table.wrong_value(KEY, value, &format!("an array of at most {ORIGINS_MAX} origins"))
    })?;
    if origins.is_empty() {
        let expected = "at least one origin; without the key, pages of any origin may connect";
        return Err(table.wrong_value(KEY, value, expected));
    }
    let origin = |entry: &Value<'_>| {
        let origin = entry.get_ref().as_str().filter(|origin| WebSocket::is_origin(origin));
        origin.map(str::to_owned).ok_or_else(|| {
            let expected = "an origin: scheme, host and, unless it is the scheme's own, port, such as \"https://plant.example\"";
            table.wrong_value(KEY, entry, expected)
        })
    };
    origins.iter().map(origin).collect()
}
