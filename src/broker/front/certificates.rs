//! A listener's certificates and key: read, checked against each other, and made
//! into what rustls serves with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::broker::config::Tls;
use crate::file_access;
use crate::tls::{
    Anchors, ClientTrust, Facts, Fault, Unusable, authorities, certificates, own, private_key, provider,
    sentence,
};

/// A file of a listener's TLS that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError {
    /// The setting that names the file, as it is called in `rumqttd.toml`.
    pub key: &'static str,
    /// The file.
    pub file: Box<Path>,
    /// What is wrong with it.
    pub found: Box<str>,
    /// What it should be.
    pub expected: &'static str,
    /// What to do, or the system's reason; it may be empty.
    pub advice: Box<str>,
}

impl CertificateError {
    /// The sentence without the key.
    pub(crate) fn problem(&self) -> String {
        let Self { file, found, expected, advice, .. } = self;
        sentence(&file.display().to_string(), found, expected, advice)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {}", self.key, self.problem())
    }
}

impl std::error::Error for CertificateError {}

/// Certificates that can be served with, and what an operator should know about them.
pub struct Loaded {
    pub config: Arc<ServerConfig>,
    pub warnings: Vec<String>,
}

impl Tls {
    /// Reads the files and makes sure that they can be served with.
    ///
    /// # Errors
    /// [`CertificateError`] naming the file that cannot.
    pub fn check(&self) -> Result<(), CertificateError> {
        load(self).map(|_| ())
    }
}

/// Reads a listener's files.
pub fn load(tls: &Tls) -> Result<Loaded, CertificateError> {
    let provider = provider();
    let chain =
        Named { key: "certpath", file: &tls.certificate_chain, expected: "a PEM file with a certificate" };
    let key =
        Named { key: "keypath", file: &tls.key, expected: "a PEM file with the certificate's private key" };
    let certificates = certificates(chain.file).map_err(|fault| chain.wrong(fault))?;
    let mut warnings = chain.out_of_date(&certificates);
    let private = private_key(key.file, chain.file).map_err(|fault| key.wrong(fault))?;
    warnings.extend(key.open_to_all());
    let own = own(certificates, private, chain.file, &provider).map_err(|error| match error {
        Unusable::Certificate(fault) => chain.wrong(fault),
        Unusable::Key(fault) => key.wrong(fault),
    })?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| chain.wrong(Fault { found: error.to_string(), advice: String::new() }))?;
    let builder = match &tls.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let trusted =
                Named { key: "capath", file, expected: "a PEM file with authorities' certificates" };
            let certificates = authorities(file).map_err(|fault| trusted.wrong(fault))?;
            warnings.extend(trusted.out_of_date(&certificates));
            warnings.extend(trusted.changeable_by_all());
            let trust = Anchors::new(file.display().to_string(), certificates)
                .and_then(|anchors| ClientTrust::new(anchors, provider))
                .map_err(|fault| trusted.wrong(fault))?;
            builder.with_client_cert_verifier(trust)
        }
    };
    // A session is resumed without another look at the client's certificate. That is sound because what
    // remembers sessions belongs to this very configuration: after a reload every client is looked at again.
    let config = builder.with_cert_resolver(Arc::new(own));
    Ok(Loaded { config: Arc::new(config), warnings })
}

/// One of the files.
struct Named<'a> {
    key: &'static str,
    file: &'a Path,
    expected: &'static str,
}

impl Named<'_> {
    fn wrong(&self, Fault { found, advice }: Fault) -> CertificateError {
        let Self { key, file, expected } = *self;
        CertificateError { key, file: file.into(), found: found.into(), expected, advice: advice.into() }
    }

    /// A sentence for a secret that others on this machine can read.
    fn open_to_all(&self) -> Option<String> {
        file_access::open_to_all(self.file)
            .map(|problem| format!("{}: the private key (`{}`): {problem}", self.file.display(), self.key))
    }

    /// A sentence for authorities to which others on this machine can add one.
    fn changeable_by_all(&self) -> Option<String> {
        file_access::changeable_by_all(self.file)
            .map(|problem| format!("{}: the authorities (`{}`): {problem}", self.file.display(), self.key))
    }

    /// A sentence for each certificate that is not valid now. Clients will refuse it,
    /// but a clock may be wrong too.
    fn out_of_date(&self, certificates: &[CertificateDer<'_>]) -> Vec<String> {
        let file = self.file.display();
        let all = certificates.iter().filter_map(|certificate| Facts::of(certificate));
        let problem = |facts: Facts| {
            let problem = facts.out_of_date_now()?;
            Some(format!("{file}: the certificate of {} {problem}", facts.subject))
        };
        all.filter_map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn certificates_out_of_their_time_are_warned_of() {
        for (begin, end, expected) in [
            (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1), Some("expired at Jan  1")),
            (date_time_ymd(4001, 1, 1), date_time_ymd(4002, 1, 1), Some("is not valid before Jan  1")),
            (date_time_ymd(2001, 1, 1), date_time_ymd(4001, 1, 1), None),
        ] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "press");
            (params.not_before, params.not_after) = (begin, end);
            let key = KeyPair::generate().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let tls = Tls {
                certificate_chain: directory.path().join("chain.pem"),
                key: directory.path().join("key.pem"),
                client_authorities: None,
                identity: None,
            };
            std::fs::write(&tls.certificate_chain, params.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(&tls.key, key.serialize_pem()).unwrap();
            std::fs::set_permissions(&tls.key, Permissions::from_mode(0o600)).unwrap();
            let warnings = load(&tls).unwrap().warnings;
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
            if let Some(part) = expected {
                assert!(warnings[0].contains("chain.pem: the certificate of CN=press"), "{warnings:?}");
                assert!(warnings[0].contains(part), "{warnings:?}");
            }
        }
    }
}
