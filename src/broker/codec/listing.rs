//! The filters of a SUBSCRIBE or UNSUBSCRIBE, read from its frame one after the
//! other: there may be a quarter of a million of them.
//!
//! All are gone through twice. A fault ends the connection, so it must be found
//! before the session has any of the subscriptions.

use bytes::Bytes;

use super::reason::Reason;
use super::topic::parse_filter;
use super::wellformed::{self, ListHead};
use super::{Version, peek};
use crate::broker::work::Slice;
use crate::mqtt::Qos;
use crate::mqtt::packet::kind;

/// No local, of a SUBSCRIBE's options.
const NO_LOCAL: u8 = 0b100;

/// How often a filter's bytes are gone through each time the list is: for its text,
/// its form, and its depth or its name.
pub const PASSES: usize = 3;

/// One filter of the list.
pub struct Entry<'a> {
    pub filter: &'a str,
    pub options: u8,
}

/// When a subscription gets the retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainHandling {
    Always,
    IfNew,
    Never,
}

impl Entry<'_> {
    pub fn qos(&self) -> Qos {
        Qos::from_bits(self.options & 0b11).unwrap_or_default()
    }

    pub fn no_local(&self) -> bool {
        self.options & NO_LOCAL != 0
    }

    pub fn retain_as_published(&self) -> bool {
        self.options & 0b1000 != 0
    }

    pub fn retain_handling(&self) -> RetainHandling {
        match self.options >> 4 & 0b11 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            _ => RetainHandling::Never,
        }
    }
}

/// A packet that lists filters, and how far it has been dealt with.
pub struct Listing {
    frame: Bytes,
    is_subscribe: bool,
    version: Version,
    pub packet_id: u16,
    pub identifier: Option<usize>,
    /// Where the filters begin in the frame, and the next one.
    first: usize,
    next: usize,
    /// Filters that were checked; `is_checked` once that is all of them.
    count: usize,
    is_checked: bool,
    /// The answers to those that have been dealt with.
    pub codes: Vec<u8>,
}

impl Listing {
    pub fn new(frame: &Bytes, version: Version) -> Result<Self, Reason> {
        let header = peek(frame, usize::MAX)?.ok_or(Reason::MALFORMED)?;
        let is_subscribe = header.kind() == kind::SUBSCRIBE;
        let body = &frame[header.header_bytes..];
        let ListHead { packet_id, identifier, bytes } = wellformed::list_head(body, is_subscribe, version)?;
        let first = header.header_bytes + bytes;
        Ok(Self {
            frame: frame.clone(),
            is_subscribe,
            version,
            packet_id,
            identifier,
            first,
            next: first,
            count: 0,
            is_checked: false,
            codes: Vec::new(),
        })
    }

    /// Goes on with looking for faults. Whether that is done.
    pub fn check(&mut self, slice: &mut Slice) -> Result<bool, Reason> {
        while !self.is_checked && !slice.is_over() {
            let (entry, next) = self.entry_at(self.next)?;
            slice.spend(1);
            slice.spend_bytes(PASSES * entry.filter.len());
            if self.is_subscribe {
                let subscribed = parse_filter(entry.filter).ok_or(Reason::FILTER_INVALID)?;
                if subscribed.group.is_some() && entry.no_local() {
                    return Err(Reason::PROTOCOL_ERROR);
                }
            }
            self.count += 1;
            self.next = next;
            if next == self.frame.len() {
                self.is_checked = true;
                self.next = self.first;
            }
        }
        Ok(self.is_checked)
    }

    /// How many filters there are; known once they have been checked.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether each filter has its answer.
    pub fn is_answered(&self) -> bool {
        self.codes.len() == self.count
    }

    /// The next filter that is to be dealt with.
    pub fn next(&self) -> Result<Entry<'_>, Reason> {
        self.entry_at(self.next).map(|(entry, _)| entry)
    }

    /// It has been, and this is the answer.
    pub fn answer(&mut self, code: u8) -> Result<(), Reason> {
        self.next = self.entry_at(self.next)?.1;
        self.codes.push(code);
        Ok(())
    }

    fn entry_at(&self, at: usize) -> Result<(Entry<'_>, usize), Reason> {
        let left = &self.frame[at..];
        let (filter, options, left) = if self.is_subscribe {
            wellformed::filter_with_options(left, self.version)?
        } else {
            let (filter, left) = wellformed::filter(left)?;
            (filter, 0, left)
        };
        Ok((Entry { filter, options }, self.frame.len() - left.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packet::{first, put_packet, put_string};

    fn subscribe(filters: &[(&str, u8)]) -> Bytes {
        let mut body = vec![0, 7];
        for (filter, options) in filters {
            put_string(&mut body, filter.as_bytes());
            body.push(*options);
        }
        let mut frame = Vec::new();
        put_packet(&mut frame, first::SUBSCRIBE, &body);
        frame.into()
    }

    fn checked(frame: &Bytes) -> Result<Listing, Reason> {
        let mut listing = Listing::new(frame, Version::V311)?;
        while !listing.check(&mut Slice::new())? {}
        Ok(listing)
    }

    #[test]
    fn each_filter_is_read_in_its_turn() {
        let mut listing = checked(&subscribe(&[("a/#", 1), ("b", 2)])).unwrap();
        assert_eq!((listing.packet_id, listing.count()), (7, 2));
        for (filter, qos) in [("a/#", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce)] {
            let entry = listing.next().unwrap();
            assert_eq!((entry.filter, entry.qos()), (filter, qos));
            listing.answer(0).unwrap();
        }
        assert!(listing.is_answered());
    }

    #[test]
    fn a_fault_in_the_last_filter_is_found_before_the_first_is_dealt_with() {
        let many = vec![("a", 0); 5_000];
        for (last, fault) in [
            (("a#", 0), Reason::FILTER_INVALID),
            (("a", 3), Reason::PROTOCOL_ERROR),
            (("a", 4), Reason::MALFORMED),
        ] {
            let filters = [&many[..], &[last]].concat();
            assert_eq!(checked(&subscribe(&filters)).err(), Some(fault));
        }
        let whole = subscribe(&many);
        let mut cut = Listing::new(&whole.slice(..whole.len() - 1), Version::V311).unwrap();
        let fault = loop {
            match cut.check(&mut Slice::new()) {
                Ok(is_done) => assert!(!is_done),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault, Reason::MALFORMED);
    }
}
