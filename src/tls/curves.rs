//! ECDSA that ring does not have: keys on P-521, and SHA-512 with the other curves.
//!
//! `openssl req -newkey ec:... -sha512` makes such certificates, and mosquitto's clients take them. Another
//! library of cryptography has them all, but is two megabytes; these curves are two hundred kilobytes.
//! Checking a signature has no secrets. The one secret operation is signing with a P-521 key of our own,
//! which the crate does in constant time.

use std::fmt;

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use p521::pkcs8::DecodePrivateKey;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, alg_id,
};
use tokio_rustls::rustls::sign::{Signer, SigningKey, public_key_to_spki};
use tokio_rustls::rustls::{Error, SignatureAlgorithm, SignatureScheme};

/// An algorithm: its name in code and for people, the crate of its curve, and its key, digest and signature.
macro_rules! ecdsa {
    ($constant:ident, $words:literal, $curve:ident, $key:ident, $digest:ident, $signature:ident) => {
        pub static $constant: &dyn SignatureVerificationAlgorithm = &Ecdsa {
            name: $words,
            key: alg_id::$key,
            signature: alg_id::$signature,
            verify: |key, message, signature| {
                let signature = $curve::ecdsa::Signature::from_der(signature).ok()?;
                let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
                key.verify_prehash(&$digest::digest(message), &signature).ok()
            },
        };
    };
}

ecdsa!(P256_SHA512, "P-256 with SHA-512", p256, ECDSA_P256, Sha512, ECDSA_SHA512);
ecdsa!(P384_SHA512, "P-384 with SHA-512", p384, ECDSA_P384, Sha512, ECDSA_SHA512);
ecdsa!(P521_SHA256, "P-521 with SHA-256", p521, ECDSA_P521, Sha256, ECDSA_SHA256);
ecdsa!(P521_SHA384, "P-521 with SHA-384", p521, ECDSA_P521, Sha384, ECDSA_SHA384);
ecdsa!(P521_SHA512, "P-521 with SHA-512", p521, ECDSA_P521, Sha512, ECDSA_SHA512);

/// Takes public key, message and signature; gives none when they do not fit.
type Verify = fn(&[u8], &[u8], &[u8]) -> Option<()>;

/// One of these algorithms.
struct Ecdsa {
    name: &'static str,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: Verify,
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        (self.verify)(public_key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl fmt::Debug for Ecdsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A private key on P-521.
#[derive(Clone)]
pub struct P521Key(p521::ecdsa::SigningKey);

impl P521Key {
    /// Reads one; none when it is another kind of key.
    pub fn read(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let secret = match key {
            PrivateKeyDer::Pkcs8(key) => p521::SecretKey::from_pkcs8_der(key.secret_pkcs8_der()).ok()?,
            PrivateKeyDer::Sec1(key) => p521::SecretKey::from_sec1_der(key.secret_sec1_der()).ok()?,
            _ => return None,
        };
        Some(Self(p521::ecdsa::SigningKey::from(secret)))
    }
}

impl SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP521_SHA512)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = self.0.verifying_key().to_sec1_point(false);
        Some(public_key_to_spki(&alg_id::ECDSA_P521, point.as_bytes()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        use p521::ecdsa::signature::Signer;
        let signature: p521::ecdsa::Signature =
            self.0.try_sign(message).map_err(|_| Error::General("a P-521 key cannot sign".to_owned()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

impl fmt::Debug for P521Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key on P-521")
    }
}
