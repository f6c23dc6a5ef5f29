//! CONNECT: read, judged, and answered.

use super::access::{Credentials, Identity, Login};
use super::codec::{self, Version, kind, peek, u16_at};
use super::config::ConnectionLimits;
use super::peer::Peer;
use super::reached::Limit;
use super::reason::Reason;
use super::server::Server;
use super::shares::Owner;
use super::will::Will;
use bytes::{BufMut, BytesMut};
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, ConnectReturnCode, Packet, Protocol, v5::V5,
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A CONNACK with every property but the assigned client id is not larger, and neither is that property. Clients that take
/// less are refused.
const CONNACK_BYTES_MAX: usize = 24;
const ASSIGNED_ID_BYTES_MAX: usize = 37;

/// A CONNECT that was accepted.
pub(super) struct Hello {
    pub version: Version,
    /// Empty when the client wants one from us.
    pub client_id: String,
    pub is_clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive_s: u16,
    /// Seconds that the session outlives the connection, as asked for and as given.
    pub expiry_asked_s: u32,
    pub expiry_s: u32,
    /// Unacknowledged QoS 1 and 2 messages that the client takes.
    pub window: u16,
    /// The largest packet that the client takes.
    pub packet_bytes_max: usize,
    /// Topic aliases that the client takes.
    pub aliases_max: u16,
    pub will: Option<Will>,
    /// The keep-alive that the client is given instead of its own.
    pub server_keep_alive_s: Option<u16>,
    /// The user that the client has proved to be.
    pub user: Option<Arc<str>>,
    /// By a certificate.
    pub is_certified: bool,
    /// From this machine.
    pub is_local: bool,
    /// Whom what it takes is counted to.
    pub owner: Owner,
}

impl Hello {
    /// Who the client is, once it has its id.
    pub fn identity(&self, client_id: Arc<str>) -> Identity {
        Identity {
            client_id,
            user: self.user.clone(),
            is_certified: self.is_certified,
            is_local: self.is_local,
        }
    }
}

/// A CONNECT that was not accepted: the CONNACK for it, or nothing where the client would not understand one.
pub(super) struct Refusal {
    pub answer: Vec<u8>,
    pub reason: Reason,
}

impl Refusal {
    fn silent(reason: Reason) -> Self {
        Self { answer: Vec::new(), reason }
    }

    /// In MQTT 5 the reason itself; in 3.1.1 the nearest of its five return codes, or nothing.
    pub fn new(version: Version, reason: Reason) -> Self {
        let answer = match (version, reason) {
            (Version::V5, _) => {
                let properties = reason.properties();
                [&[0x20, 2 + properties.len() as u8, 0, reason.0][..], &properties].concat()
            }
            (_, Reason::CLIENT_ID_INVALID) => vec![0x20, 2, 0, 2],
            (_, Reason::SERVER_UNAVAILABLE | Reason::QUOTA_EXCEEDED) => vec![0x20, 2, 0, 3],
            (_, Reason::BAD_CREDENTIALS) => vec![0x20, 2, 0, 4],
            (_, Reason::NOT_AUTHORIZED) => vec![0x20, 2, 0, 5],
            _ => Vec::new(),
        };
        Self { answer, reason }
    }

    /// The same without words where the client does not take a packet of that size.
    fn within(mut self, packet_bytes_max: usize) -> Self {
        if self.answer.len() > packet_bytes_max {
            self.answer = vec![0x20, 3, 0, self.reason.0, 0];
        }
        self
    }
}

/// Reads from `input` until there is a CONNECT, and judges it. What follows it stays in `buffer`.
pub(super) async fn read_connect(
    server: &Server,
    limits: &ConnectionLimits,
    peer: &Peer,
    input: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Hello, Refusal> {
    loop {
        if buffer.first().is_some_and(|&first| first != kind::CONNECT << 4) {
            return Err(Refusal::silent(Reason::PROTOCOL_ERROR));
        }
        match peek(buffer, limits.packet_bytes_max).map_err(Refusal::silent)? {
            Some(header) if buffer.len() >= header.packet_bytes() => {
                let frame = buffer.split_to(header.packet_bytes());
                server.traffic.connects.add(1);
                server.traffic.received.packets.add(1);
                return judge(server, limits, peer, &frame, header.header_bytes).await;
            }
            _ => match input.read_buf(buffer).await {
                Ok(read) if read > 0 => server.traffic.received.bytes.add(read as u64),
                _ => return Err(Refusal::silent(Reason::UNSPECIFIED)),
            },
        }
    }
}

async fn judge(
    server: &Server,
    limits: &ConnectionLimits,
    peer: &Peer,
    frame: &[u8],
    header_bytes: usize,
) -> Result<Hello, Refusal> {
    let version = version(&frame[header_bytes..])?;
    let refuse = |reason| Refusal::new(version, reason);
    let Packet::Connect(connect, properties, will, will_properties, login) =
        codec::decode(frame, version).map_err(refuse)?
    else {
        return Err(refuse(Reason::MALFORMED));
    };
    let packet_bytes_max = client_packet_bytes_max(properties.as_ref());
    let refuse = |reason| Refusal::new(version, reason).within(packet_bytes_max);
    let will = will.map(|will| Will::new(will, will_properties));
    let mut hello = hello(server, limits, version, connect, properties, will).map_err(refuse)?;
    let credentials =
        login.as_ref().map(|login| Credentials { username: &login.username, password: &login.password });
    let certificate = peer.identity.as_deref();
    let login = Login { client_id: &hello.client_id, peer: peer.address, credentials, certificate };
    hello.user = server.config.access.authenticate(login).await.map_err(|denied| {
        if let Some(limit) = denied.limit() {
            server.bus.reached.note(limit, peer.address);
        }
        refuse(denied.reason())
    })?;
    hello.is_certified = certificate.is_some();
    hello.is_local = peer.address.to_canonical().is_loopback();
    hello.owner = Owner::of(hello.user.as_ref(), peer.address);
    let who = hello.identity(hello.client_id.as_str().into());
    if hello.will.as_ref().is_some_and(|will| !will.is_allowed(server, &who)) {
        return Err(refuse(Reason::NOT_AUTHORIZED));
    }
    if !server.is_serving() {
        return Err(refuse(Reason::SERVER_UNAVAILABLE));
    }
    Ok(hello)
}

/// The largest packet that the client takes.
fn client_packet_bytes_max(properties: Option<&ConnectProperties>) -> usize {
    properties.and_then(|own| own.max_packet_size).map_or(usize::MAX, |bytes| bytes as usize)
}

/// The protocol's name, level and flags.
fn version(body: &[u8]) -> Result<Version, Refusal> {
    let name_bytes = usize::from(u16_at(body, 0).map_err(Refusal::silent)?);
    let rest = body.get(2..).unwrap_or_default();
    let (Some(name), Some(&level), Some(&flags)) =
        (rest.get(..name_bytes), rest.get(name_bytes), rest.get(name_bytes + 1))
    else {
        return Err(Refusal::silent(Reason::MALFORMED));
    };
    let version = match (name, level) {
        (b"MQTT", 4) => Version::V311,
        (b"MQTT", 5) => Version::V5,
        (b"MQTT", 6..) => return Err(Refusal::new(Version::V5, Reason::UNSUPPORTED_VERSION)),
        (b"MQTT" | b"MQIsdp", _) => {
            return Err(Refusal { answer: vec![0x20, 2, 0, 1], reason: Reason::UNSUPPORTED_VERSION });
        }
        _ => return Err(Refusal::silent(Reason::MALFORMED)),
    };
    let is_reserved_set = flags & 0b1 != 0;
    let is_password_alone = flags & 0b1100_0000 == 0b0100_0000;
    if is_reserved_set || (is_password_alone && version == Version::V311) {
        return Err(Refusal::new(version, Reason::MALFORMED));
    }
    Ok(version)
}

fn hello(
    server: &Server,
    limits: &ConnectionLimits,
    version: Version,
    connect: Connect,
    properties: Option<ConnectProperties>,
    will: Option<Will>,
) -> Result<Hello, Reason> {
    if connect.client_id.is_empty() && version == Version::V311 && !connect.clean_session {
        return Err(Reason::CLIENT_ID_INVALID);
    }
    let own_limits = &server.config.limits;
    if connect.client_id.len() > own_limits.client_id_bytes_max {
        server.bus.reached.note(Limit::ClientIdBytes, "a CONNECT");
        return Err(Reason::CLIENT_ID_INVALID);
    }
    if let Some(will) = &will {
        let name = will.topic_name().ok_or(Reason::TOPIC_INVALID)?;
        if let Some(limit) = own_limits.broken_by(name) {
            server.bus.reached.note(limit, &connect.client_id);
            return Err(Reason::TOPIC_INVALID);
        }
    }
    let is_kept = version == Version::V311 && !connect.clean_session;
    let mut hello = Hello {
        version,
        client_id: connect.client_id,
        is_clean: connect.clean_session,
        keep_alive_s: connect.keep_alive,
        expiry_asked_s: if is_kept { u32::MAX } else { 0 },
        expiry_s: 0,
        window: limits.inflight_messages_max,
        packet_bytes_max: usize::MAX,
        aliases_max: 0,
        will,
        server_keep_alive_s: None,
        user: None,
        is_certified: false,
        is_local: false,
        owner: Owner::default(),
    };
    if version == Version::V5 && hello.keep_alive_s > limits.keep_alive_max_s {
        hello.keep_alive_s = limits.keep_alive_max_s;
        hello.server_keep_alive_s = Some(limits.keep_alive_max_s);
    }
    if let Some(own) = properties.filter(|_| version == Version::V5) {
        if own.receive_maximum == Some(0) || own.max_packet_size == Some(0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if own.authentication_method.is_some() {
            return Err(Reason::BAD_AUTHENTICATION);
        }
        hello.expiry_asked_s = own.session_expiry_interval.unwrap_or(0);
        hello.window = own.receive_maximum.map_or(hello.window, |asked| asked.min(hello.window));
        hello.packet_bytes_max = client_packet_bytes_max(Some(&own));
        let assigned_bytes = if hello.client_id.is_empty() { ASSIGNED_ID_BYTES_MAX } else { 0 };
        if hello.packet_bytes_max < CONNACK_BYTES_MAX + assigned_bytes {
            // It could not be told that it is accepted.
            return Err(Reason::PACKET_TOO_LARGE);
        }
        hello.aliases_max = own.topic_alias_max.unwrap_or(0).min(server.config.limits.topic_aliases_max);
    }
    hello.expiry_s = hello.expiry_asked_s.min(server.config.limits.session_expiry_max_s);
    Ok(hello)
}

/// The CONNACK for an accepted CONNECT.
pub(super) fn connack(
    server: &Server,
    limits: &ConnectionLimits,
    hello: &Hello,
    session_present: bool,
    assigned_client_id: Option<String>,
) -> Vec<u8> {
    if hello.version == Version::V311 {
        return vec![0x20, 2, session_present.into(), 0];
    }
    let properties = ConnAckProperties {
        session_expiry_interval: (hello.expiry_s != hello.expiry_asked_s).then_some(hello.expiry_s),
        receive_max: Some(server.config.limits.receive_max),
        max_packet_size: Some(u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX)),
        topic_alias_max: Some(server.config.limits.topic_aliases_max),
        assigned_client_identifier: assigned_client_id,
        server_keep_alive: hello.server_keep_alive_s,
        ..ConnAckProperties::default()
    };
    let mut bytes = BytesMut::new();
    let packet =
        Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success }, Some(properties));
    if V5.write(packet, &mut bytes).is_err() {
        // Cannot happen with these properties; without them the packet is still a CONNACK.
        bytes.clear();
        bytes.put_slice(&[0x20, 3, session_present.into(), 0, 0]);
    }
    bytes.to_vec()
}
