//! Files of certificates and keys as openssl and others make them: what can be used is, and anything else is
//! called what it is.
//!
//! PEM with anything around its sections, a byte order mark and either kind of line ends, and DER. Of
//! everything else it is said what to do.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::recipe;
use crate::file_access;
use crate::text::{self, TextError};

/// A larger file of certificates or keys is refused.
pub const PEM_BYTES_MAX: usize = 1 << 20;

/// What stands in a file in place of what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was found, as a part of a sentence.
    pub found: String,
    /// What to do, or the system's reason; empty where there is nothing to say.
    pub advice: String,
}

impl Fault {
    pub fn new(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { found: found.into(), advice: advice.into() }
    }
}

/// The sentence about `place`: where, what was found, what was expected, what to do, which may be empty.
pub fn sentence(place: &str, found: &str, expected: &str, advice: &str) -> String {
    let behind = if advice.is_empty() { "" } else { ": " };
    format!("{place}: found {found}, expected {expected}{behind}{advice}")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = if self.advice.is_empty() { "" } else { ": " };
        write!(f, "{}{behind}{}", self.found, self.advice)
    }
}

/// What a file is named for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// A certificate of our own.
    Own,
    /// Certificates of authorities.
    Authorities,
    /// The key of the certificate in this file.
    KeyOf(&'a Path),
}

impl Wanted<'_> {
    /// What to do where a file has nothing of the kind.
    fn instead(self) -> String {
        match self {
            Self::Own => format!(
                "put the certificate back that was there, or make another with {}",
                recipe::own_certificate("HOST")
            ),
            Self::Authorities => "name the authority's certificate, such as ca.pem".to_owned(),
            Self::KeyOf(certificate) => format!("put the key back that belongs to {}", certificate.display()),
        }
    }
}

/// The certificates in a file, at least one: our own, then those between it and an authority's.
///
/// # Errors
/// What was found instead.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    certificates_of(file, Wanted::Own)
}

/// The certificates of authorities in a file, at least one.
///
/// # Errors
/// What was found instead.
pub fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    certificates_of(file, Wanted::Authorities)
}

fn certificates_of(file: &Path, wanted: Wanted<'_>) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(file, wanted)?;
    if is_der(&bytes) {
        return match parse_x509_certificate(&bytes) {
            Ok(([], _)) => Ok(vec![CertificateDer::from(bytes)]),
            _ => Err(what_der_is(&bytes, file, wanted)),
        };
    }
    // As openssl wrote it long ago, and reads it still.
    let pem = replaced(&bytes, b"X509 CERTIFICATE-----", b"CERTIFICATE-----");
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(broken)?;
    if certificates.is_empty() {
        return Err(what_pem_is("CERTIFICATE", &bytes, file, wanted));
    }
    for (number, certificate) in certificates.iter().enumerate() {
        if !matches!(parse_x509_certificate(certificate), Ok(([], _))) {
            let found = format!(
                "a section `BEGIN CERTIFICATE` that is not a certificate, number {} of {}",
                number + 1,
                certificates.len()
            );
            return Err(Fault::new(found, COPY_ANEW));
        }
    }
    Ok(certificates)
}

/// The first private key in a file, which belongs to the certificate in the file `certificate`.
///
/// # Errors
/// What was found instead.
pub fn private_key(file: &Path, certificate: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let wanted = Wanted::KeyOf(certificate);
    let bytes = read(file, wanted)?;
    if is_der(&bytes) {
        // What a version's number follows is a key of one of three forms, or an archive.
        if is_pkcs12(&bytes) || parse_x509_certificate(&bytes).is_ok() {
            return Err(what_der_is(&bytes, file, wanted));
        }
        return PrivateKeyDer::try_from(bytes.clone()).map_err(|_| what_der_is(&bytes, file, wanted));
    }
    if contains(&bytes, b"ENCRYPTED") && labels(&bytes).iter().any(|label| label.ends_with("PRIVATE KEY")) {
        return Err(Fault::new(
            "an encrypted key, for which nobody is there to type a password",
            format!(
                "take the password away with `openssl pkey -in {} -out plain.key`, and let only this node's user read that file",
                file.display()
            ),
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => what_pem_is("PRIVATE KEY", &bytes, file, wanted),
        error => broken(error),
    })
}

const COPY_ANEW: &str = "copy the file anew, or make it again";

fn broken(error: pem::Error) -> Fault {
    Fault::new(format!("broken PEM ({error})"), COPY_ANEW)
}

fn read(file: &Path, wanted: Wanted<'_>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    File::open(file)
        // One byte more than may be, so that a file that is too large is told from one that just fits.
        .and_then(|opened| opened.take(PEM_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Fault::new("nothing that can be read", file_access::unreadable(file, &error)))?;
    match bytes.len() {
        0 => return Err(Fault::new("an empty file", wanted.instead())),
        1..=PEM_BYTES_MAX => {}
        _ => return Err(Fault::new(format!("more than {PEM_BYTES_MAX} bytes"), wanted.instead())),
    }
    // Between sections anything may stand, in any encoding, as long as letters are single bytes.
    text::without_mark_bytes(&bytes).map(<[u8]>::to_vec).map_err(|error| match error {
        TextError::Encoding(name) => Fault::new(format!("{name} instead of UTF-8"), text::remedy(name)),
        error => Fault::new(error.to_string(), ""),
    })
}

/// Whether it is a sequence in DER, which begins with a byte that is the digit 0 in a text.
fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        // The length's own length, or a length that only the end tells: no UTF-8 goes on like that.
        [0x30, 0x80..=0x84, ..] => true,
        [0x30, length, 0x02 | 0x30 | 0x06, ..] => usize::from(*length) == bytes.len() - 2,
        _ => false,
    }
}

/// A sequence that begins with the number 3.
fn is_pkcs12(bytes: &[u8]) -> bool {
    contains(&bytes[..bytes.len().min(8)], &[0x02, 0x01, 0x03])
}

const PKCS7_SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

fn what_der_is(bytes: &[u8], path: &Path, wanted: Wanted<'_>) -> Fault {
    let file = path.display();
    match bytes {
        _ if is_pkcs12(bytes) => Fault::new(
            "a PKCS#12 archive",
            format!("take it apart with `openssl pkcs12 -in {file} -nodes -out all.pem`"),
        ),
        _ if contains(bytes, &PKCS7_SIGNED_DATA) => Fault::new(
            "PKCS#7 in DER",
            format!(
                "convert it with `openssl pkcs7 -inform DER -print_certs -in {file} -out certificates.pem`"
            ),
        ),
        _ if parse_x509_certificate(bytes).is_ok() => Fault::new("a certificate in DER", wanted.instead()),
        _ if PrivateKeyDer::try_from(bytes).is_ok() => Fault::new("a private key in DER", wanted.instead()),
        _ => Fault::new(
            "a structure in DER that is something else, perhaps an encrypted key",
            format!("look at it with `openssl asn1parse -inform DER -in {file}`"),
        ),
    }
}

/// What a text is that lacks `section`, with what to do.
fn what_pem_is(section: &str, bytes: &[u8], path: &Path, wanted: Wanted<'_>) -> Fault {
    let file = path.display();
    let lacks = format!("no section `BEGIN {section}`");
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return Fault::new(
            format!("{lacks}, but a Java key store"),
            format!(
                "convert it with `keytool -importkeystore -srckeystore {file} -deststoretype PKCS12 -destkeystore all.p12`"
            ),
        );
    }
    let labels = labels(bytes);
    let Some(first) = labels.first() else {
        return Fault::new(format!("{lacks}, nor any other section of PEM"), wanted.instead());
    };
    let (which, advice) = match (first.as_str(), wanted) {
        ("TRUSTED CERTIFICATE", Wanted::Own | Wanted::Authorities) => (
            ", which says more than a certificate",
            format!("make it one with `openssl x509 -in {file} -out {file}.pem`"),
        ),
        ("PKCS7", Wanted::Own | Wanted::Authorities) => (
            ", which is an archive",
            format!(
                "take the certificates out with `openssl pkcs7 -print_certs -in {file} -out certificates.pem`"
            ),
        ),
        ("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST", Wanted::Own) => (
            ", which an authority still has to sign",
            format!("with {}", recipe::signed_request(&file.to_string(), "HOST")),
        ),
        ("OPENSSH PRIVATE KEY", Wanted::KeyOf(_)) => (", which is one of ssh", wanted.instead()),
        ("PUBLIC KEY", Wanted::KeyOf(_)) => {
            (", which is the half of a key that everybody may have", wanted.instead())
        }
        ("CERTIFICATE", Wanted::KeyOf(_)) => {
            (", which belongs into the other setting", "name the file with the key".to_owned())
        }
        (label, Wanted::Own) if label.ends_with("PRIVATE KEY") => {
            (", which belongs into the other setting", "name the file with the certificate".to_owned())
        }
        _ => ("", wanted.instead()),
    };
    Fault::new(format!("{lacks}, but a section `BEGIN {first}`{which}"), advice)
}

/// The names of the sections of PEM.
fn labels(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let label =
        |line: &[u8]| Some(line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?.to_vec());
    lines
        .filter_map(label)
        .map(|label| String::from_utf8_lossy(&label).escape_default().to_string())
        .collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(behind) => {
                replaced.extend_from_slice(to);
                rest = behind;
            }
            None => {
                replaced.push(*first);
                rest = others;
            }
        }
    }
    replaced
}
