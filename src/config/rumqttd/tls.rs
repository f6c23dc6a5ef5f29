//! `[v4.NAME.tls]`: rumqttd's keys for rustls, and one of our own, `identity`.

use std::path::{Path, PathBuf};

use super::{SettingsError, Table, Value, line};
use crate::broker::{CertificateError, IdentitySource, Tls};

const TLS_KEYS: &[&str] = &["certpath", "keypath", "capath", "identity"];

/// Reads a listener's `tls` table, and the files it names: an error about one of them then knows its line.
pub(super) fn read(table: &Table<'_>, directory: &Path) -> Result<Tls, SettingsError> {
    table.allow_only(TLS_KEYS)?;
    let required = |key, expected| path(table, key, directory)?.ok_or_else(|| table.missing(key, expected));
    let tls = Tls {
        certificate_chain: required("certpath", "the path of a PEM file with the server's certificate")?,
        key: required("keypath", "the path of a PEM file with the certificate's private key")?,
        client_authorities: path(table, "capath", directory)?,
        identity: identity(table)?,
    };
    match table.value("identity") {
        Some(value) if tls.client_authorities.is_none() => {
            return Err(table.wrong_value(
                "identity",
                value,
                "`capath` beside it: names come from certificates",
            ));
        }
        _ => {}
    }
    tls.check().map_err(|error| located(table, error))?;
    Ok(tls)
}

fn path(table: &Table<'_>, key: &str, directory: &Path) -> Result<Option<PathBuf>, SettingsError> {
    match table.string(key)? {
        Some(("", value)) => Err(table.wrong_value(key, value, "the path of a PEM file")),
        Some((path, _)) => Ok(Some(directory.join(path))),
        None => Ok(None),
    }
}

fn identity(table: &Table<'_>) -> Result<Option<IdentitySource>, SettingsError> {
    match table.string("identity")? {
        None => Ok(None),
        Some(("common_name", _)) => Ok(Some(IdentitySource::CommonName)),
        Some(("subject_alt_name", _)) => Ok(Some(IdentitySource::SubjectAltName)),
        Some((_, value)) => {
            Err(table.wrong_value("identity", value, "\"common_name\" or \"subject_alt_name\""))
        }
    }
}

fn located(table: &Table<'_>, error: CertificateError) -> SettingsError {
    let span = table.value(error.key).map_or_else(|| table.span.clone(), Value::span);
    SettingsError {
        line: line(table.text, span),
        key: table.key_path(error.key),
        found: format!("{} in {}", error.found, error.file.display()),
        expected: error.expected.to_owned(),
        suggestion: None,
    }
}
