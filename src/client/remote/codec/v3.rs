//! MQTT 3.1.1: no properties, so no response topics, and no reasons beyond a few codes.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Login, Packet, Publish, Subscribe, SubscribeFilter,
    SubscribeReasonCode, Unsubscribe,
};
use rumqttc::mqttbytes::{Error, QoS};

use super::{Accepted, Config, Fate, Incoming, PACKET_BYTES_MAX, Status, malformed, unwritable};
use crate::mqtt::packet::{Header, kind, u16_at};
use crate::mqtt::{Message, Qos};

pub fn read(input: &mut BytesMut, bytes_max: u32) -> Result<Option<Incoming>, String> {
    match Packet::read(input, bytes_max as usize) {
        Ok(packet) => incoming(packet).map(Some),
        // Too large a message is [`too_large`] as soon as its packet id is there.
        Err(Error::PayloadSizeLimitExceeded(_)) if input[0] >> 4 == kind::PUBLISH => Ok(None),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(cause) => Err(malformed(cause)),
    }
}

/// A message that is larger than is accepted.
pub struct Large {
    pub id: u16,
    pub qos: Qos,
    pub bytes: usize,
}

/// The message at the head of `input`, if it is too large and so much of it is there
/// that it can be acknowledged.
pub fn too_large(input: &[u8], bytes_max: u32) -> Option<Large> {
    let header = Header::read(input).ok()??;
    if header.kind() != kind::PUBLISH || header.body_bytes <= bytes_max as usize {
        return None;
    }
    let body = &input[header.header_bytes..];
    let topic_bytes = usize::from(u16_at(body, 0).ok()?);
    let qos = Qos::from_bits((header.first >> 1) & 3)?;
    let id = if qos == Qos::AtMostOnce { 0 } else { u16_at(body, 2 + topic_bytes).ok()? };
    Some(Large { id, qos, bytes: header.packet_bytes() })
}

fn incoming(packet: Packet) -> Result<Incoming, String> {
    Ok(match packet {
        Packet::ConnAck(ack) => match refusal(ack.code) {
            Some(reason) => Incoming::Refused(reason.to_owned()),
            None => {
                Incoming::ConnAck(Accepted { session_present: ack.session_present, ..Accepted::default() })
            }
        },
        Packet::Publish(publish) => Incoming::Publish { id: publish.pkid, message: message(publish) },
        Packet::PubAck(ack) => Incoming::PubAck(ack.pkid, Fate::Taken),
        Packet::PubRec(ack) => Incoming::PubRec(ack.pkid, Fate::Taken),
        Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        Packet::PubComp(complete) => Incoming::PubComp(complete.pkid),
        Packet::SubAck(ack) => {
            let reasons = ack.return_codes.iter().map(|code| match code {
                // A broker may grant less than was asked for (3.8.4). Without acknowledgements there is no
                // promise to keep, which is better said than found out.
                SubscribeReasonCode::Success(QoS::AtMostOnce) => {
                    Some("it grants QoS 0 alone, at which requests can be lost".to_owned())
                }
                SubscribeReasonCode::Success(_) => None,
                SubscribeReasonCode::Failure => Some("it does not say why (0x80)".to_owned()),
            });
            Incoming::SubAck(ack.pkid, reasons.collect())
        }
        Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        Packet::PingResp => Incoming::PingResp,
        other => return Err(malformed(other)),
    })
}

fn refusal(code: ConnectReturnCode) -> Option<&'static str> {
    match code {
        ConnectReturnCode::Success => None,
        ConnectReturnCode::RefusedProtocolVersion => {
            Some("it does not speak MQTT 3.1.1; set remote.protocol = \"5\"")
        }
        ConnectReturnCode::BadClientId => Some("it does not accept the client id (remote.client_id)"),
        ConnectReturnCode::ServiceUnavailable => Some("it is not available now"),
        ConnectReturnCode::BadUserNamePassword => {
            Some("user name or password is wrong (remote.username, remote.password_file)")
        }
        ConnectReturnCode::NotAuthorized => {
            Some("this client is not authorized (remote.username, remote.password_file, remote.client_id)")
        }
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: Bytes::from(publish.topic),
        payload: publish.payload,
        qos: Qos::from_bits(publish.qos as u8).unwrap_or_default(),
        retain: publish.retain,
        received_at: None,
        is_duplicate: publish.dup,
        ..Message::default()
    }
}

pub fn connect(config: &Config, status: Option<&Status>, output: &mut BytesMut) -> Result<(), String> {
    let mut connect = Connect::new(&config.client_id);
    connect.keep_alive = config.keep_alive_s();
    // In 3.1.1 the one flag is both whether an old session goes on and whether this one stays (3.1.2.4); how
    // long it stays is for the broker to decide.
    connect.clean_session = !config.keeps_session();
    connect.last_will = status.map(|Status { topic, offline, .. }| {
        LastWill::new(topic, offline.clone().into_bytes(), QoS::AtLeastOnce, true)
    });
    connect.login = config.credentials.as_ref().map(|(user, password)| Login::new(user, password));
    write(&Packet::Connect(connect), PACKET_BYTES_MAX, output)
}

pub fn publish(
    id: u16,
    is_duplicate: bool,
    message: &Message,
    bytes_max: u32,
    output: &mut BytesMut,
) -> Result<(), String> {
    let publish = Publish {
        dup: is_duplicate,
        qos: quality(message.qos),
        retain: message.retain,
        topic: String::from_utf8_lossy(&message.topic).into_owned(),
        pkid: id,
        payload: message.payload.clone(),
    };
    write(&Packet::Publish(publish), bytes_max, output)
}

pub fn subscribe(id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
    let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = id;
    write(&Packet::Subscribe(subscribe), PACKET_BYTES_MAX, output)
}

pub fn unsubscribe(id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
    let unsubscribe = Unsubscribe { pkid: id, topics: filters.to_vec() };
    write(&Packet::Unsubscribe(unsubscribe), PACKET_BYTES_MAX, output)
}

fn write(packet: &Packet, bytes_max: u32, output: &mut BytesMut) -> Result<(), String> {
    packet.write(output, bytes_max as usize).map(drop).map_err(unwritable)
}

fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
