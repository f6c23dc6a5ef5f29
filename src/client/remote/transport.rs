//! The bytes below MQTT: TCP, with TLS where it is asked for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

use super::config::{Config, Tls};

/// A larger PEM file is refused.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What MQTT runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A setting of TLS that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// The setting, as it is called in `nearfar.toml`.
    pub key: &'static str,
    /// What it says.
    pub value: String,
    /// What is wrong with it.
    pub found: String,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, found, expected } = self;
        write!(f, "`{key}`, {value}: found {found}, expected {expected}")
    }
}

impl std::error::Error for TlsError {}

/// Makes connections to one broker.
pub struct Dialer {
    tls: Option<Secure>,
}

struct Secure {
    settings: Tls,
    name: ServerName<'static>,
    /// What the last files that could be used said.
    config: Arc<ClientConfig>,
}

impl Dialer {
    /// Reads the files that TLS needs.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let Some(settings) = config.tls.clone() else { return Ok(Self { tls: None }) };
        let name = settings.server_name.clone().unwrap_or_else(|| config.host.clone());
        let name = ServerName::try_from(name.clone()).map_err(|error| TlsError {
            key: "remote.tls.server_name",
            value: format!("{name:?}"),
            found: error.to_string(),
            expected: "a host name or an address",
        })?;
        let config = load(&settings)?;
        Ok(Self { tls: Some(Secure { settings, name, config }) })
    }

    /// Connects. The files of TLS are read anew for each connection, so that a renewed certificate needs no restart; where
    /// they cannot be used, those read before are.
    pub async fn dial(&mut self, config: &Config) -> Result<Box<dyn Stream>, String> {
        let socket = TcpStream::connect((config.host.as_str(), config.port))
            .await
            .map_err(|cause| format!("no connection: {cause}"))?;
        // Packets are gathered before they are written.
        socket.set_nodelay(true).map_err(|cause| cause.to_string())?;
        let Some(secure) = &mut self.tls else { return Ok(Box::new(socket)) };
        match load(&secure.settings) {
            Ok(config) => secure.config = config,
            Err(error) => warn!("{error}; the certificates read before stay in force"),
        }
        let connector = TlsConnector::from(Arc::clone(&secure.config));
        let name = secure.name.clone();
        let stream = connector
            .connect(name, socket)
            .await
            .map_err(|cause| refused(&cause, &secure.settings, config))?;
        Ok(Box::new(stream))
    }
}

fn refused(cause: &io::Error, tls: &Tls, config: &Config) -> String {
    let name = tls.server_name.as_ref().unwrap_or(&config.host);
    format!(
        "no TLS: {cause}; expected a certificate for {name:?} that an authority in {} has signed",
        tls.ca_file.display()
    )
}

fn load(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let authorities = Pem {
        key: "remote.tls.ca_file",
        file: &tls.ca_file,
        expected: "a PEM file with authorities' certificates",
    };
    let mut roots = RootCertStore::empty();
    for certificate in authorities.certificates()? {
        roots
            .add(certificate)
            .map_err(|error| authorities.wrong(format!("an unusable certificate: {error}")))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| authorities.wrong(error.to_string()))?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (certificate, key) = identity(certificate, key);
            let (chain, private) = (certificate.certificates()?, key.private_key()?);
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| key.wrong(format!("a key that does not fit the certificate: {error}")))?
        }
    };
    Ok(Arc::new(config))
}

fn identity<'a>(certificate: &'a PathBuf, key: &'a PathBuf) -> (Pem<'a>, Pem<'a>) {
    let certificate = Pem {
        key: "remote.tls.client_certificate",
        file: certificate,
        expected: "a PEM file with this node's certificate",
    };
    let key = Pem {
        key: "remote.tls.client_key",
        file: key,
        expected: "a PEM file with the certificate's private key, not encrypted",
    };
    (certificate, key)
}

/// One of the files.
struct Pem<'a> {
    key: &'static str,
    file: &'a Path,
    expected: &'static str,
}

impl Pem<'_> {
    fn wrong(&self, found: String) -> TlsError {
        TlsError { key: self.key, value: self.file.display().to_string(), found, expected: self.expected }
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        let unreadable = |error: io::Error| self.wrong(format!("nothing that can be read ({error})"));
        let mut bytes = Vec::new();
        let file = File::open(self.file).map_err(unreadable)?;
        file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > PEM_BYTES_MAX {
            return Err(self.wrong(format!("more than {PEM_BYTES_MAX} bytes")));
        }
        Ok(bytes)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err(self.wrong("no section `BEGIN CERTIFICATE`".to_owned()))
            }
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.wrong(format!("broken PEM ({error})"))),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?)
            .map_err(|error| self.wrong(format!("no usable private key ({error})")))
    }
}
