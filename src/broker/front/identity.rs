//! The name in a client's certificate.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

use crate::broker::config::IdentitySource;

/// A longer name in a certificate is refused.
const IDENTITY_BYTES_MAX: usize = 256;

/// The name that `source` says, from a certificate whose signature was verified; or why there is none.
pub fn of(certificate: &CertificateDer<'_>, source: IdentitySource) -> Result<String, &'static str> {
    let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| "it cannot be read")?;
    let name = match source {
        IdentitySource::CommonName => common_name(&certificate)?,
        IdentitySource::SubjectAltName => subject_alt_name(&certificate)?,
    };
    if name.len() > IDENTITY_BYTES_MAX {
        return Err("its name is too long");
    }
    if name.is_empty() || name.contains(char::is_control) {
        return Err("its name is empty or has control characters");
    }
    Ok(name.to_owned())
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, &'static str> {
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().map_err(|_| "its common name is not text"),
        (None, _) => Err("it has no common name"),
        // Which of them an authority meant is anybody's guess.
        (Some(_), Some(_)) => Err("it has several common names"),
    }
}

fn subject_alt_name<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, &'static str> {
    let extension = certificate.subject_alternative_name().map_err(|_| "it has several lists of names")?;
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    names
        .iter()
        .find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                Some(*name)
            }
            _ => None,
        })
        .ok_or("it has no alternative name that is a DNS name, a URI or an e-mail address")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_names: &[&str], alternatives: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_common_name_is_the_identity() {
        let certificate = certificate(&["press-7"], Vec::new());
        assert_eq!(of(&certificate, IdentitySource::CommonName).unwrap(), "press-7");
        assert!(
            of(&certificate, IdentitySource::SubjectAltName).unwrap_err().contains("no alternative name")
        );
    }

    #[test]
    fn the_first_alternative_name_that_is_a_text_is_the_identity() {
        for (name, text) in [
            (SanType::DnsName("press-7.plant".try_into().unwrap()), "press-7.plant"),
            (SanType::URI("urn:press:7".try_into().unwrap()), "urn:press:7"),
            (SanType::Rfc822Name("press@plant".try_into().unwrap()), "press@plant"),
        ] {
            let address = SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
            let last = SanType::DnsName("last".try_into().unwrap());
            let certificate = certificate(&[], vec![address, name, last]);
            assert_eq!(of(&certificate, IdentitySource::SubjectAltName).unwrap(), text);
            assert!(of(&certificate, IdentitySource::CommonName).unwrap_err().contains("no common name"));
        }
    }

    #[test]
    fn a_name_that_nobody_should_have_is_refused() {
        let long = "x".repeat(IDENTITY_BYTES_MAX + 1);
        for (name, why) in [("", "empty"), ("a\nb", "control"), (long.as_str(), "too long")] {
            let error = of(&certificate(&[name], Vec::new()), IdentitySource::CommonName).unwrap_err();
            assert!(error.contains(why), "{name:?}: {error}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_identity() {
        let garbage = CertificateDer::from(vec![0x30, 0x80, 1, 2]);
        assert_eq!(of(&garbage, IdentitySource::CommonName), Err("it cannot be read"));
    }
}
