//! Certificates that a test makes for itself, and a client that speaks TLS with them.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfar::broker::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::mqtt::PATIENCE;

/// A TLS client's side of a connection; the handshake happens with the first byte.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Identity {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For a host called localhost.
    pub fn server(&self) -> Identity {
        self.sign(with_hosts(named("server")))
    }

    /// A server's certificate that expired long ago.
    pub fn expired_server(&self) -> Identity {
        let mut params = with_hosts(named("long ago"));
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    /// For a client with that common name.
    pub fn client(&self, common_name: &str) -> Identity {
        self.sign(named(common_name))
    }

    pub fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Connects over TCP to a listener whose certificate must be this authority's, with
    /// a certificate or without.
    pub fn connect(&self, address: SocketAddr, identity: Option<&Identity>) -> Stream {
        self.connect_with(address, identity, tokio_rustls::rustls::DEFAULT_VERSIONS)
    }

    pub fn connect_with(
        &self,
        address: SocketAddr,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Stream {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![identity.certificate.der().clone()], key).unwrap()
            }
        };
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        StreamOwned::new(session, socket)
    }
}

pub fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn with_hosts(mut params: CertificateParams) -> CertificateParams {
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    params
}

/// The files of a listener.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new(identity: &Identity) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write(identity);
        files
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes the server's certificate and key, over those of before.
    pub fn write(&self, identity: &Identity) {
        self.put("server.pem", &identity.certificate.pem());
        self.put("server.key", &identity.key.serialize_pem());
    }

    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// TLS with the server's certificate and key.
    pub fn tls(&self) -> Tls {
        Tls {
            certificate_chain: self.file("server.pem"),
            key: self.file("server.key"),
            client_authorities: None,
            identity: None,
        }
    }

    /// The same, for clients with a certificate of `authority`.
    pub fn mutual_tls(&self, authority: &Authority) -> Tls {
        self.put("clients.pem", &authority.pem());
        Tls { client_authorities: Some(self.file("clients.pem")), ..self.tls() }
    }
}
