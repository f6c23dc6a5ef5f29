//! Certificate verification: whom we believe, authorities and single certificates that are named themselves.
//!
//! A person who makes one certificate with `openssl req -x509` and gives it to both sides means exactly that
//! certificate. It says that it is an authority, so a verifier of chains refuses it as a server's own. Here
//! it is taken if it is, byte for byte, one of those in the file; its names, its time and what it is for are
//! looked at as ever, and so is the proof that the other side has its key.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::facts::Facts;
use super::files::Fault;
use super::refusal::{self, Purpose};
use super::words;

/// The certificates of a file that says whom to trust.
#[derive(Debug)]
pub struct Anchors {
    /// The file, for people.
    pub file: String,
    pub facts: Vec<Facts>,
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
}

impl Anchors {
    /// Trust in `certificates`, which stand in `file`.
    ///
    /// # Errors
    /// Which of them cannot be trusted, and why.
    pub fn new(file: String, certificates: Vec<CertificateDer<'static>>) -> Result<Self, Fault> {
        let mut roots = RootCertStore::empty();
        let facts: Vec<_> = certificates.iter().filter_map(|certificate| Facts::of(certificate)).collect();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| refusal::no_anchor(&error, certificate))?;
        }
        Ok(Self { file, facts, certificates, roots: Arc::new(roots) })
    }

    fn have(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|known| known == certificate)
    }
}

/// Believes servers.
#[derive(Debug)]
pub struct ServerTrust {
    chains: Arc<WebPkiServerVerifier>,
    anchors: Anchors,
}

impl ServerTrust {
    /// Believes those whose certificate is one of `anchors`, or signed by one.
    ///
    /// # Errors
    /// What is wrong with the anchors.
    pub fn new(anchors: Anchors, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, Fault> {
        let chains = WebPkiServerVerifier::builder_with_provider(anchors.roots.clone(), provider)
            .build()
            .map_err(|error| Fault::new(format!("what cannot be used ({error})"), ""))?;
        Ok(Arc::new(Self { chains, anchors }))
    }
}

impl ServerCertVerifier for ServerTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let purpose = Purpose::Server(server_name);
        let verified = if self.anchors.have(end_entity) {
            verify_itself(end_entity, &purpose, now).map(|()| ServerCertVerified::assertion())
        } else {
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        verified
            .map_err(|error| stranger(error, end_entity))
            .inspect_err(|error| words::explain(refusal::of(error, end_entity, &self.anchors, &purpose)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Believes clients, all of which must show a certificate.
#[derive(Debug)]
pub struct ClientTrust {
    chains: Arc<dyn ClientCertVerifier>,
    anchors: Anchors,
}

impl ClientTrust {
    /// Believes those whose certificate is one of `anchors`, or signed by one.
    ///
    /// # Errors
    /// What is wrong with the anchors.
    pub fn new(anchors: Anchors, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, Fault> {
        let chains = WebPkiClientVerifier::builder_with_provider(anchors.roots.clone(), provider)
            .build()
            .map_err(|error| Fault::new(format!("what cannot be used ({error})"), ""))?;
        Ok(Arc::new(Self { chains, anchors }))
    }
}

impl ClientCertVerifier for ClientTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = if self.anchors.have(end_entity) {
            verify_itself(end_entity, &Purpose::Client, now).map(|()| ClientCertVerified::assertion())
        } else {
            self.chains.verify_client_cert(end_entity, intermediates, now)
        };
        verified.map_err(|error| stranger(error, end_entity)).inspect_err(|error| {
            words::explain(refusal::of(error, end_entity, &self.anchors, &Purpose::Client))
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// What `openssl req -x509` makes says of itself that it is an authority, which a verifier of chains minds
/// first. What matters is that nobody here knows it, and that is what the other side should be told.
fn stranger(error: Error, certificate: &CertificateDer<'_>) -> Error {
    let is_self_signed = || Facts::of(certificate).is_some_and(|facts| facts.is_self_signed);
    match &error {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string() == "CaUsedAsEndEntity" && is_self_signed() =>
        {
            CertificateError::UnknownIssuer.into()
        }
        _ => error,
    }
}

/// What a verifier of chains looks at besides the chain.
fn verify_itself(
    certificate: &CertificateDer<'_>,
    purpose: &Purpose<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let facts = Facts::of(certificate).ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if facts.not_after < now {
        return Err(CertificateError::Expired.into());
    }
    if facts.not_before > now {
        return Err(CertificateError::NotValidYet.into());
    }
    if !facts.is_for(purpose.usage()) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    // By its subjectAltName alone: a common name says nothing about hosts (RFC 9525).
    match purpose {
        Purpose::Server(name) => verify_server_name(&parsed, name),
        Purpose::Client => Ok(()),
    }
}
