//! From an accepted socket to a stream that speaks MQTT: TLS and WebSocket where the
//! listener has them, then the connection itself.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::arrival;
use super::first_words::Spoken;
use super::linger::{LINGER, linger};
use super::tls::{Admitted, NotAdmitted, TlsEntrance};
use super::websocket::{self, HandshakeFailure, MqttStream};
use crate::broker::config::{ConnectionLimits, Listener};
use crate::broker::limits::addresses::Place;
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::Owner;
use crate::broker::session::context::Context;
use crate::broker::session::peer::{Peer, UnderWay};
use crate::sync;
use crate::tcp::Socket;

/// A listener as its connections see it.
pub struct Entrance {
    /// The listener's name, to be shared.
    pub name: Arc<str>,
    pub listener: Listener,
    pub tls: Option<Arc<TlsEntrance>>,
}

/// A client on its way from the socket to its CONNECT.
struct Arrival {
    context: Arc<Context>,
    entrance: Arc<Entrance>,
    address: IpAddr,
    /// Held until the connection has ended.
    _place: Place,
    /// The number of the socket.
    socket: u64,
    /// When it must have said CONNECT.
    deadline: Instant,
}

/// Serves a socket in a task of its own, the handshake included: nothing that a
/// client does there keeps others waiting.
pub fn spawn(
    connections: &mut JoinSet<()>,
    context: Arc<Context>,
    entrance: Arc<Entrance>,
    stream: Socket,
    address: IpAddr,
    place: Place,
) {
    let deadline =
        sync::after(Instant::now().into_std(), entrance.listener.connections.connect_timeout).into();
    let tls = entrance.tls.clone();
    let (addresses, socket) = (context.addresses.clone(), place.number);
    let arrival = Arrival { context, entrance, address, _place: place, socket, deadline };
    // A task of another type for each kind, so that a plain connection does not take
    // the memory of the largest.
    let task = match (tls, arrival.entrance.listener.websocket.is_some()) {
        (None, false) => connections.spawn(arrival.mqtt(stream)),
        (Some(tls), false) => connections.spawn(arrival.mqtts(tls, stream)),
        (None, true) => connections.spawn(arrival.ws(stream)),
        (Some(tls), true) => connections.spawn(arrival.wss(tls, stream)),
    };
    addresses.watch(socket, task);
}

impl Arrival {
    async fn mqtt(self, stream: Socket) {
        let (limits, peer) = (self.limits(), self.peer(None));
        let (reader, writer) = stream.into_split();
        arrival::serve(self.context, limits, peer, reader, writer).await;
    }

    async fn mqtts(self, tls: Arc<TlsEntrance>, stream: Socket) {
        if let Some(Admitted { stream, identity }) = self.admit(&tls, stream).await {
            self.serve(stream, identity, UnderWay::default()).await;
        }
    }

    async fn ws(self, stream: Socket) {
        if let Some(stream) = self.upgrade(stream).await {
            let under_way = stream.under_way();
            self.serve(stream, None, under_way).await;
        }
    }

    async fn wss(self, tls: Arc<TlsEntrance>, stream: Socket) {
        let Some(Admitted { stream, identity }) = self.admit(&tls, stream).await else { return };
        if let Some(stream) = self.upgrade(stream).await {
            let under_way = stream.under_way();
            self.serve(stream, identity, under_way).await;
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite>(
        self,
        stream: S,
        identity: Option<String>,
        under_way: UnderWay,
    ) {
        let (limits, peer) = (self.limits(), Peer { under_way, ..self.peer(identity) });
        let (reader, writer) = tokio::io::split(stream);
        arrival::serve(self.context, limits, peer, reader, writer).await;
    }

    /// Performs the TLS handshake; `None` when the client is gone or was sent away.
    async fn admit(&self, tls: &TlsEntrance, mut stream: Socket) -> Option<Admitted> {
        let handshake = async {
            // A client that speaks no TLS is told apart here, for what TLS has to say of that helps nobody.
            let spoken = stream.first_byte().await.map(Spoken::by);
            (spoken, tls.admit(stream).await)
        };
        let (spoken, failed) = match self.in_time(handshake, Cause::TlsTimeout).await? {
            (_, Ok(admitted)) => return Some(admitted),
            (spoken, Err(failed)) => (spoken, failed),
        };
        let NotAdmitted { cause, why, stream } = failed;
        match spoken.map(Spoken::instead_of_tls) {
            // Whoever says nothing at all asks for nothing: some probes look whether the port is open.
            None => {
                tracing::debug!(listener = %self.entrance.name, peer = %self.address, "left without a word")
            }
            Some(Some(instead)) => self.refuse(Cause::NotTls, instead),
            Some(None) => self.refuse(cause, &why),
        }
        // So that the client reads the alert that says why.
        let (reader, writer) = stream.into_split();
        linger(reader, writer, LINGER).await;
        None
    }

    /// Performs the WebSocket handshake; `None` when the client is gone or was sent away.
    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<MqttStream<S>> {
        let listener = &self.entrance.listener;
        let rules = listener.websocket.as_ref()?;
        let handshake = websocket::shake_hands(&mut stream, rules);
        match self.in_time(handshake, Cause::WebSocketTimeout).await? {
            Ok(tail) => {
                let packet_bytes_max = listener.connections.packet_bytes_max;
                let socket = self.context.bus.memory.holder(Owner::of(None, self.address), None);
                let charge = socket.charge(MemoryKind::Connections, 0);
                return Some(MqttStream::new(stream, tail, packet_bytes_max, charge).await);
            }
            Err(HandshakeFailure::Lost(error)) => {
                tracing::debug!(listener = %listener.name, peer = %self.address, %error, "left before the WebSocket handshake");
            }
            Err(HandshakeFailure::Refused { cause, why, .. }) => self.refuse(cause, why.trim_end()),
        }
        // So that the client reads the answer that says why.
        let (reader, writer) = tokio::io::split(stream);
        linger(reader, writer, LINGER).await;
        None
    }

    /// Gives a handshake until the deadline, or until the broker stops. What is late is refused with `cause`.
    async fn in_time<T>(&self, handshake: impl Future<Output = T>, cause: Cause) -> Option<T> {
        tokio::select! {
            done = timeout_at(self.deadline, handshake) => {
                if done.is_err() {
                    self.refuse(cause, "");
                }
                done.ok()
            }
            () = self.context.stopped() => None,
        }
    }

    /// Counts and tells that the client is not let in.
    fn refuse(&self, cause: Cause, why: &str) {
        self.context.bus.refuse(cause, why, &self.peer(None).who("", ""), "");
    }

    /// The listener's limits, with what the handshakes left of the time to say CONNECT.
    fn limits(&self) -> ConnectionLimits {
        let connect_timeout = self.deadline.saturating_duration_since(Instant::now());
        ConnectionLimits { connect_timeout, ..self.entrance.listener.connections.clone() }
    }

    fn peer(&self, identity: Option<String>) -> Peer {
        let listener = self.entrance.name.clone();
        let Self { address, socket, .. } = *self;
        Peer { address, listener, socket, identity, under_way: UnderWay::default() }
    }
}
