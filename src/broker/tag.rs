//! What the router drops on the way travels through it in properties that no client sees.
//!
//! The router forgets a publish's QoS and RETAIN and never knew its sender or deadline. They ride in the payload format
//! indicator's spare bits and, only where needed, in one more user property at the end.

use crate::mqtt::{Properties, Qos, Sender};
use rumqttd::protocol::PublishProperties;

/// What a delivery must know about its publish beyond topic, payload and properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The QoS it was published with.
    pub qos: Qos,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// The publishing session; only set where that session has a no-local subscription.
    pub origin: Option<u64>,
    /// When it expires, in milliseconds of the bus's clock.
    pub deadline_ms: Option<u64>,
    /// Who published it; only set for in-process links that asked.
    pub sender: Option<Box<Sender>>,
}

const INDICATOR: u8 = 0b1;
const HAS_INDICATOR: u8 = 0b10;
const QOS_SHIFT: u8 = 2;
const RETAIN: u8 = 0b1_0000;
const HAS_EXTRA: u8 = 0b10_0000;

/// Hides `meta` in the publisher's properties. The usual publish (QoS 0, no properties) stays without any.
pub(super) fn tag(meta: Meta, properties: Option<PublishProperties>) -> Option<PublishProperties> {
    if properties.is_none() && meta == Meta::default() {
        return None;
    }
    let mut tagged = properties.unwrap_or_default();
    let mut bits = (meta.qos as u8) << QOS_SHIFT;
    if meta.retain {
        bits |= RETAIN;
    }
    if let Some(indicator) = tagged.payload_format_indicator {
        bits |= HAS_INDICATOR | (indicator & INDICATOR);
    }
    // The router must not know it: its expiry arithmetic is wrong, and it cannot see our queues.
    tagged.message_expiry_interval = None;
    if meta.origin.is_some() || meta.deadline_ms.is_some() || meta.sender.is_some() {
        bits |= HAS_EXTRA;
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut extra = format!("{}:{}", number(meta.origin), number(meta.deadline_ms));
        // A client id is never empty here, and a user name is last, because it may hold anything.
        let sender = meta.sender.map(|sender| *sender).unwrap_or_default();
        if let Some(user) = &sender.user {
            extra = format!("{extra}:{user}");
        }
        tagged.user_properties.push((sender.client_id, extra));
    }
    tagged.payload_format_indicator = Some(bits);
    Some(tagged)
}

/// What came out of the router, taken apart.
pub(super) struct Untagged {
    pub meta: Meta,
    /// Our own subscription id; `None` for a delivery whose subscription the router no longer knows.
    pub subscription: Option<usize>,
    /// The publisher's own properties.
    pub properties: Option<PublishProperties>,
}

/// Undoes [`tag`].
pub(super) fn untag(properties: Option<PublishProperties>) -> Untagged {
    let Some(mut own) = properties else {
        return Untagged { meta: Meta::default(), subscription: None, properties: None };
    };
    let subscription = own.subscription_identifiers.pop();
    own.subscription_identifiers = Vec::new();
    let mut meta = Meta::default();
    if let Some(bits) = own.payload_format_indicator.take() {
        meta.qos = Qos::from_bits((bits >> QOS_SHIFT) & 0b11).unwrap_or_default();
        meta.retain = bits & RETAIN != 0;
        own.payload_format_indicator = (bits & HAS_INDICATOR != 0).then_some(bits & INDICATOR);
        if bits & HAS_EXTRA != 0 {
            read_extra(own.user_properties.pop().unwrap_or_default(), &mut meta);
        }
    }
    let properties = (own != PublishProperties::default()).then_some(own);
    Untagged { meta, subscription, properties }
}

fn read_extra((client_id, extra): (String, String), meta: &mut Meta) {
    let mut parts = extra.splitn(3, ':');
    // Empty for none: 0 is a deadline too, in the first millisecond of the clock.
    let mut number = || parts.next().and_then(|text| text.parse().ok());
    (meta.origin, meta.deadline_ms) = (number(), number());
    if !client_id.is_empty() {
        meta.sender = Some(Box::new(Sender { client_id, user: parts.next().map(str::to_owned) }));
    }
}

/// The application's properties in the codec's form; the expiry travels separately.
pub(super) fn to_codec(properties: Properties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: properties.payload_format_indicator,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        content_type: properties.content_type,
        user_properties: properties.user_properties,
        ..PublishProperties::default()
    }
}

/// The codec's properties as an application sees them; `expiry_s` is what is left of the message's life.
pub(super) fn from_codec(
    properties: Option<PublishProperties>,
    expiry_s: Option<u32>,
) -> Option<Box<Properties>> {
    if properties.is_none() && expiry_s.is_none() {
        return None;
    }
    let own = properties.unwrap_or_default();
    Some(Box::new(Properties {
        response_topic: own.response_topic,
        correlation_data: own.correlation_data,
        message_expiry_s: expiry_s,
        content_type: own.content_type,
        payload_format_indicator: own.payload_format_indicator,
        user_properties: own.user_properties,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tag_is_undone_whatever_it_says(
            qos in 0u8..3, retain: bool, origin: Option<u64>, deadline_ms: Option<u64>,
            sender in prop::option::of((".+", prop::option::of(".*"))),
            indicator in prop::option::of(0u8..2), user in prop::collection::vec((".*", ".*"), 0..3),
        ) {
            let sender = sender.map(|(client_id, user)| Box::new(Sender { client_id, user }));
            let meta = Meta { qos: Qos::from_bits(qos).unwrap(), retain, origin, deadline_ms, sender };
            let own = PublishProperties {
                payload_format_indicator: indicator, user_properties: user, ..PublishProperties::default()
            };
            let expected = (own != PublishProperties::default()).then(|| own.clone());
            let untagged = untag(tag(meta.clone(), Some(own)));
            prop_assert_eq!(untagged.meta, meta);
            prop_assert_eq!(untagged.properties, expected);
        }
    }

    #[test]
    fn what_expires_in_the_first_millisecond_of_the_clock_expires() {
        let meta = Meta { deadline_ms: Some(0), ..Meta::default() };
        assert_eq!(untag(tag(meta.clone(), None)).meta, meta);
    }

    #[test]
    fn a_plain_publish_carries_nothing() {
        assert!(tag(Meta::default(), None).is_none());
    }
}
