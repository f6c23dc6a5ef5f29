//! The cryptography that both directions use: ring's, and the curves that it lacks.

use std::sync::{Arc, LazyLock};

use tokio_rustls::rustls::crypto::{CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms, ring};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm};
use tokio_rustls::rustls::sign::SigningKey;
use tokio_rustls::rustls::{Error, SignatureScheme};

use super::curves::{P256_SHA512, P384_SHA512, P521_SHA256, P521_SHA384, P521_SHA512, P521Key};

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// What certificates may be signed with.
static ALGORITHMS: LazyLock<Vec<Algorithm>> = LazyLock::new(|| {
    let more = [P256_SHA512, P384_SHA512, P521_SHA256, P521_SHA384, P521_SHA512];
    ring::default_provider().signature_verification_algorithms.all.iter().copied().chain(more).collect()
});

/// What handshakes may be signed with. In TLS 1.3 a scheme is its first algorithm; in TLS 1.2 it leaves the
/// curve open.
static SCHEMES: LazyLock<Vec<(SignatureScheme, Vec<Algorithm>)>> = LazyLock::new(|| {
    let known = ring::default_provider().signature_verification_algorithms.mapping;
    let mut schemes: Vec<_> =
        known.iter().map(|(scheme, algorithms)| (*scheme, algorithms.to_vec())).collect();
    // Behind the scheme's own curve: TLS 1.3 looks at the first alone, since a scheme names its curve there
    // (RFC 8446, section 4.2.3); in TLS 1.2 it is a hash and a kind of key, whatever the curve.
    for (scheme, algorithms) in &mut schemes {
        match *scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => algorithms.push(P521_SHA256),
            SignatureScheme::ECDSA_NISTP384_SHA384 => algorithms.push(P521_SHA384),
            _ => {}
        }
    }
    // Behind the curves that are quicker.
    let at = schemes.iter().position(|(scheme, _)| *scheme == SignatureScheme::ED25519).unwrap_or_default();
    schemes.insert(at, (SignatureScheme::ECDSA_NISTP521_SHA512, vec![P521_SHA512, P384_SHA512, P256_SHA512]));
    schemes
});

static MAPPING: LazyLock<Vec<(SignatureScheme, &'static [Algorithm])>> =
    LazyLock::new(|| SCHEMES.iter().map(|(scheme, algorithms)| (*scheme, algorithms.as_slice())).collect());

/// What a handshake calculates with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &ALGORITHMS, mapping: &MAPPING },
        key_provider: &Keys,
        ..ring::default_provider()
    })
}

/// Reads private keys.
#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        match P521Key::read(&key) {
            Some(key) => Ok(Arc::new(key)),
            None => ring::default_provider().key_provider.load_private_key(key),
        }
    }
}
