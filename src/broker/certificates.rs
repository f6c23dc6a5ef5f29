//! A listener's PEM files: read, checked against each other, and made into what rustls serves with.

use super::config::Tls;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::parse_x509_certificate;

/// A larger PEM file is refused.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// A file of a listener's TLS that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError {
    /// The setting that names the file, as it is called in `rumqttd.toml`.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub found: String,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, file, found, expected } = self;
        write!(f, "`{key}`, {}: found {found}, expected {expected}", file.display())
    }
}

impl std::error::Error for CertificateError {}

/// Certificates that can be served with, and what an operator should know about them.
pub(super) struct Loaded {
    pub config: Arc<ServerConfig>,
    pub warnings: Vec<String>,
}

/// Reads a listener's files.
pub(super) fn load(tls: &Tls) -> Result<Loaded, CertificateError> {
    let provider = Arc::new(ring::default_provider());
    let chain =
        Pem { key: "certpath", file: &tls.certificate_chain, expected: "a PEM file with a certificate" };
    let certificates = chain.certificates()?;
    let mut warnings = chain.out_of_date(&certificates)?;
    let certified = certified(&chain, certificates, &tls.key, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| chain.wrong(error.to_string()))?;
    let builder = match &tls.client_authorities {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let authorities =
                Pem { key: "capath", file, expected: "a PEM file with authorities' certificates" };
            let certificates = authorities.certificates()?;
            warnings.extend(authorities.out_of_date(&certificates)?);
            builder.with_client_cert_verifier(verifier(&authorities, certificates, provider)?)
        }
    };
    // A session is resumed without another look at the client's certificate. That is sound because what remembers sessions
    // belongs to this very configuration: after a reload every client is looked at again.
    let config = builder.with_cert_resolver(Arc::new(certified));
    Ok(Loaded { config: Arc::new(config), warnings })
}

fn certified(
    chain: &Pem<'_>,
    certificates: Vec<CertificateDer<'static>>,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<tokio_rustls::rustls::sign::SingleCertAndKey, CertificateError> {
    let key =
        Pem { key: "keypath", file: key_file, expected: "a PEM file with the certificate's private key" };
    let private = key.private_key()?;
    let certified = CertifiedKey::from_der(certificates, private, provider).map_err(|error| match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.wrong(format!(
            "a key that does not belong to the first certificate in {}",
            chain.file.display()
        )),
        TlsError::InvalidCertificate(error) => chain.wrong(format!("an unusable certificate: {error:?}")),
        error => key.wrong(format!("an unusable key: {error}")),
    })?;
    Ok(certified.into())
}

fn verifier(
    authorities: &Pem<'_>,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| authorities.wrong(format!("an unusable certificate: {error}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error: VerifierBuilderError| authorities.wrong(error.to_string()))
}

/// One of the files.
struct Pem<'a> {
    key: &'static str,
    file: &'a Path,
    expected: &'static str,
}

impl Pem<'_> {
    fn wrong(&self, found: String) -> CertificateError {
        CertificateError { key: self.key, file: self.file.to_owned(), found, expected: self.expected }
    }

    fn read(&self) -> Result<Vec<u8>, CertificateError> {
        let unreadable = |error: std::io::Error| self.wrong(format!("nothing that can be read ({error})"));
        let mut bytes = Vec::new();
        let file = File::open(self.file).map_err(unreadable)?;
        file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match bytes.len() as u64 {
            0 => Err(self.wrong("an empty file".to_owned())),
            1..=PEM_BYTES_MAX => Ok(bytes),
            _ => Err(self.wrong(format!("more than {PEM_BYTES_MAX} bytes"))),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let certificates = CertificateDer::pem_slice_iter(&self.read()?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.wrong(format!("broken PEM ({error})")))?;
        if certificates.is_empty() {
            return Err(self.wrong("no section `BEGIN CERTIFICATE`".to_owned()));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        let bytes = self.read()?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            let is_encrypted = bytes.windows(9).any(|window| window == b"ENCRYPTED");
            self.wrong(match error {
                PemError::NoItemsFound if is_encrypted => {
                    "an encrypted key, for which nobody is there to type a password".to_owned()
                }
                PemError::NoItemsFound => "no section `BEGIN PRIVATE KEY`".to_owned(),
                error => format!("broken PEM ({error})"),
            })
        })
    }

    /// A sentence for each certificate that is not valid now. Clients will refuse it, but a clock may be wrong too.
    fn out_of_date(&self, certificates: &[CertificateDer<'_>]) -> Result<Vec<String>, CertificateError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut warnings = Vec::new();
        for der in certificates {
            let (_, certificate) = parse_x509_certificate(der)
                .map_err(|error| self.wrong(format!("a section that is not a certificate ({error})")))?;
            let (validity, subject) = (certificate.validity(), certificate.subject());
            let file = self.file.display();
            if validity.not_after.timestamp() < now {
                warnings
                    .push(format!("{file}: the certificate of {subject} expired at {}", validity.not_after));
            } else if validity.not_before.timestamp() > now {
                let begin = validity.not_before;
                warnings.push(format!("{file}: the certificate of {subject} is not valid before {begin}"));
            }
        }
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

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
            let warnings = load(&tls).unwrap().warnings;
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
            if let Some(part) = expected {
                assert!(warnings[0].contains("chain.pem: the certificate of CN=press"), "{warnings:?}");
                assert!(warnings[0].contains(part), "{warnings:?}");
            }
        }
    }
}
