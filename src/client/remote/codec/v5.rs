//! MQTT 5 in rumqttc's packets: properties, reasons in words, and the broker's limits.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter,
    LastWill, Login, Packet, PubAckReason, PubRecReason, Publish, PublishProperties, RetainForwardRule,
    SubAck, Subscribe, SubscribeReasonCode, Unsubscribe,
};
use rumqttc::v5::mqttbytes::{Error, QoS};

use super::{Accepted, Config, Fate, Incoming, PACKET_BYTES_MAX, Status, malformed, unwritable};
use crate::mqtt::packet::first;
use crate::mqtt::{Message, Properties, Qos, UserProperties};

pub fn read(input: &mut BytesMut, bytes_max: u32) -> Result<Option<Incoming>, String> {
    // Reason 0 may be left out, and the length is 0 then (5.0, 3.14.2.1).
    // The codec does not know a DISCONNECT without a reason.
    if input.starts_with(&[first::DISCONNECT, 0]) {
        input.advance(2);
        return Ok(Some(Incoming::Disconnect("it gave no reason".to_owned())));
    }
    match Packet::read(input, Some(bytes_max)) {
        Ok(packet) => incoming(packet).map(Some),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(cause) => Err(malformed(cause)),
    }
}

fn incoming(packet: Packet) -> Result<Incoming, String> {
    Ok(match packet {
        Packet::ConnAck(ack) => connack(ack),
        Packet::Publish(publish) => {
            // Only with an alias may the topic be empty, and we leave out Topic Alias Maximum, which means
            // none (5.0, 3.1.2.11.5).
            if publish.topic.is_empty() {
                return Err("the broker used a topic alias, which was not offered".to_owned());
            }
            Incoming::Publish { id: publish.pkid, message: message(publish) }
        }
        Packet::PubAck(ack) => Incoming::PubAck(ack.pkid, puback_fate(ack.reason)),
        Packet::PubRec(ack) => Incoming::PubRec(ack.pkid, pubrec_fate(ack.reason)),
        Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        Packet::PubComp(complete) => Incoming::PubComp(complete.pkid),
        Packet::SubAck(ack) => suback(ack),
        Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        Packet::PingResp(_) => Incoming::PingResp,
        Packet::Disconnect(disconnect) => Incoming::Disconnect(farewell(disconnect)),
        other => return Err(malformed(other)),
    })
}

fn connack(ack: ConnAck) -> Incoming {
    let (reason_string, limits) = match ack.properties {
        Some(properties) => {
            let limits = Accepted {
                session_present: ack.session_present,
                receive_max: properties.receive_max,
                packet_bytes_max: properties.max_packet_size,
                keep_alive_s: properties.server_keep_alive,
            };
            (properties.reason_string, limits)
        }
        None => (None, Accepted { session_present: ack.session_present, ..Accepted::default() }),
    };
    let reason = match ack.code {
        ConnectReturnCode::Success => return Incoming::ConnAck(limits),
        ConnectReturnCode::BadUserNamePassword => {
            "user name or password is wrong (remote.username, remote.password_file)".to_owned()
        }
        ConnectReturnCode::NotAuthorized => {
            "this client is not authorized (remote.username, remote.password_file, remote.client_id)"
                .to_owned()
        }
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => {
            "it does not accept the client id (remote.client_id)".to_owned()
        }
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            "it does not speak MQTT 5; set remote.protocol = \"3.1.1\"".to_owned()
        }
        other => format!("{other:?}"),
    };
    Incoming::Refused(with(reason_string, reason))
}

fn suback(ack: SubAck) -> Incoming {
    let reasons = ack.return_codes.iter().map(|code| match code {
        SubscribeReasonCode::Success(QoS::AtMostOnce) => {
            Some("it grants QoS 0 alone, at which requests can be lost".to_owned())
        }
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::NotAuthorized => Some("this client may not (0x87, not authorized)".to_owned()),
        SubscribeReasonCode::SharedSubscriptionsNotSupported => {
            Some("it has no shared subscriptions (0x9E)".to_owned())
        }
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => {
            Some("it has no wildcards in subscriptions (0xA2)".to_owned())
        }
        code => Some(format!("{code:?}")),
    });
    Incoming::SubAck(ack.pkid, reasons.collect())
}

fn farewell(disconnect: Disconnect) -> String {
    let said = disconnect.properties.and_then(|properties| properties.reason_string);
    with(
        said,
        match disconnect.reason_code {
            DisconnectReasonCode::SessionTakenOver => {
                "another client has connected with the same client id; give each node a node_id (or remote.client_id) of its own".to_owned()
            }
            DisconnectReasonCode::ServerShuttingDown => "it is shutting down".to_owned(),
            other => format!("{other:?}"),
        },
    )
}

fn with(reason_string: Option<String>, reason: String) -> String {
    match reason_string {
        Some(said) => format!("{reason}; it says {said:?}"),
        None => reason,
    }
}

fn puback_fate(reason: PubAckReason) -> Fate {
    match reason {
        // That nobody subscribes to answers now (0x10, which is no error) is not to be mended by sending it
        // again.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Fate::Taken,
        // These the broker would say again of the same bytes. Whatever else it says, such as 0x97, quota
        // exceeded, may pass.
        PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            Fate::Refused(format!("{reason:?}"))
        }
        _ => Fate::Postponed(format!("{reason:?}")),
    }
}

fn pubrec_fate(reason: PubRecReason) -> Fate {
    match reason {
        PubRecReason::Success | PubRecReason::NoMatchingSubscribers => Fate::Taken,
        PubRecReason::NotAuthorized | PubRecReason::TopicNameInvalid | PubRecReason::PayloadFormatInvalid => {
            Fate::Refused(format!("{reason:?}"))
        }
        _ => Fate::Postponed(format!("{reason:?}")),
    }
}

fn message(publish: Publish) -> Message {
    let properties = publish.properties.map(|properties| {
        Box::new(Properties {
            response_topic: properties.response_topic,
            // A copy, so that it does not pin the whole packet for as long as the answer takes.
            correlation_data: properties.correlation_data.map(|data| Bytes::copy_from_slice(&data)),
            message_expiry_s: properties.message_expiry_interval,
            content_type: properties.content_type,
            payload_format_indicator: properties.payload_format_indicator,
            user_properties: properties.user_properties.into_iter().collect(),
        })
    });
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: Qos::from_bits(publish.qos as u8).unwrap_or_default(),
        retain: publish.retain,
        properties,
        sender: None,
        received_at: None,
        is_duplicate: publish.dup,
        receipt: None,
    }
}

pub fn connect(config: &Config, status: Option<&Status>, output: &mut BytesMut) -> Result<(), String> {
    let will = status.map(|Status { topic, offline, .. }| {
        // Retained, as the online status is: a will that is not would leave "online" with the broker for
        // ever.
        LastWill::new(topic, offline.clone(), QoS::AtLeastOnce, true, None)
    });
    let login = config.credentials.as_ref().map(|(user, password)| Login::new(user, password));
    let connect = Connect {
        keep_alive: config.keep_alive_s(),
        client_id: config.client_id.clone(),
        clean_start: !config.keeps_session(),
        properties: Some(ConnectProperties {
            session_expiry_interval: Some(config.session_expiry_s()),
            // 0 would be a protocol error (5.0, 3.1.2.11.3).
            receive_maximum: Some(config.receive_max.max(1)),
            max_packet_size: Some(config.packet_bytes_max),
            ..ConnectProperties::new()
        }),
    };
    write(&Packet::Connect(connect, will, login), PACKET_BYTES_MAX, output)
}

/// In the codec's form.
fn pairs(properties: &UserProperties) -> Vec<(String, String)> {
    properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub fn publish(
    id: u16,
    is_duplicate: bool,
    message: &Message,
    bytes_max: u32,
    output: &mut BytesMut,
) -> Result<(), String> {
    let properties = message.properties.as_deref().map(|properties| PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        message_expiry_interval: properties.message_expiry_s,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: pairs(&properties.user_properties),
        content_type: properties.content_type.clone(),
        ..PublishProperties::default()
    });
    let publish = Publish {
        dup: is_duplicate,
        qos: quality(message.qos),
        retain: message.retain,
        topic: message.topic.clone(),
        pkid: id,
        payload: message.payload.clone(),
        properties,
    };
    write(&Packet::Publish(publish), bytes_max, output)
}

pub fn subscribe(id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
    let filters = filters.iter().map(|filter| {
        // A QoS 2 request comes at QoS 1 then [MQTT-3.8.4-8]: what comes twice is known again here, so the
        // second round trip of QoS 2 would buy nothing.
        let mut filter = Filter::new(filter.clone(), QoS::AtLeastOnce);
        // A retained request is one request, not one at every reconnection.
        filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
        filter
    });
    let mut subscribe = Subscribe::new_many(filters, None);
    subscribe.pkid = id;
    write(&Packet::Subscribe(subscribe), PACKET_BYTES_MAX, output)
}

pub fn unsubscribe(id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
    let unsubscribe = Unsubscribe { pkid: id, filters: filters.to_vec(), properties: None };
    write(&Packet::Unsubscribe(unsubscribe), PACKET_BYTES_MAX, output)
}

fn write(packet: &Packet, bytes_max: u32, output: &mut BytesMut) -> Result<(), String> {
    packet.write(output, Some(bytes_max)).map(drop).map_err(unwritable)
}

fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
