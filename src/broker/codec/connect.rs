//! CONNECT as the broker needs it, and CONNACK: rumqttd's codec reads the one and writes the other.

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, ConnectReturnCode, LastWillProperties, Packet, Protocol, v5::V5,
};

use super::leaner::{Lean, lean};
use super::properties::ApplicationProperties;
use super::reason::Reason;
use super::{Version, decode};
use crate::mqtt::Qos;
use crate::mqtt::packet::first;

/// A CONNECT. What 3.1.1 cannot say is as if an MQTT 5 client had not said it.
pub struct Connect {
    /// Empty when the client wants one from us.
    pub client_id: String,
    pub is_clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive_s: u16,
    /// The user's name and password; each is empty where the other came alone.
    pub login: Option<(String, String)>,
    pub will: Option<LastWill>,
    pub expiry_s: Option<u32>,
    pub receive_max: Option<u16>,
    pub packet_bytes_max: Option<u32>,
    pub aliases_max: Option<u16>,
    /// It wants an extended authentication.
    pub wants_authentication: bool,
}

/// The will in a CONNECT.
pub struct LastWill {
    pub topic: Bytes,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub properties: ApplicationProperties,
    pub expiry_s: Option<u32>,
    /// Seconds between the connection's end and the will, while the session lives.
    pub delay_s: u32,
}

/// Reads a whole CONNECT.
pub fn read(frame: &[u8], version: Version) -> Result<Connect, Reason> {
    let Lean { frame, will_pairs } = lean(frame, version)?;
    let Packet::Connect(connect, own, will, will_properties, login) = decode(&frame, version)? else {
        return Err(Reason::MALFORMED);
    };
    let own = own.as_ref();
    Ok(Connect {
        client_id: connect.client_id,
        is_clean: connect.clean_session,
        keep_alive_s: connect.keep_alive,
        login: login.map(|login| (login.username, login.password)),
        will: will.map(|will| LastWill::new(&will, will_properties, &will_pairs)),
        expiry_s: own.and_then(|own| own.session_expiry_interval),
        receive_max: own.and_then(|own| own.receive_maximum),
        packet_bytes_max: own.and_then(|own| own.max_packet_size),
        aliases_max: own.and_then(|own| own.topic_alias_max),
        wants_authentication: own.is_some_and(|own| own.authentication_method.is_some()),
    })
}

impl LastWill {
    /// `user_properties` as they were written.
    fn new(
        will: &rumqttd::protocol::LastWill,
        properties: Option<LastWillProperties>,
        user_properties: &[u8],
    ) -> Self {
        let own = properties.as_ref();
        Self {
            // Copies, so that a will does not pin the block it was read in.
            topic: Bytes::copy_from_slice(&will.topic),
            payload: Bytes::copy_from_slice(&will.message),
            qos: Qos::from_bits(will.qos as u8).unwrap_or_default(),
            retain: will.retain,
            properties: ApplicationProperties::of_will(own, user_properties),
            expiry_s: own.and_then(|own| own.message_expiry_interval),
            delay_s: own.and_then(|own| own.delay_interval).unwrap_or(0),
        }
    }
}

/// What an MQTT 5 client is told when it is let in.
pub struct Welcome {
    pub is_session_present: bool,
    pub receive_max: u16,
    pub packet_bytes_max: u32,
    pub aliases_max: u16,
    /// Where it is not what the client asked for.
    pub expiry_s: Option<u32>,
    /// Where the client has none of its own.
    pub client_id: Option<String>,
    /// Instead of the client's own.
    pub keep_alive_s: Option<u16>,
}

impl Welcome {
    /// The CONNACK.
    pub fn encode(self) -> Vec<u8> {
        let properties = ConnAckProperties {
            session_expiry_interval: self.expiry_s,
            receive_max: Some(self.receive_max),
            max_packet_size: Some(self.packet_bytes_max),
            topic_alias_max: Some(self.aliases_max),
            assigned_client_identifier: self.client_id,
            server_keep_alive: self.keep_alive_s,
            ..ConnAckProperties::default()
        };
        let session_present = self.is_session_present;
        let packet =
            Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success }, Some(properties));
        let mut bytes = BytesMut::new();
        if V5.write(packet, &mut bytes).is_err() {
            // Cannot happen with these properties; without them the packet is still a CONNACK.
            bytes.clear();
            bytes.put_slice(&[first::CONNACK, 3, session_present.into(), 0, 0]);
        }
        bytes.to_vec()
    }
}
