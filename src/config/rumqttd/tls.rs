//! `[v4.NAME.tls]`: rumqttd's keys for rustls, and one of our own, `identity`.

use std::path::{Path, PathBuf};

use super::FOREIGN_KEYS;
use crate::broker::{IdentitySource, Tls};
use crate::settings::{SettingError, Table};

/// Reads a listener's `tls` table, and the files it names: an error about one of them then knows its line.
pub fn tls(mut table: Table<'_>, directory: &Path) -> Result<Tls, SettingError> {
    let [certificate_chain, key, client_authorities] = [
        path(&mut table, "certpath", directory)?,
        path(&mut table, "keypath", directory)?,
        path(&mut table, "capath", directory)?,
    ];
    let identity = table.find("identity");
    table.refuse_foreign(FOREIGN_KEYS)?;
    let required = |key, path: Option<PathBuf>, whose| {
        path.ok_or_else(|| table.missing(key, &format!("the path of a PEM file with {whose}")))
    };
    let tls = Tls {
        certificate_chain: required("certpath", certificate_chain, "the server's certificate")?,
        key: required("keypath", key, "the certificate's private key")?,
        client_authorities,
        identity: identity.as_ref().map(|entry| entry.choice(IdentitySource::NAMES)).transpose()?,
    };
    if let Some(entry) = identity.filter(|_| tls.client_authorities.is_none()) {
        return Err(entry.wrong("`capath` beside it: names come from certificates"));
    }
    tls.check().map_err(|error| table.invalid(error.key, error.problem()))?;
    Ok(tls)
}

fn path(table: &mut Table<'_>, key: &'static str, directory: &Path) -> Result<Option<PathBuf>, SettingError> {
    let join = |path: &str| (!path.is_empty()).then(|| directory.join(path));
    table.find_parsed(key, "the path of a PEM file", join)
}
