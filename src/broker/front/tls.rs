//! TLS at a listener: the handshake, the client's name, and certificates that change while the broker runs.

use std::sync::{Arc, Mutex};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::certificates::{self, CertificateError};
use super::identity;
use crate::broker::config::Tls;
use crate::broker::limits::refused::Cause;
use crate::broker::reload::Reload;
use crate::sync::lock;
use crate::tcp::Socket;
use crate::tls::{Side, explained};

/// A listener's TLS.
pub struct TlsEntrance {
    listener: String,
    settings: Tls,
    /// What the next handshake uses. Those that went before keep theirs, and so do the connections they made.
    current: Mutex<Arc<ServerConfig>>,
}

/// A client that TLS let in.
pub struct Admitted {
    pub stream: TlsStream<Socket>,
    /// The name that the client's certificate proves, where names come from certificates.
    pub identity: Option<String>,
}

/// A client that TLS did not let in.
pub struct NotAdmitted {
    pub cause: Cause,
    pub why: String,
    /// On it an alert for the client may still be under way.
    pub stream: Socket,
}

impl TlsEntrance {
    /// Reads the listener's files.
    pub fn new(listener: &str, settings: &Tls) -> Result<Self, CertificateError> {
        let current = Mutex::new(load(listener, settings)?);
        Ok(Self { listener: listener.to_owned(), settings: settings.clone(), current })
    }

    /// Performs the handshake.
    pub async fn admit(&self, stream: Socket) -> Result<Admitted, NotAdmitted> {
        let acceptor = TlsAcceptor::from(lock(&self.current).clone());
        let handshake = acceptor.accept(stream).into_fallible();
        let stream = explained(Side::Listener, handshake, |(error, _)| error)
            .await
            .map_err(|((_, stream), why)| NotAdmitted { cause: Cause::Tls, why, stream })?;
        match self.identity(&stream) {
            Ok(identity) => Ok(Admitted { stream, identity }),
            Err(why) => Err(NotAdmitted {
                cause: Cause::Identity,
                why: format!("{}: {why}", Cause::Identity.why()),
                stream: stream.into_inner().0,
            }),
        }
    }

    fn identity(&self, stream: &TlsStream<Socket>) -> Result<Option<String>, &'static str> {
        let Some(source) = self.settings.identity else { return Ok(None) };
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first).ok_or("there is none")?;
        identity::of(certificate, source).map(Some)
    }
}

fn load(listener: &str, settings: &Tls) -> Result<Arc<ServerConfig>, CertificateError> {
    let loaded = certificates::load(settings)?;
    for warning in loaded.warnings {
        tracing::warn!(listener, "{warning}");
    }
    Ok(loaded.config)
}

impl Reload for TlsEntrance {
    fn reload(&self) -> Result<(), String> {
        let listener = &self.listener;
        let config = load(listener, &self.settings).map_err(|error| {
            format!("listener {listener}: {error}; the certificates read before stay in force")
        })?;
        *lock(&self.current) = config;
        tracing::info!(listener, "certificates read again");
        Ok(())
    }
}
