//! The bytes below MQTT: TCP, with TLS where it is asked for.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tracing::warn;

use super::config::{Config, Tls};
use super::failures::{Failure, Trouble};
use crate::file_access;
use crate::tcp::Socket;
use crate::tls::{
    Anchors, Fault, ServerTrust, Side, Unusable, authorities, certificates, explained, own, private_key,
    provider, sentence,
};

/// What MQTT runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A setting of TLS that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// The setting, as it is called in `nearfar.toml`.
    pub key: &'static str,
    /// The value that the setting has.
    pub value: Box<str>,
    /// What was found there, in words.
    pub found: Box<str>,
    /// What the setting should be, in words.
    pub expected: &'static str,
    /// What to do, or the system's reason; it may be empty.
    pub advice: Box<str>,
}

impl TlsError {
    /// The sentence without the key.
    pub(crate) fn problem(&self) -> String {
        let Self { value, found, expected, advice, .. } = self;
        sentence(value, found, expected, advice)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {}", self.key, self.problem())
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
        let (name, config) = settings.read(&config.host)?;
        if let Some((_, key)) = &settings.client
            && let Some(problem) = file_access::open_to_all(key)
        {
            warn!("{}: the private key (`remote.tls.client_key`): {problem}", key.display());
        }
        if let Some(problem) = file_access::changeable_by_all(&settings.ca_file) {
            warn!("{}: the authorities (`remote.tls.ca_file`): {problem}", settings.ca_file.display());
        }
        Ok(Self { tls: Some(Secure { settings, name, config }) })
    }

    /// Connects. The files of TLS are read anew for each connection, so that a renewed
    /// certificate needs no restart; where they cannot be used, those read before are.
    pub async fn dial(&mut self, config: &Config) -> Result<Box<dyn Stream>, Failure> {
        let socket = TcpStream::connect((config.host.as_str(), config.port))
            .await
            .map_err(|cause| Trouble::Unreachable.because(format!("no connection: {cause}")))?;
        let socket = Socket::new(socket);
        let Some(secure) = &mut self.tls else { return Ok(Box::new(socket)) };
        match load(&secure.settings) {
            Ok(config) => secure.config = config,
            Err(error) => warn!("{error}; the certificates read before stay in force"),
        }
        let connector = TlsConnector::from(Arc::clone(&secure.config));
        let name = secure.name.clone();
        let called = name.to_str().into_owned();
        let stream = explained(Side::Dialer, connector.connect(name, socket), |cause| cause)
            .await
            .map_err(|(_, why)| Trouble::Tls.because(format!("no TLS with {called:?}: {why}")))?;
        Ok(Box::new(stream))
    }
}

impl Tls {
    /// Makes sure that the files can be used for a broker at `host`.
    ///
    /// # Errors
    /// [`TlsError`] naming the setting.
    pub fn check(&self, host: &str) -> Result<(), TlsError> {
        self.read(host).map(|_| ())
    }

    /// The name that the broker has to prove, and what the files say.
    fn read(&self, host: &str) -> Result<(ServerName<'static>, Arc<ClientConfig>), TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| TlsError {
            key: "remote.tls.server_name",
            value: format!("{name:?}").into(),
            found: error.to_string().into(),
            expected: "a host name or an address",
            advice: "".into(),
        })?;
        Ok((name, load(self)?))
    }
}

fn load(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let trusted = Named {
        key: "remote.tls.ca_file",
        file: &tls.ca_file,
        expected: "a PEM file with authorities' certificates",
    };
    let provider = provider();
    let trust = authorities(trusted.file)
        .and_then(|certificates| Anchors::new(trusted.file.display().to_string(), certificates))
        .and_then(|anchors| ServerTrust::new(anchors, provider.clone()))
        .map_err(|fault| trusted.wrong(fault))?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        // TLS 1.0 and 1.1 must not be used any more (RFC 8996), and rustls has neither.
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| trusted.wrong(Fault { found: error.to_string(), advice: String::new() }))?
        // A verifier of ours, which is rustls's own but for single certificates that are trusted themselves.
        .dangerous()
        .with_custom_certificate_verifier(trust);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_cert_resolver(Arc::new(identity(certificate, key, &provider)?))
        }
    };
    Ok(Arc::new(config))
}

/// What this node shows of itself.
fn identity(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<SingleCertAndKey, TlsError> {
    let certificate = Named {
        key: "remote.tls.client_certificate",
        file: certificate,
        expected: "a PEM file with this node's certificate",
    };
    let key = Named {
        key: "remote.tls.client_key",
        file: key,
        expected: "a PEM file with the certificate's private key, not encrypted",
    };
    let private = private_key(key.file, certificate.file).map_err(|fault| key.wrong(fault))?;
    let chain = certificates(certificate.file).map_err(|fault| certificate.wrong(fault))?;
    own(chain, private, certificate.file, provider).map_err(|error| match error {
        Unusable::Certificate(fault) => certificate.wrong(fault),
        Unusable::Key(fault) => key.wrong(fault),
    })
}

/// A file of TLS, with the key that names it and what it should hold.
struct Named<'a> {
    key: &'static str,
    file: &'a Path,
    expected: &'static str,
}

impl Named<'_> {
    fn wrong(&self, Fault { found, advice }: Fault) -> TlsError {
        let Self { key, file, expected } = *self;
        let value = file.display().to_string().into();
        TlsError { key, value, found: found.into(), expected, advice: advice.into() }
    }
}
