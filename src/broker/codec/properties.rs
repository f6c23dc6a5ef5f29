//! The application's properties of a PUBLISH, as its publisher wrote them.
//!
//! What the broker passes on unchanged (payload format, content type, response topic, correlation data, user
//! properties) stays one block of bytes: checked in one pass without taking it apart, shared by all who hold
//! the message, and written by copying it. What is the broker's own (expiry, topic alias) is taken out.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use rumqttd::protocol::LastWillProperties;

use super::reason::Reason;
use super::wellformed::{self, text};
use crate::mqtt::packet::{put_string, put_varint, varint_bytes};
use crate::mqtt::{Properties, UserProperties, is_topic_name};

const PAYLOAD_FORMAT: u8 = 1;
const EXPIRY: u8 = 2;
const CONTENT_TYPE: u8 = 3;
const RESPONSE_TOPIC: u8 = 8;
const CORRELATION_DATA: u8 = 9;
const IDENTIFIER: u8 = 11;
const ALIAS: u8 = 35;
const USER: u8 = 38;

/// What two counters, a length and an allocator's own note take beside the block.
const BLOCK_OVERHEAD_BYTES: usize = 32;

/// The application's properties of a message; the default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationProperties(Option<Arc<[u8]>>);

/// The properties of a PUBLISH from a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read<'a> {
    pub application: ApplicationProperties,
    pub response_topic: Option<&'a str>,
    pub expiry_s: Option<u32>,
    pub alias: Option<u16>,
    /// What all of them take in the packet.
    pub block_bytes: usize,
}

/// Reads the properties of a PUBLISH from a client, without their length.
pub fn read(block: &[u8]) -> Result<Read<'_>, Reason> {
    let mut read = Read { block_bytes: block.len(), ..Read::default() };
    // Where the broker's own stand, in order. Each comes once, or the block would not be well formed.
    let (mut taken, mut count) = ([0..0, 0..0], 0);
    let mut has_identifier = false;
    wellformed::publish_properties(block, |property, value, range| match property {
        EXPIRY => {
            read.expiry_s = value.try_into().ok().map(u32::from_be_bytes);
            taken[count] = range;
            count += 1;
        }
        ALIAS => {
            read.alias = value.try_into().ok().map(u16::from_be_bytes);
            taken[count] = range;
            count += 1;
        }
        RESPONSE_TOPIC => read.response_topic = text(value),
        IDENTIFIER => has_identifier = true,
        _ => {}
    })?;
    if has_identifier || read.response_topic.is_some_and(|topic| !is_topic_name(topic)) {
        return Err(Reason::PROTOCOL_ERROR);
    }
    read.application = if count == 0 {
        ApplicationProperties::from_block(block)
    } else {
        let mut own = Vec::with_capacity(block.len());
        let mut at = 0;
        for range in &taken[..count] {
            own.extend_from_slice(&block[at..range.start]);
            at = range.end;
        }
        own.extend_from_slice(&block[at..]);
        ApplicationProperties::from_block(&own)
    };
    Ok(read)
}

impl ApplicationProperties {
    fn from_block(block: &[u8]) -> Self {
        Self((!block.is_empty()).then(|| block.into()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// As a packet has them.
    pub fn as_wire(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// What they take of memory beside the place where they are kept.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |block| BLOCK_OVERHEAD_BYTES + block.len())
    }

    /// Where its publisher wants answers.
    pub fn response_topic(&self) -> Option<&str> {
        let mut found = None;
        // They were checked when they came.
        let _sound = wellformed::publish_properties(self.as_wire(), |property, value, _| {
            if property == RESPONSE_TOPIC {
                found = text(value);
            }
        });
        found
    }

    /// As an application sees them; `expiry_s` is what is left of the message's life.
    pub fn to_application(&self, expiry_s: Option<u32>) -> Option<Box<Properties>> {
        if self.is_empty() && expiry_s.is_none() {
            return None;
        }
        let mut own = Properties { message_expiry_s: expiry_s, ..Properties::default() };
        let mut pairs = Vec::new();
        let block = self.as_wire();
        let owned = |value: &[u8]| text(value).map(str::to_owned);
        // They were checked when they came.
        let _sound = wellformed::publish_properties(block, |property, value, range| match property {
            PAYLOAD_FORMAT => own.payload_format_indicator = value.first().copied(),
            CONTENT_TYPE => own.content_type = owned(value),
            RESPONSE_TOPIC => own.response_topic = owned(value),
            CORRELATION_DATA => own.correlation_data = value.get(2..).map(Bytes::copy_from_slice),
            USER => pairs.extend_from_slice(&block[range]),
            _ => {}
        });
        own.user_properties = UserProperties::from_wire(pairs);
        Some(Box::new(own))
    }

    /// Those of an application; the expiry travels separately.
    pub fn of_application(own: &Properties) -> Self {
        let mut block = Vec::new();
        put_flag(&mut block, own.payload_format_indicator);
        put_text(&mut block, RESPONSE_TOPIC, own.response_topic.as_deref().map(str::as_bytes));
        put_text(&mut block, CORRELATION_DATA, own.correlation_data.as_deref());
        block.extend_from_slice(own.user_properties.as_wire());
        put_text(&mut block, CONTENT_TYPE, own.content_type.as_deref().map(str::as_bytes));
        Self::from_block(&block)
    }

    /// Those of a will, which the codec has taken apart, and the user's as they were written.
    pub fn of_will(own: Option<&LastWillProperties>, user_properties: &[u8]) -> Self {
        let mut block = Vec::new();
        if let Some(own) = own {
            put_flag(&mut block, own.payload_format_indicator);
            put_text(&mut block, RESPONSE_TOPIC, own.response_topic.as_deref().map(str::as_bytes));
            put_text(&mut block, CORRELATION_DATA, own.correlation_data.as_deref());
            put_text(&mut block, CONTENT_TYPE, own.content_type.as_deref().map(str::as_bytes));
        }
        block.extend_from_slice(user_properties);
        Self::from_block(&block)
    }
}

fn put_flag(block: &mut Vec<u8>, flag: Option<u8>) {
    if let Some(flag) = flag {
        block.extend_from_slice(&[PAYLOAD_FORMAT, flag]);
    }
}

/// Text and binary data are written alike.
fn put_text(block: &mut Vec<u8>, property: u8, text: Option<&[u8]>) {
    if let Some(text) = text {
        block.push(property);
        put_string(block, text);
    }
}

/// What the broker says of a message to one client, beside the application's properties.
pub struct Told<'a> {
    pub expiry_s: Option<u32>,
    pub alias: Option<u16>,
    pub identifiers: &'a [usize],
}

impl Told<'_> {
    pub fn wire_bytes(&self) -> usize {
        let identifiers = self.identifiers.iter().map(|&identifier| 1 + varint_bytes(identifier));
        5 * usize::from(self.expiry_s.is_some())
            + 3 * usize::from(self.alias.is_some())
            + identifiers.sum::<usize>()
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        if let Some(expiry_s) = self.expiry_s {
            out.push(EXPIRY);
            out.put_u32(expiry_s);
        }
        if let Some(alias) = self.alias {
            out.push(ALIAS);
            out.put_u16(alias);
        }
        for &identifier in self.identifiers {
            out.push(IDENTIFIER);
            put_varint(out, identifier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Properties {
        Properties {
            response_topic: Some("answers".to_owned()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            message_expiry_s: None,
            content_type: Some("text/plain".to_owned()),
            payload_format_indicator: Some(1),
            user_properties: [("k", "v"), ("", ""), ("k", "ü")].into_iter().collect(),
        }
    }

    #[test]
    fn an_applications_properties_read_back() {
        let own = ApplicationProperties::of_application(&everything());
        assert_eq!(own.response_topic(), Some("answers"));
        assert_eq!(own.to_application(None).as_deref(), Some(&everything()));
        let left = own.to_application(Some(7)).unwrap();
        assert_eq!(*left, Properties { message_expiry_s: Some(7), ..everything() });
        assert_eq!(ApplicationProperties::default().to_application(None), None);
    }

    #[test]
    fn the_brokers_own_are_taken_out_and_the_rest_stays_as_it_was_written() {
        let user = [38, 0, 1, b'k', 0, 0];
        let block = [&user[..], &[2, 0, 0, 0, 9], &[1, 1], &[35, 0, 3], &user].concat();
        let found = read(&block).unwrap();
        assert_eq!((found.expiry_s, found.alias, found.response_topic), (Some(9), Some(3), None));
        assert_eq!(found.application.as_wire(), [&user[..], &[1, 1], &user].concat());
        let bare = read(&[35, 0, 3]).unwrap();
        assert!(bare.application.is_empty() && bare.alias == Some(3));
        assert_eq!(read(&user).unwrap().application.as_wire(), user);
    }

    #[test]
    fn what_no_client_may_say_is_refused() {
        for (block, reason) in [
            (&[11, 1][..], Reason::PROTOCOL_ERROR),
            (&[8, 0, 1, b'#'], Reason::PROTOCOL_ERROR),
            (&[8, 0, 0], Reason::PROTOCOL_ERROR),
            (&[1, 2], Reason::PROTOCOL_ERROR),
            (&[2, 0, 0, 0, 1, 2, 0, 0, 0, 1], Reason::PROTOCOL_ERROR),
            (&[38, 0, 1, 0, 0, 0], Reason::MALFORMED),
            (&[38, 0, 1, 255, 0, 0], Reason::MALFORMED),
            (&[38, 0, 0], Reason::MALFORMED),
        ] {
            assert_eq!(read(block), Err(reason), "{block:?}");
        }
    }
}
