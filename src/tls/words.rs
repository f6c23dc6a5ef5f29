//! A handshake that failed, in words: what a verifier said, what the other side answered, or what came that
//! is no TLS.

use std::cell::Cell;
use std::io;

use tokio_rustls::rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::recipe;

/// Which side of a handshake is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// We listen, a client comes.
    Listener,
    /// We connect to a broker.
    Dialer,
}

tokio::task_local! {
    /// What a verifier has to say about the handshake that is under way. The error that the library carries
    /// has no room for it, and the verifier belongs to all handshakes of a listener.
    static EXPLANATION: Cell<Option<String>>;
}

/// Says why a certificate is refused, to whoever waits for the handshake.
pub fn explain(why: String) {
    if EXPLANATION.try_with(|explanation| explanation.set(Some(why))).is_err() {
        tracing::debug!("a certificate was refused outside of a handshake");
    }
}

/// Performs a handshake. An error comes with its words.
///
/// # Errors
/// The handshake's own, which `cause` looks into.
pub async fn explained<T, E>(
    side: Side,
    handshake: impl Future<Output = Result<T, E>>,
    cause: impl FnOnce(&E) -> &io::Error,
) -> Result<T, (E, String)> {
    let handshake = async { (handshake.await, EXPLANATION.with(Cell::take)) };
    match EXPLANATION.scope(Cell::new(None), handshake).await {
        (Ok(done), _) => Ok(done),
        (Err(error), explanation) => {
            let words = explanation.unwrap_or_else(|| failure(cause(&error), side));
            Err((error, words))
        }
    }
}

fn failure(error: &io::Error, side: Side) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of(error, side),
        None => match (error.kind(), side) {
            (io::ErrorKind::UnexpectedEof, Side::Dialer) => {
                "the broker closed the connection in the middle of the handshake: is there TLS on that port?".to_owned()
            }
            (io::ErrorKind::UnexpectedEof, Side::Listener) => {
                "the client closed the connection in the middle of the handshake; many do so when they do not trust this listener's certificate"
                    .to_owned()
            }
            _ => format!("the connection broke in the middle of the handshake: {error}"),
        },
    }
}

fn of(error: &Error, side: Side) -> String {
    let other = match side {
        Side::Listener => "the client",
        Side::Dialer => "the broker",
    };
    match error {
        Error::AlertReceived(alert) => format!("{other} refuses: {}", alert_words(*alert, side)),
        Error::NoCertificatesPresented => {
            format!("{other} shows no certificate, and this listener asks for one (capath)")
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => format!("what {other} sends is no TLS: plain MQTT belongs to another port"),
        Error::PeerIncompatible(what) => {
            format!("{other} and this node have no way in common: {}", incompatible(what))
        }
        Error::InvalidCertificate(_) => {
            format!("{other} shows a certificate that cannot be used, or does not have its key")
        }
        Error::DecryptError
        | Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            format!("{other} does not keep to TLS ({error})")
        }
        error => format!("the handshake failed: {error}"),
    }
}

/// What the other side means by an alert, and what to do about it.
fn alert_words(alert: AlertDescription, side: Side) -> String {
    let ours = match side {
        Side::Listener => "this listener's certificate (certpath)",
        Side::Dialer => "this node's certificate (remote.tls.client_certificate)",
    };
    match alert {
        AlertDescription::UnknownCA => match side {
            Side::Listener => format!("it does not trust {ours}: give it the authority's certificate (`mosquitto_pub --cafile`)"),
            Side::Dialer => format!("it does not trust {ours}: sign it with an authority that the broker knows"),
        },
        AlertDescription::CertificateExpired => format!("{ours} is out of date by its clock: renew it"),
        AlertDescription::CertificateRequired => {
            "it asks for a certificate: name this node's with remote.tls.client_certificate and remote.tls.client_key".to_owned()
        }
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown | AlertDescription::UnsupportedCertificate => match side {
            Side::Listener => format!(
                "it cannot use {ours}; clients look for its name in subjectAltName, and most for X.509 version 3: {}",
                recipe::own_certificate("HOST")
            ),
            Side::Dialer => format!("it cannot use {ours}, or asks for one and got none: {}", recipe::CLIENT_CERTIFICATE),
        },
        AlertDescription::CertificateRevoked => format!("{ours} was revoked"),
        AlertDescription::AccessDenied => format!("{ours} is in order, and still it may not connect"),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "there is no cipher, curve or kind of signature in common, or it asks for a certificate".to_owned()
        }
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3".to_owned(),
        AlertDescription::UnrecognisedName => "it is not called by that name (remote.tls.server_name)".to_owned(),
        AlertDescription::NoApplicationProtocol => "it wants another protocol than MQTT (ALPN)".to_owned(),
        AlertDescription::DecryptError | AlertDescription::BadRecordMac => {
            "a signature or a record was wrong by its reckoning: the key may not belong to the certificate".to_owned()
        }
        AlertDescription::InternalError => "it has a fault of its own; its log says more".to_owned(),
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "it gave up".to_owned(),
        other => format!("{other:?}, as TLS calls it"),
    }
}

fn incompatible(what: &PeerIncompatible) -> String {
    match what {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "no cipher; here there are AES-GCM and ChaCha20-Poly1305".to_owned()
        }
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "no curve for the keys; here there are X25519, P-256 and P-384".to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            format!(
                "no kind of signature that fits the certificate's key: make a usual key with {}",
                recipe::KEY
            )
        }
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => "neither TLS 1.2 nor 1.3".to_owned(),
        other => format!("{other:?}, as the library calls it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_other_side_says_has_words() {
        let with = |error: Error, side| failure(&io::Error::new(io::ErrorKind::InvalidData, error), side);
        for (error, listener, dialer) in [
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "--cafile",
                "an authority that the broker knows",
            ),
            (Error::AlertReceived(AlertDescription::CertificateExpired), "clock", "clock"),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "asks for a certificate",
                "remote.tls.client_key",
            ),
            (Error::AlertReceived(AlertDescription::BadCertificate), "subjectAltName", "openssl x509"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "in common", "in common"),
            (Error::NoCertificatesPresented, "capath", "shows no certificate"),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), "TLS 1.2", "TLS 1.2"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no cipher", "AES-GCM"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "no TLS", "plain MQTT"),
        ] {
            for (side, part) in [(Side::Listener, listener), (Side::Dialer, dialer)] {
                let words = with(error.clone(), side);
                assert!(words.contains(part), "{error}: {words}");
            }
        }
        assert!(failure(&io::ErrorKind::UnexpectedEof.into(), Side::Listener).contains("do not trust"));
        assert!(
            failure(&io::ErrorKind::UnexpectedEof.into(), Side::Dialer).contains("is there TLS on that port")
        );
        assert!(failure(&io::Error::other("x"), Side::Dialer).ends_with(": x"));
    }
}
