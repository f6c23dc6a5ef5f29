//! User properties: the name-value pairs of an MQTT 5 message, kept as MQTT writes them.
//!
//! A pair may be as small as five bytes in a packet. As two strings it would take ten times that,
//! so that a packet of a megabyte would become ten of memory for everyone who holds the message.

use std::fmt;

use bytes::BufMut;

/// The property's number (MQTT 5, 3.3.2.3.7).
const USER_PROPERTY: u8 = 38;
/// The longest name or value that MQTT's length prefix can carry.
const TEXT_BYTES_MAX: usize = 65_535;

/// Name-value pairs, in order. A name may come more than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserProperties(Vec<u8>);

impl UserProperties {
    /// An empty list, to which pairs are added with [`push`](Self::push).
    pub fn new() -> Self {
        Self::default()
    }

    /// Pairs in the form in which a packet has them; what is not well formed ends them.
    pub(crate) fn from_wire(block: Vec<u8>) -> Self {
        Self(block)
    }

    /// The pairs in the form in which a packet has them.
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Adds a pair. What is longer than MQTT can carry is cut.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.put_u8(USER_PROPERTY);
        for text in [name, value] {
            let text = cut(text);
            self.0.put_u16(text.len() as u16);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        Pairs(&self.0)
    }

    /// What they take of memory.
    pub fn bytes(&self) -> usize {
        self.0.capacity()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut own = Self::default();
        pairs.into_iter().for_each(|(name, value)| own.push(name.as_ref(), value.as_ref()));
        own
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As much of `text` as MQTT can carry.
fn cut(text: &str) -> &str {
    let fits = |&at: &usize| text.is_char_boundary(at);
    (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(fits).map_or("", |at| &text[..at])
}

struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (&USER_PROPERTY, rest) = self.0.split_first()? else { return None };
        self.0 = rest;
        Some((self.text()?, self.text()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_back_in_order_and_take_no_more_than_in_a_packet() {
        let pairs = [("k", "v"), ("", ""), ("ü", "k"), ("k", "again")];
        let own: UserProperties = pairs.into_iter().collect();
        assert_eq!(own.iter().collect::<Vec<_>>(), pairs);
        assert_eq!((own.len(), own.is_empty(), own.as_wire().len()), (4, false, 20 + 1 + 1 + 2 + 1 + 1 + 5));
        assert_eq!(UserProperties::from_wire(own.as_wire().to_vec()), own);
    }

    #[test]
    fn what_is_longer_than_mqtt_can_carry_is_cut_and_what_is_malformed_ends() {
        let own: UserProperties = [("ü".repeat(40_000), "v")].into_iter().collect();
        assert_eq!(own.iter().map(|(name, value)| (name.len(), value)).collect::<Vec<_>>(), [(65_534, "v")]);
        for malformed in [&[38, 0, 9, 1][..], &[37, 0, 0, 0, 0], &[38, 0, 1, 255, 0, 0]] {
            assert_eq!(UserProperties::from_wire(malformed.to_vec()).len(), 0);
        }
    }
}
