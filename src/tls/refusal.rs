//! Why a certificate is refused, with what to do: the library's error, and what the certificate says, become
//! a sentence.

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, Error};

use super::facts::{self, Facts};
use super::files::Fault;
use super::recipe;
use super::trust::Anchors;

/// The most authorities that a sentence lists.
const AUTHORITIES_TOLD_MAX: usize = 3;

/// What a certificate is shown for.
pub enum Purpose<'a> {
    /// By a server, which was asked for by this name.
    Server(&'a ServerName<'a>),
    /// By a client.
    Client,
}

impl Purpose<'_> {
    /// What `extendedKeyUsage` calls it.
    pub fn usage(&self) -> &'static str {
        match self {
            Self::Server(_) => "serverAuth",
            Self::Client => "clientAuth",
        }
    }

    /// The line that makes a right one.
    fn recipe(&self) -> String {
        match self {
            Self::Server(name) => recipe::signed_certificate(&name.to_str()),
            Self::Client => recipe::CLIENT_CERTIFICATE.to_owned(),
        }
    }
}

/// Why `certificate`, which the other side showed, is refused.
pub fn of(
    error: &Error,
    certificate: &CertificateDer<'_>,
    anchors: &Anchors,
    purpose: &Purpose<'_>,
) -> String {
    let Some(facts) = Facts::of(certificate) else {
        return "what the other side shows as its certificate is none that can be read".to_owned();
    };
    let problem = match error {
        _ if facts.is_version_1 => version_1(&purpose.recipe()),
        Error::InvalidCertificate(error) => problem(error, &facts, anchors, purpose),
        other => format!("cannot be verified ({other})"),
    };
    format!("the certificate of {} {problem}", facts.subject)
}

/// Why a certificate that a file says to trust cannot be.
pub fn no_anchor(error: &Error, certificate: &CertificateDer<'_>) -> Fault {
    let subject = Facts::of(certificate).map_or_else(|| "(unreadable)".to_owned(), |facts| facts.subject);
    let problem = match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => chain(&other.to_string(), ""),
        Error::InvalidCertificate(_) => "is damaged, or has parts that nobody should have made".to_owned(),
        other => format!("cannot be used ({other})"),
    };
    let found = format!("an unusable certificate: that of {subject} {problem}");
    Fault::new(found, format!("name another authority's; one of your own is made with {}", recipe::AUTHORITY))
}

/// What is said of a certificate without extensions.
pub const VERSION_1: &str = "is of X.509 version 1, which cannot say what it is for";

/// What makes one with extensions.
pub fn version_3(recipe: &str) -> String {
    format!("openssl makes version 3 when it is given extensions: {recipe}")
}

fn version_1(recipe: &str) -> String {
    format!("{VERSION_1}: {}", version_3(recipe))
}

fn problem(error: &CertificateError, facts: &Facts, anchors: &Anchors, purpose: &Purpose<'_>) -> String {
    let recipe = purpose.recipe();
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => out_of_date(facts),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            wrong_name(facts, purpose)
        }
        CertificateError::UnknownIssuer => unknown_issuer(facts, anchors),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => format!(
            "is for {} alone, not for {} (extendedKeyUsage): make one that is: {recipe}",
            facts.usages.join(", "),
            purpose.usage()
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            weak_signature(facts, anchors)
        }
        CertificateError::BadSignature => bad_signature(facts, anchors),
        CertificateError::UnhandledCriticalExtension => unknown_extension(facts),
        CertificateError::BadEncoding => {
            format!("is damaged, or has parts that nobody should have made: make another: {recipe}")
        }
        CertificateError::Revoked => "was revoked by its authority".to_owned(),
        CertificateError::Other(other) => match other.to_string().as_str() {
            "UnsupportedCriticalExtension" => unknown_extension(facts),
            kind => format!("{}: {recipe}", chain(kind, &anchors.file)),
        },
        other => format!("cannot be verified ({other}): make another: {recipe}"),
    }
}

fn out_of_date(facts: &Facts) -> String {
    let now = facts::now();
    match facts.out_of_date(now) {
        Some(problem) => {
            format!("{problem}, and the clock here says {}: renew it, or set the clock", facts::date(now))
        }
        None => {
            "comes with an authority's certificate that is not valid now: renew that one, or set the clock"
                .to_owned()
        }
    }
}

fn wrong_name(facts: &Facts, purpose: &Purpose<'_>) -> String {
    let Purpose::Server(name) = purpose else { return "is for another name".to_owned() };
    let name = name.to_str();
    let recipe = purpose.recipe();
    match (facts.names.as_slice(), &facts.common_name) {
        ([], Some(common_name)) => format!(
            "has no subjectAltName, only the common name {common_name:?}, which says nothing about hosts: make one with `-addext {}`, \
             or let the authority add it: {recipe}",
            recipe::subject_alt_name(&name)
        ),
        ([], None) => format!("has no name of any host, expected {name:?}: {recipe}"),
        (names, _) => format!(
            "is not valid for name {name:?}, only for {}: connect by one of those names (remote.tls.server_name), or make one with \
             `-addext {}`",
            names.join(", "),
            recipe::subject_alt_name(&name)
        ),
    }
}

fn unknown_issuer(facts: &Facts, anchors: &Anchors) -> String {
    let file = &anchors.file;
    if facts.is_self_signed {
        return format!(
            "signed itself, and is not in {file}: put exactly this certificate there, if it is to be trusted"
        );
    }
    let issuer = &facts.issuer;
    if anchors.facts.iter().any(|anchor| anchor.subject == *issuer) {
        return another_key(facts, anchors);
    }
    let known: Vec<_> =
        anchors.facts.iter().map(|anchor| anchor.subject.as_str()).take(AUTHORITIES_TOLD_MAX).collect();
    let more = if anchors.facts.len() > known.len() { " and others" } else { "" };
    format!(
        "was signed by {issuer}, which is not in {file} (there: {}{more}): put that authority's certificate there, or let the other side \
         send what stands between",
        known.join("; ")
    )
}

fn weak_signature(facts: &Facts, anchors: &Anchors) -> String {
    let with = &facts.signed_with;
    match signer_s_weak_key(facts, anchors) {
        Some(key) => format!(
            "was signed by {} with {key}, which is not trusted: make the authority's key anew with {}",
            facts.issuer,
            recipe::KEY
        ),
        None => format!("was signed with {with}, which is not trusted: sign it anew with `-sha256`"),
    }
}

fn bad_signature(facts: &Facts, anchors: &Anchors) -> String {
    match signer_s_weak_key(facts, anchors) {
        Some(_) => weak_signature(facts, anchors),
        None => another_key(facts, anchors),
    }
}

fn another_key(facts: &Facts, anchors: &Anchors) -> String {
    format!(
        "was signed by {} with another key than the one of that name in {} has, or is damaged: that authority was made anew, so \
         one of the two is old",
        facts.issuer, anchors.file
    )
}

fn signer_s_weak_key<'a>(facts: &Facts, anchors: &'a Anchors) -> Option<&'a String> {
    anchors
        .facts
        .iter()
        .filter(|anchor| anchor.subject == facts.issuer)
        .find_map(|anchor| anchor.weak_key.as_ref())
}

fn unknown_extension(facts: &Facts) -> String {
    format!(
        "has an extension that must be understood and is not known here ({}): make it without, or not critical",
        facts.unknown_extensions.join(", ")
    )
}

/// What is wrong with a chain, by the verifier's own name for it.
fn chain(kind: &str, file: &str) -> String {
    match kind {
        "CaUsedAsEndEntity" => format!(
            "is an authority's own (CA:TRUE), and is trusted as the other side's only if exactly it is in {file}: put it there, or make one \
             for the purpose"
        ),
        "EndEntityUsedAsCa" => "was signed by a certificate that may sign none (CA:FALSE, or no basicConstraints): sign it with an authority's".to_owned(),
        "PathLenConstraintViolated" => "has more certificates above it than its authority allows (pathlen): sign it with another".to_owned(),
        "NameConstraintViolation" => "has a name that its authority may not give (nameConstraints): sign it with another, or give it another name".to_owned(),
        "MaximumPathDepthExceeded" | "MaximumSignatureChecksExceeded" | "MaximumPathBuildCallsExceeded" => {
            "comes with more certificates than are looked at: let the other side send the few that stand between".to_owned()
        }
        "UnsupportedCertVersion" => "is of an X.509 version other than 3".to_owned(),
        "SignatureAlgorithmMismatch" => "says in two places that it is signed in two ways: it is damaged".to_owned(),
        "EmptyEkuExtension" => "is for nothing at all (an empty extendedKeyUsage)".to_owned(),
        "InvalidSerialNumber" => "has a serial number that is no positive number of up to 20 bytes".to_owned(),
        "ExtensionValueInvalid" | "MalformedExtensions" | "UnsupportedNameType" | "MalformedDnsIdentifier" | "MalformedNameConstraint"
        | "InvalidNetworkMaskConstraint" => "has an extension that is wrongly made".to_owned(),
        kind => format!("cannot be verified ({kind})"),
    }
}
