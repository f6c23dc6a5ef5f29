//! CONNECT: read, judged, and answered.

use std::borrow::Cow;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::first_words::Spoken;
use crate::broker::access::{Credentials, Denied, Login};
use crate::broker::codec::connect::{self, Connect, Welcome};
use crate::broker::codec::reason::Reason;
use crate::broker::codec::{Version, peek};
use crate::broker::config::ConnectionLimits;
use crate::broker::limits::charge::Charge;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::shares::Owner;
use crate::broker::session::context::Context;
use crate::broker::session::hello::Hello;
use crate::broker::session::peer::Peer;
use crate::broker::session::will::Will;
use crate::broker::work::{BYTES_PER_UNIT, Slice};
use crate::mqtt::packet::{first, u16_at};

/// A CONNACK with every property but the assigned client id is not larger, and
/// neither is that property. Clients that take less are refused.
const CONNACK_BYTES_MAX: usize = 24;
const ASSIGNED_ID_BYTES_MAX: usize = 37;

/// What a socket that has not said CONNECT takes of memory beside what was read from it.
pub const CONNECTING_BYTES: usize = 12 * 1024;

/// Why a CONNECT is not accepted: for the client, and for whoever runs the broker.
pub struct Fault {
    pub reason: Reason,
    pub cause: Cause,
    /// What the cause does not say; empty for nothing.
    pub why: Cow<'static, str>,
}

impl Fault {
    fn new(reason: Reason, cause: Cause) -> Self {
        Self { reason, cause, why: Cow::Borrowed("") }
    }

    /// The time for CONNECT is over, and so many bytes have come.
    pub fn late(bytes: usize) -> Self {
        let late = Self::new(Reason::UNSPECIFIED, Cause::ConnectTimeout);
        if bytes == 0 { late } else { late.because(format!("of its CONNECT {bytes} bytes came in time")) }
    }

    /// The time is over, and the login is not checked yet.
    pub fn login_late() -> Self {
        Self::new(Reason::SERVER_UNAVAILABLE, Cause::LoginTimeout)
    }

    fn because(self, why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), ..self }
    }
}

impl From<Reason> for Fault {
    /// A CONNECT that cannot be read.
    fn from(reason: Reason) -> Self {
        let cause = if reason == Reason::PACKET_TOO_LARGE { Cause::PacketBytes } else { Cause::Malformed };
        Self::new(reason, cause)
    }
}

/// A CONNECT that was not accepted: the CONNACK for it, or nothing where the client would not understand one.
pub struct Refusal {
    pub answer: Vec<u8>,
    pub fault: Fault,
    /// Who the client said to be; empty where it did not say.
    pub client_id: String,
    pub user: String,
}

impl Refusal {
    pub fn silent(fault: Fault) -> Self {
        Self { answer: Vec::new(), fault, client_id: String::new(), user: String::new() }
    }

    /// In MQTT 5 the reason itself; in 3.1.1 the nearest of its five return codes, or nothing.
    pub fn new(version: Version, fault: Fault) -> Self {
        let answer = match (version, fault.reason) {
            (Version::V5, reason) => {
                let properties = reason.properties();
                [&[first::CONNACK, 2 + properties.len() as u8, 0, reason.0][..], &properties].concat()
            }
            (_, Reason::CLIENT_ID_INVALID) => vec![first::CONNACK, 2, 0, 2],
            (_, Reason::SERVER_UNAVAILABLE | Reason::QUOTA_EXCEEDED) => vec![first::CONNACK, 2, 0, 3],
            (_, Reason::BAD_CREDENTIALS) => vec![first::CONNACK, 2, 0, 4],
            (_, Reason::NOT_AUTHORIZED) => vec![first::CONNACK, 2, 0, 5],
            _ => Vec::new(),
        };
        Self { answer, ..Self::silent(fault) }
    }

    /// The refusal of a client whose CONNECT is in order.
    pub fn of(hello: &Hello, reason: Reason, cause: Cause) -> Self {
        let refusal = Self::new(hello.version, Fault::new(reason, cause));
        refusal.within(hello.packet_bytes_max).said(&hello.client_id, hello.user.as_deref())
    }

    /// Leaves the words out where the client does not take a packet of that size.
    fn within(mut self, packet_bytes_max: usize) -> Self {
        if self.answer.len() > packet_bytes_max {
            self.answer = vec![first::CONNACK, 3, 0, self.fault.reason.0, 0];
        }
        self
    }

    /// Adds who the client said to be.
    fn said(mut self, client_id: &str, user: Option<&str>) -> Self {
        client_id.clone_into(&mut self.client_id);
        user.unwrap_or_default().clone_into(&mut self.user);
        self
    }
}

/// A first packet that is whole.
pub struct Frame {
    bytes: BytesMut,
    header_bytes: usize,
}

/// Reads from `input` until there is a CONNECT. What follows it stays in `buffer`.
/// `None` when the client has left before.
pub async fn read_connect(
    context: &Context,
    limits: &ConnectionLimits,
    input: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    charge: &mut Charge,
) -> Result<Option<Frame>, Refusal> {
    loop {
        if let Some(&first) = buffer.first()
            && first != first::CONNECT
        {
            return Err(Refusal::silent(no_connect(first)));
        }
        match peek(buffer, limits.packet_bytes_max).map_err(|reason| Refusal::silent(reason.into()))? {
            Some(header) if buffer.len() >= header.packet_bytes() => {
                let bytes = buffer.split_to(header.packet_bytes());
                // A copy of what follows, so that a client that is idle does not keep the block
                // that its CONNECT came in.
                *buffer = BytesMut::from(&buffer[..]);
                context.traffic.connects.add(1);
                context.traffic.received.packets.add(1);
                return Ok(Some(Frame { bytes, header_bytes: header.header_bytes }));
            }
            _ => match input.read_buf(buffer).await {
                Ok(read) if read > 0 => {
                    context.traffic.received.bytes.add(read as u64);
                    let held = CONNECTING_BYTES + buffer.len();
                    if !charge.may_be(held) {
                        return Err(Refusal::silent(Fault::new(Reason::QUOTA_EXCEEDED, Cause::Memory)));
                    }
                    charge.set(held);
                }
                _ => return Ok(None),
            },
        }
    }
}

/// What is wrong with a client that begins with this byte.
fn no_connect(first: u8) -> Fault {
    let instead = Spoken::by(first).instead_of_connect();
    match (instead, first >> 4) {
        // MQTT's other packets.
        ("", kind @ 2..=14) => Fault::new(Reason::PROTOCOL_ERROR, Cause::NoConnect)
            .because(format!("its first packet was not CONNECT but of kind {kind}")),
        ("", _) => Fault::new(Reason::PROTOCOL_ERROR, Cause::NotMqtt),
        (instead, _) => Fault::new(Reason::PROTOCOL_ERROR, Cause::NotMqtt).because(instead),
    }
}

/// Judges a CONNECT.
pub async fn judge(
    context: &Context,
    limits: &ConnectionLimits,
    peer: &Peer,
    frame: &Frame,
) -> Result<Hello, Refusal> {
    let version = version(&frame.bytes[frame.header_bytes..])?;
    let refuse = |fault| Refusal::new(version, fault);
    // A large one is gone through in one go, once it has its turn.
    context.turns.go_on(&mut Slice::new(), frame.bytes.len() / BYTES_PER_UNIT).await;
    let mut connect = connect::read(&frame.bytes, version).map_err(|reason| refuse(reason.into()))?;
    let packet_bytes_max = client_packet_bytes_max(&connect);
    let (client_id, login) = (connect.client_id.clone(), connect.login.take());
    let credentials = login.as_ref().map(|(username, password)| Credentials { username, password });
    let certificate = peer.identity.as_deref();
    let user = certificate.or(credentials.map(|credentials| credentials.username));
    let refuse = |fault| Refusal::new(version, fault).within(packet_bytes_max).said(&client_id, user);
    let mut hello = hello(context, limits, peer, version, connect).map_err(refuse)?;
    let login = Login { client_id: &client_id, peer: peer.address, credentials, certificate };
    // Only a client whose CONNECT is in order costs the hashing of a password.
    let admitted = context.config.access.authenticate(login).await;
    let denied = |denied: Denied| refuse(Fault::new(denied.reason(), denied.cause()).because(denied.why()));
    hello.user = admitted.map_err(denied)?;
    hello.is_certified = certificate.is_some();
    hello.is_local = peer.address.to_canonical().is_loopback();
    hello.owner = Owner::of(hello.user.as_ref(), peer.address);
    let who = hello.identity(hello.client_id.as_str().into());
    if let Some(will) = &hello.will
        && let Err(cause) = will.judge(context, &who)
    {
        return Err(refuse(Fault::new(Reason::NOT_AUTHORIZED, cause).because(will.description(cause))));
    }
    if !context.bus.life.is_serving() {
        return Err(refuse(Fault::new(Reason::SERVER_UNAVAILABLE, Cause::Stopping)));
    }
    Ok(hello)
}

/// The largest packet that the client takes.
fn client_packet_bytes_max(connect: &Connect) -> usize {
    connect.packet_bytes_max.map_or(usize::MAX, |bytes| bytes as usize)
}

/// The protocol's name, level and flags.
fn version(body: &[u8]) -> Result<Version, Refusal> {
    let silent = |reason: Reason| Refusal::silent(reason.into());
    let name_bytes = usize::from(u16_at(body, 0).map_err(|malformed| silent(malformed.into()))?);
    let rest = body.get(2..).unwrap_or_default();
    let (Some(name), Some(&level), Some(&flags)) =
        (rest.get(..name_bytes), rest.get(name_bytes), rest.get(name_bytes + 1))
    else {
        return Err(silent(Reason::MALFORMED));
    };
    let unsupported = || {
        Fault::new(Reason::UNSUPPORTED_VERSION, Cause::Version)
            .because(format!("it speaks level {level} of MQTT, where 3.1.1 is 4 and 5 is 5"))
    };
    let version = match (name, level) {
        (b"MQTT", 4) => Version::V311,
        (b"MQTT", 5) => Version::V5,
        // A later version may understand MQTT 5's answer; an earlier one understands that of 3.1.
        (b"MQTT", 6..) => return Err(Refusal::new(Version::V5, unsupported())),
        (b"MQTT" | b"MQIsdp", _) => {
            return Err(Refusal { answer: vec![first::CONNACK, 2, 0, 1], ..Refusal::silent(unsupported()) });
        }
        _ => return Err(silent(Reason::MALFORMED)),
    };
    let is_reserved_set = flags & 0b1 != 0;
    let is_password_alone = flags & 0b1100_0000 == 0b0100_0000;
    // In MQTT 5 a password may come without a user name (MQTT 5, 3.1.2.9).
    if is_reserved_set || (is_password_alone && version == Version::V311) {
        return Err(Refusal::new(version, Reason::MALFORMED.into()));
    }
    Ok(version)
}

fn hello(
    context: &Context,
    limits: &ConnectionLimits,
    peer: &Peer,
    version: Version,
    connect: Connect,
) -> Result<Hello, Fault> {
    // Without an id there is nothing by which a session could be found again [MQTT-3.1.3-8].
    if connect.client_id.is_empty() && version == Version::V311 && !connect.is_clean {
        return Err(Fault::new(Reason::CLIENT_ID_INVALID, Cause::ClientId));
    }
    let own_limits = &context.config.limits;
    if connect.client_id.len() > own_limits.client_id_bytes_max {
        return Err(Fault::new(Reason::CLIENT_ID_INVALID, Cause::ClientIdBytes));
    }
    let packet_bytes_max = client_packet_bytes_max(&connect);
    let will = connect.will.map(Will::new);
    if let Some(will) = &will {
        let invalid = |cause| Fault::new(Reason::TOPIC_INVALID, cause);
        let name = will.topic_name().ok_or_else(|| invalid(Cause::WillTopic))?;
        match own_limits.broken_by(name) {
            None => {}
            Some(Limit::TopicLevels) => return Err(invalid(Cause::WillTopicLevels)),
            Some(_) => return Err(invalid(Cause::WillTopicBytes)),
        }
    }
    // 3.1.1 has no expiry: a session that is not clean is kept for as long as it may be.
    let is_kept = version == Version::V311 && !connect.is_clean;
    let mut hello = Hello {
        version,
        client_id: connect.client_id,
        is_clean: connect.is_clean,
        keep_alive_s: connect.keep_alive_s,
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
        peer: peer.clone(),
        owner: Owner::default(),
    };
    // The client must use what the server says instead (MQTT 5, 3.2.2.3.14); 3.1.1 cannot be told.
    if version == Version::V5 && hello.keep_alive_s > limits.keep_alive_max_s {
        hello.keep_alive_s = limits.keep_alive_max_s;
        hello.server_keep_alive_s = Some(limits.keep_alive_max_s);
    }
    if version == Version::V5 {
        // A client that takes nothing cannot be served (MQTT 5, 3.1.2.11.3 and 3.1.2.11.4).
        if connect.receive_max == Some(0) || connect.packet_bytes_max == Some(0) {
            return Err(
                Fault::from(Reason::PROTOCOL_ERROR).because("its receive maximum or packet size is 0")
            );
        }
        // A method that the server does not support is refused (MQTT 5, 4.12).
        if connect.wants_authentication {
            return Err(Fault::new(Reason::BAD_AUTHENTICATION, Cause::Authentication));
        }
        // Absent means that the session ends with the connection (MQTT 5, 3.1.2.11.2).
        hello.expiry_asked_s = connect.expiry_s.unwrap_or(0);
        hello.window = connect.receive_max.map_or(hello.window, |asked| asked.min(hello.window));
        hello.packet_bytes_max = packet_bytes_max;
        let assigned_bytes = if hello.client_id.is_empty() { ASSIGNED_ID_BYTES_MAX } else { 0 };
        if hello.packet_bytes_max < CONNACK_BYTES_MAX + assigned_bytes {
            // It could not be told that it is accepted.
            return Err(Fault::new(Reason::PACKET_TOO_LARGE, Cause::ClientPacketBytes));
        }
        hello.aliases_max = connect.aliases_max.unwrap_or(0).min(context.config.limits.topic_aliases_max);
    }
    hello.expiry_s = hello.expiry_asked_s.min(context.config.limits.session_expiry_max_s);
    Ok(hello)
}

/// The CONNACK for an accepted CONNECT.
pub fn connack(
    context: &Context,
    limits: &ConnectionLimits,
    hello: &Hello,
    session_present: bool,
    assigned_client_id: Option<String>,
) -> Vec<u8> {
    if hello.version == Version::V311 {
        return vec![first::CONNACK, 2, session_present.into(), 0];
    }
    let welcome = Welcome {
        is_session_present: session_present,
        receive_max: context.config.limits.receive_max,
        packet_bytes_max: u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX),
        aliases_max: context.config.limits.topic_aliases_max,
        expiry_s: (hello.expiry_s != hello.expiry_asked_s).then_some(hello.expiry_s),
        client_id: assigned_client_id,
        keep_alive_s: hello.server_keep_alive_s,
    };
    welcome.encode()
}
