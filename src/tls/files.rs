//! Files of certificates and keys as openssl and others make them: what can be used is, and anything else is
//! called what it is.
//!
//! PEM with anything around its sections, a byte order mark and either kind of line ends, and DER. Every
//! sentence ends with what to do.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::recipe;
use crate::file_access;
use crate::text::{self, TextError};

/// A larger file of certificates or keys is refused.
pub const PEM_BYTES_MAX: usize = 1 << 20;

/// The certificates in a file, at least one.
///
/// # Errors
/// The sentence that says what was found instead.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    if is_der(&bytes) {
        return match parse_x509_certificate(&bytes) {
            Ok(([], _)) => Ok(vec![CertificateDer::from(bytes)]),
            _ => Err(what_der_is(&bytes, file)),
        };
    }
    // As openssl wrote it long ago, and reads it still.
    let pem = replaced(&bytes, b"X509 CERTIFICATE-----", b"CERTIFICATE-----");
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("broken PEM ({error}): copy the file anew, or make it again"))?;
    if certificates.is_empty() {
        return Err(format!("no section `BEGIN CERTIFICATE`, {}", what_pem_is(&bytes, file)));
    }
    for (number, certificate) in certificates.iter().enumerate() {
        if !matches!(parse_x509_certificate(certificate), Ok(([], _))) {
            return Err(format!(
                "a section `BEGIN CERTIFICATE` that is not a certificate, number {} of {}",
                number + 1,
                certificates.len()
            ));
        }
    }
    Ok(certificates)
}

/// The first private key in a file.
///
/// # Errors
/// The sentence that says what was found instead.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(file)?;
    if is_der(&bytes) {
        // What a version's number follows is a key of one of three forms, or an archive.
        if is_pkcs12(&bytes) || parse_x509_certificate(&bytes).is_ok() {
            return Err(what_der_is(&bytes, file));
        }
        return PrivateKeyDer::try_from(bytes.clone()).map_err(|_| what_der_is(&bytes, file));
    }
    if contains(&bytes, b"ENCRYPTED") && labels(&bytes).iter().any(|label| label.ends_with("PRIVATE KEY")) {
        return Err(format!(
            "an encrypted key, for which nobody is there to type a password: take the password away with `openssl pkey -in {} -out \
             plain.key`, and let only this node's user read that file",
            file.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        tokio_rustls::rustls::pki_types::pem::Error::NoItemsFound => {
            format!("no section `BEGIN PRIVATE KEY`, {}", what_pem_is(&bytes, file))
        }
        error => format!("broken PEM ({error}): copy the file anew, or make it again"),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(file)
        // One byte more than may be, so that a file that is too large is told from one that just fits.
        .and_then(|opened| opened.take(PEM_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("nothing that can be read ({})", file_access::unreadable(file, &error)))?;
    match bytes.len() {
        0 => return Err("an empty file".to_owned()),
        1..=PEM_BYTES_MAX => {}
        _ => return Err(format!("more than {PEM_BYTES_MAX} bytes")),
    }
    // Between sections anything may stand, in any encoding, as long as letters are single bytes.
    text::without_mark_bytes(&bytes).map(<[u8]>::to_vec).map_err(|error| match error {
        TextError::Encoding(name) => format!("{name} instead of UTF-8: {}", text::remedy(name)),
        error => error.to_string(),
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

fn what_der_is(bytes: &[u8], file: &Path) -> String {
    let file = file.display();
    match bytes {
        _ if is_pkcs12(bytes) => {
            format!("a PKCS#12 archive: take it apart with `openssl pkcs12 -in {file} -nodes -out all.pem`")
        }
        _ if contains(bytes, &PKCS7_SIGNED_DATA) => {
            format!(
                "PKCS#7 in DER: convert it with `openssl pkcs7 -inform DER -print_certs -in {file} -out certificates.pem`"
            )
        }
        _ if parse_x509_certificate(bytes).is_ok() => "a certificate in DER".to_owned(),
        _ if PrivateKeyDer::try_from(bytes).is_ok() => "a private key in DER".to_owned(),
        _ => format!(
            "a structure in DER that is something else, perhaps an encrypted key: look at it with `openssl asn1parse -inform DER -in {file}`"
        ),
    }
}

/// What a text is that lacks the section that was looked for, with what to do.
fn what_pem_is(bytes: &[u8], file: &Path) -> String {
    let file = file.display();
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return format!(
            "but a Java key store: convert it with `keytool -importkeystore -srckeystore {file} -deststoretype PKCS12 -destkeystore all.p12`"
        );
    }
    let labels = labels(bytes);
    let Some(first) = labels.first() else {
        return format!("nor any other section of PEM: make one with {}", recipe::own_certificate("HOST"));
    };
    let remedy = match first.as_str() {
        "TRUSTED CERTIFICATE" => format!(
            "which says more than a certificate: make it one with `openssl x509 -in {file} -out {file}.pem`"
        ),
        "PKCS7" => format!(
            "which is an archive: take the certificates out with `openssl pkcs7 -print_certs -in {file} -out certificates.pem`"
        ),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            format!("which an authority still has to sign: {}", recipe::signed_certificate("HOST"))
        }
        "OPENSSH PRIVATE KEY" => format!("which is one of ssh: make another with {}", recipe::KEY),
        "PUBLIC KEY" => {
            "which is the half of a key that everybody may have: name the file with the private one"
                .to_owned()
        }
        "CERTIFICATE" => "which belongs into the other setting: name the file with the key".to_owned(),
        label if label.ends_with("PRIVATE KEY") => {
            "which belongs into the other setting: name the file with the certificate".to_owned()
        }
        _ => "which is not read here".to_owned(),
    };
    format!("but a section `BEGIN {first}`, {remedy}")
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
