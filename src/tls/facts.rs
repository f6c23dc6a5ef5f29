//! What a certificate says, in words for a person.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::{X509Certificate, X509Name, X509Version};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use super::names::of_oid;

/// A longer name of a stranger's certificate is cut.
const NAME_CHARACTERS_MAX: usize = 200;
/// The most of its alternative names that are told.
const NAMES_MAX: usize = 10;
/// The least bits of an RSA key whose signatures are believed.
const RSA_BITS_LEAST: usize = 2_048;

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whom it names, as openssl prints it.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Whether subject and issuer are one.
    pub is_self_signed: bool,
    /// Whether it is of the first version, which has no extensions.
    pub is_version_1: bool,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// The hosts and addresses that it is for.
    pub names: Vec<String>,
    /// The name that older clients took for a host.
    pub common_name: Option<String>,
    /// How it is signed.
    pub signed_with: String,
    /// Its key, when that is of a kind whose signatures are not believed here.
    pub weak_key: Option<String>,
    /// What it is for, when it says so.
    pub usages: Vec<String>,
    /// Extensions that must be understood, and are not.
    pub unknown_extensions: Vec<String>,
    /// Since when it is valid, and until when, in seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

impl Facts {
    /// Those of a certificate in DER, if it is one.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let (subject, issuer) = (certificate.subject(), certificate.issuer());
        let unknown = certificate
            .extensions()
            .iter()
            // What is critical and not understood makes a certificate unusable (RFC 5280, section 4.2);
            // anything else may be ignored.
            .filter(|extension| extension.critical && !is_known(&extension.oid));
        Some(Self {
            subject: name(subject),
            issuer: name(issuer),
            is_self_signed: subject.as_raw() == issuer.as_raw(),
            is_version_1: certificate.version() != X509Version::V3,
            is_authority: certificate.is_ca(),
            names: alternative_names(&certificate),
            common_name: subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(printable),
            signed_with: algorithm(&certificate.signature_algorithm.algorithm),
            weak_key: weak_key(&certificate),
            usages: usages(&certificate),
            unknown_extensions: unknown.map(|extension| algorithm(&extension.oid)).collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    /// Whether it is for `usage`, such as `serverAuth`. One that says nothing is for everything.
    pub fn is_for(&self, usage: &str) -> bool {
        self.usages.is_empty() || self.usages.iter().any(|known| known == usage || known == ANY_USAGE)
    }

    /// What is wrong with its time by the clock here, if anything is.
    pub fn out_of_date_now(&self) -> Option<String> {
        self.out_of_date(now())
    }

    /// What is wrong with its time, at `now` in seconds since 1970, if anything is.
    pub(crate) fn out_of_date(&self, now: i64) -> Option<String> {
        // Both ends are included (RFC 5280, section 4.1.2.5).
        if self.not_after < now {
            return Some(format!("expired at {}", date(self.not_after)));
        }
        (self.not_before > now).then(|| format!("is not valid before {}", date(self.not_before)))
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time as openssl prints it.
pub fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| "an impossible time".to_owned(), |at| ASN1Time::new(at).to_string())
}

fn name(name: &X509Name<'_>) -> String {
    let text = printable(&name.to_string());
    if text.is_empty() { "(no name)".to_owned() } else { text }
}

/// A stranger wrote it: no line breaks, no escape sequences, and no end of it.
fn printable(text: &str) -> String {
    let clean = text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    clean.take(NAME_CHARACTERS_MAX).collect()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => Some(printable(host)),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(IpAddr::from(four).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| IpAddr::from(sixteen).to_string()),
        },
        _ => None,
    };
    names.iter().filter_map(host).take(NAMES_MAX).collect()
}

/// `extendedKeyUsage` that allows everything.
const ANY_USAGE: &str = "anyExtendedKeyUsage";

fn usages(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.extended_key_usage().ok().flatten();
    extension.map_or_else(Vec::new, |extension| {
        let usage = extension.value;
        let named = [
            (usage.any, ANY_USAGE),
            (usage.server_auth, "serverAuth"),
            (usage.client_auth, "clientAuth"),
            (usage.code_signing, "codeSigning"),
            (usage.email_protection, "emailProtection"),
            (usage.time_stamping, "timeStamping"),
            (usage.ocsp_signing, "OCSPSigning"),
        ];
        let named = named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).to_owned());
        named.chain(usage.other.iter().map(algorithm)).collect()
    })
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let info = certificate.public_key();
    let kind = algorithm(&info.algorithm.algorithm);
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_LEAST => {
            Some(format!("an RSA key of {} bits", key.key_size()))
        }
        Ok(PublicKey::RSA(_)) if kind == "rsaEncryption" => None,
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let curve = curve.map_or_else(|| "an unnamed curve".to_owned(), |curve| algorithm(&curve));
            (!CURVES.contains(&curve.as_str())).then(|| format!("an EC key on {curve}"))
        }
        _ if kind == "Ed25519" => None,
        _ => Some(format!("a key of the kind {kind}")),
    }
}

fn algorithm(oid: &Oid<'_>) -> String {
    let number = oid.to_id_string();
    of_oid(&number).map_or(number, str::to_owned)
}

/// The curves that are believed, by their names in certificates.
const CURVES: [&str; 3] = ["prime256v1", "secp384r1", "secp521r1"];

/// Whether an extension that must be understood is.
fn is_known(oid: &Oid<'_>) -> bool {
    // Key usage, alternative names, basic constraints, name constraints and extended key usage.
    ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.37"].contains(&oid.to_id_string().as_str())
}
