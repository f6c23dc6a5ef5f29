//! Why a TLS handshake failed, in words for whoever runs the broker.

use std::io;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a handshake that ended with `error` failed. The client is called "it".
pub(super) fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "it hung up during the TLS handshake: some clients do that without a word where they do not trust the \
                listener's certificate"
            .to_owned();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of(error),
        None => format!("the TLS handshake failed: {error}"),
    }
}

fn of(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => rejected(*alert),
        Error::NoCertificatesPresented => {
            "it showed no certificate, and this listener asks for one (capath)".to_owned()
        }
        Error::InvalidCertificate(fault) => {
            format!("its certificate cannot be accepted: {}", certificate(fault))
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "it speaks an older version of TLS than 1.2".to_owned(),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        ) => format!("it has no cipher, key exchange or signature in common with this listener: {error}"),
        Error::InvalidMessage(_) => format!("what it sent is no TLS: {error}"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// An alert is the client's own word for what it does not like.
fn rejected(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "it does not trust the authority of the listener's certificate (unknown CA): it needs that as its ca file"
                .to_owned()
        }
        AlertDescription::CertificateExpired => {
            "it takes the listener's certificate for expired: it is, or the client's clock is wrong".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked => format!(
            "it does not accept the listener's certificate ({alert:?}): the certificate must have the name that it \
             connects to, and an authority that it trusts"
        ),
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.2 or 1.3".to_owned(),
        other => format!("it ended the TLS handshake with the alert {other:?}"),
    }
}

fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "none of the listener's authorities (capath) has signed it".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, or a clock is wrong".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients (extendedKeyUsage clientAuth)".to_owned()
        }
        CertificateError::BadSignature => "its signature is not its authority's".to_owned(),
        other => format!("{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_most_has_words_of_its_own() {
        let with = |error: Error| why(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, word) in [
            (Error::AlertReceived(AlertDescription::UnknownCA), "ca file"),
            (Error::AlertReceived(AlertDescription::CertificateExpired), "clock"),
            (Error::AlertReceived(AlertDescription::BadCertificate), "name that it connects to"),
            (Error::NoCertificatesPresented, "capath"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "authorities"),
            (Error::InvalidCertificate(CertificateError::Expired), "expired"),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), "older version"),
        ] {
            assert!(with(error.clone()).contains(word), "{error}: {}", with(error.clone()));
        }
        assert!(why(&io::ErrorKind::UnexpectedEof.into()).contains("hung up"));
        assert!(why(&io::Error::other("x")).ends_with("failed: x"));
    }
}
