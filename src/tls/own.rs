//! A certificate of our own with its key: whether the two can be used, and belong together.

use std::path::Path;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::facts::Facts;
use super::files::Fault;
use super::{recipe, refusal};

/// Which of the two files is to blame, and why.
#[derive(Debug)]
pub enum Unusable {
    /// That of the certificate.
    Certificate(Fault),
    /// That of the key.
    Key(Fault),
}

/// What a handshake shows and proves: the certificates, the own one first, in `file`, with their `key`.
///
/// # Errors
/// [`Unusable`].
pub fn own(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    file: &Path,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, Unusable> {
    let facts = certificates.first().and_then(|certificate| Facts::of(certificate));
    if let Some(facts) = facts.as_ref().filter(|facts| facts.is_version_1) {
        let found = format!("an unusable certificate: that of {} {}", facts.subject, refusal::VERSION_1);
        return Err(Unusable::Certificate(Fault::new(
            found,
            refusal::version_3(&recipe::signed_certificate("HOST")),
        )));
    }
    let certified = CertifiedKey::from_der(certificates, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Unusable::Key(Fault::new(
            format!("a key that does not belong to the first certificate in {}", file.display()),
            format!(
                "`openssl pkey -pubout -in KEY` and `openssl x509 -noout -pubkey -in {}` show the same for a pair",
                file.display()
            ),
        )),
        Error::InvalidCertificate(_) => Unusable::Certificate(Fault::new(
            "an unusable certificate: the first one is damaged, or has parts that nobody should have made",
            "copy it anew, or make another",
        )),
        _ => {
            let kind = facts.and_then(|facts| facts.weak_key).map(|kind| format!(" ({kind})")).unwrap_or_default();
            Unusable::Key(Fault::new(
                format!("a key that cannot be used{kind}"),
                format!(
                    "RSA of 2048 to 8192 bits, EC on P-256, P-384 and P-521, and Ed25519 can; make one with {}, and a certificate with it",
                    recipe::KEY
                ),
            ))
        }
    })?;
    Ok(certified.into())
}
