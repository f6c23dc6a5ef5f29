//! One connection's side of a load, without its socket: bytes and times in, bytes and a tally out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use anyhow::bail;
use hdrhistogram::Histogram;
use serde::Deserialize;

use super::packets::{self, Incoming, Template, Version};
use crate::cli::Unusable;
use crate::mqtt::packet::{first, put_acknowledgement};

/// Requests of one connection that may be unanswered at a time, whatever the rate.
pub const IN_FLIGHT_MAX: usize = 1 << 20;

/// What one connection may have to write; beyond, requests wait, and are late where they are due at a time.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// What was written is cleared away in such pieces at least.
const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// What a run counts.
#[derive(Clone)]
pub struct Tally {
    /// Requests that were due before are not counted: the warm-up.
    pub since: Instant,
    /// From when a request was due, or sent where nothing says when it is due, to when its answer was read.
    pub latency_ns: Histogram<u64>,
    pub sent: u64,
    pub answered: u64,
    /// Errors of the node, by code.
    pub errors: BTreeMap<String, u64>,
    /// Requests that the broker refused.
    pub refused: u64,
    /// Answers that belong to no request of ours that is still open.
    pub strays: u64,
    pub last_answer: Instant,
}

impl Tally {
    pub fn new(since: Instant) -> Self {
        Self {
            since,
            latency_ns: Histogram::new(3).expect("three significant digits are possible"),
            sent: 0,
            answered: 0,
            errors: BTreeMap::new(),
            refused: 0,
            strays: 0,
            last_answer: since,
        }
    }

    /// Requests that came to an end.
    pub fn ended(&self) -> u64 {
        self.answered + self.errors.values().sum::<u64>() + self.refused
    }
}

/// An error of the node, as far as it is counted.
#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

/// What every connection of a load has in common.
#[derive(Debug, Clone)]
pub struct Speech {
    pub version: Version,
    pub qos: u8,
    /// Errors come on topics that begin like this.
    pub error_topic: String,
}

/// One connection.
pub struct Session {
    speech: Speech,
    /// They ask in turn.
    devices: Vec<String>,
    /// One for each device.
    templates: Vec<Template>,
    next: u64,
    /// When the requests from `oldest` on were due; `None` once they have ended.
    open: VecDeque<Option<Instant>>,
    oldest: u64,
    /// Requests without an answer.
    pub in_flight: usize,
    /// QoS 1 and 2 requests that the broker still takes before it acknowledges one.
    quota: usize,
    /// The request behind each packet id that is not acknowledged.
    by_packet_id: BTreeMap<u16, u64>,
    packet_id: u16,
    out: Vec<u8>,
    written: usize,
    partial: Vec<u8>,
}

impl Session {
    pub fn new(speech: Speech, devices: Vec<String>, templates: Vec<Template>, receive_max: u16) -> Self {
        Self {
            speech,
            devices,
            templates,
            next: 0,
            open: VecDeque::new(),
            oldest: 0,
            in_flight: 0,
            quota: receive_max.into(),
            by_packet_id: BTreeMap::new(),
            packet_id: 0,
            out: Vec::new(),
            written: 0,
            partial: Vec::new(),
        }
    }

    /// Whether the broker takes one more request now.
    pub fn may_send(&self) -> bool {
        self.open.len() < IN_FLIGHT_MAX
            && self.unwritten().len() < UNWRITTEN_BYTES_MAX
            && (self.speech.qos == 0 || self.quota > 0)
    }

    /// Writes the next request, which was due at `due`.
    pub fn request(&mut self, due: Instant, tally: &mut Tally) {
        let number = self.next;
        self.next += 1;
        if self.speech.qos > 0 {
            self.quota -= 1;
            self.packet_id = self.free_packet_id();
            self.by_packet_id.insert(self.packet_id, number);
        }
        let device = self.device(number);
        self.templates[device].append(&mut self.out, self.packet_id, number);
        self.open.push_back(Some(due));
        self.in_flight += 1;
        tally.sent += u64::from(due >= tally.since);
    }

    /// The device that asks request `number`.
    fn device(&self, number: u64) -> usize {
        (number % self.templates.len() as u64) as usize
    }

    fn free_packet_id(&self) -> u16 {
        let mut id = self.packet_id;
        loop {
            // At most 65,535 are taken, and then the quota is used up.
            id = id.wrapping_add(1).max(1);
            if !self.by_packet_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// What is to be written to the socket.
    pub fn unwritten(&self) -> &[u8] {
        &self.out[self.written..]
    }

    pub fn note_written(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written >= WRITTEN_BYTES_MAX {
            // A broker that never takes all of it must not make it grow.
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// Takes what was read at `now`.
    ///
    /// # Errors
    /// When the broker ends the session, or sends what is not MQTT.
    pub fn take(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        if self.partial.is_empty() {
            let taken = self.take_packets(bytes, now, tally)?;
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            let taken = self.take_packets(&partial, now, tally)?;
            partial.drain(..taken);
            self.partial = partial;
        }
        Ok(())
    }

    /// Returns how many bytes made complete packets.
    fn take_packets(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((packet, length)) = packets::next(&bytes[at..], self.speech.version)? {
            at += length;
            match packet {
                Incoming::Publish { qos, packet_id, topic, payload } => {
                    match qos {
                        0 => {}
                        1 => put_acknowledgement(&mut self.out, first::PUBACK, packet_id),
                        _ => put_acknowledgement(&mut self.out, first::PUBREC, packet_id),
                    }
                    self.answer(topic, payload, now, tally);
                }
                Incoming::PubRel { packet_id } => {
                    put_acknowledgement(&mut self.out, first::PUBCOMP, packet_id)
                }
                Incoming::PubRec { packet_id } => {
                    put_acknowledgement(&mut self.out, first::PUBREL, packet_id)
                }
                Incoming::PubComp { packet_id } => self.release(packet_id, false, tally),
                Incoming::Acknowledged { packet_id, is_refused } => {
                    self.release(packet_id, is_refused, tally)
                }
                Incoming::Disconnect { code } => {
                    bail!("the broker ended the connection: {} ({code:#04x})", packets::in_words(code))
                }
                Incoming::ConnAck { .. } | Incoming::SubAck { .. } | Incoming::Other => {}
            }
        }
        Ok(at)
    }

    fn release(&mut self, packet_id: u16, is_refused: bool, tally: &mut Tally) {
        let Some(number) = self.by_packet_id.remove(&packet_id) else { return };
        // At PUBACK, PUBCOMP, or a PUBREC that refuses, and not before: that is what flow control counts
        // (5.0, 4.9).
        self.quota += 1;
        if is_refused && let Some(due) = self.end(number) {
            tally.refused += u64::from(due >= tally.since);
        }
    }

    fn answer(&mut self, topic: &[u8], payload: &[u8], now: Instant, tally: &mut Tally) {
        let is_ours = |number: &u64| topic.ends_with(self.devices[self.device(*number)].as_bytes());
        let number = packets::number_of(payload).filter(is_ours);
        let Some(due) = number.and_then(|number| self.end(number)) else {
            tally.strays += 1;
            return;
        };
        if due < tally.since {
            return;
        }
        tally.last_answer = now;
        if topic.starts_with(self.speech.error_topic.as_bytes()) {
            let code = serde_json::from_slice(payload)
                .map_or_else(|_| "UNREADABLE".to_owned(), |body: ErrorBody| body.code);
            *tally.errors.entry(code).or_default() += 1;
            return;
        }
        tally.answered += 1;
        let latency = (now - due).as_nanos().try_into().unwrap_or(u64::MAX);
        // From when it was due, so that a stall is felt by every request that fell due in it (no coordinated
        // omission).
        tally.latency_ns.record(latency).expect("an auto-resizing histogram takes any value");
    }

    /// Ends a request; returns when it was due, unless it had ended before.
    fn end(&mut self, number: u64) -> Option<Instant> {
        let index = usize::try_from(number.checked_sub(self.oldest)?).ok()?;
        let due = self.open.get_mut(index)?.take()?;
        self.in_flight -= 1;
        while self.open.front().is_some_and(Option::is_none) {
            self.open.pop_front();
            self.oldest += 1;
        }
        Some(due)
    }

    /// Gives up what is unanswered.
    pub fn give_up(&mut self) {
        self.oldest += self.open.len() as u64;
        self.open.clear();
        self.in_flight = 0;
    }
}

/// The payload of a request and where its number goes.
///
/// # Errors
/// When `payload_bytes` is too few for it.
pub fn payload(
    device_id: &str,
    features: usize,
    payload_bytes: Option<usize>,
) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut payload = format!(r#"{{"device_id":{},"timestamp_us":"#, serde_json::to_string(device_id)?);
    let stamp_at = payload.len();
    payload.push_str(&"0".repeat(packets::STAMP_DIGITS));
    let values: Vec<_> =
        (0..features).map(|at| format!("0.{:07}", (1_234_567 + at * 54_321) % 10_000_000)).collect();
    payload.push_str(&format!(r#","features":[{}]"#, values.join(",")));
    let natural_bytes = payload.len() + 1;
    let padding = payload_bytes.map_or(Some(0), |wanted| wanted.checked_sub(natural_bytes));
    let padding = padding.ok_or_else(|| {
        Unusable(format!("--payload-bytes: {features} features take {natural_bytes} bytes"))
    })?;
    payload.push_str(&" ".repeat(padding));
    payload.push('}');
    Ok((payload.into_bytes(), stamp_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ERRORS: &str = "error/";

    fn session(qos: u8, receive_max: u16) -> Session {
        let speech = Speech { version: Version::V5, qos, error_topic: ERRORS.to_owned() };
        let devices = ["a", "b"];
        let templates = devices.map(|device| {
            let (payload, at) = payload(device, 2, None).unwrap();
            Template::new(Version::V5, qos, "request", &payload, at)
        });
        Session::new(speech, devices.map(str::to_owned).into(), templates.into(), receive_max)
    }

    /// An answer to request `number`, as the broker sends it.
    fn answer(topic: &str, qos: u8, number: u64) -> Vec<u8> {
        let body = format!("{{\"code\":\"OVERLOADED\",\"timestamp_us\":{:016}}}", 0);
        let at = body.find("0000").unwrap();
        let mut bytes = Vec::new();
        Template::new(Version::V5, qos, topic, body.as_bytes(), at).append(&mut bytes, 5, number);
        bytes
    }

    #[test]
    fn answers_are_paired_by_number_in_any_order_and_in_any_pieces() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut session = session(0, 1);
        (0..3).for_each(|at| session.request(start + Duration::from_millis(at), &mut tally));
        assert_eq!((session.in_flight, tally.sent), (3, 3));
        let bytes = [answer("result/a", 0, 2), answer("result/a", 0, 0), answer("error/b", 0, 1)].concat();
        let now = start + Duration::from_millis(10);
        for byte in bytes {
            session.take(&[byte], now, &mut tally).unwrap();
        }
        assert_eq!((session.in_flight, tally.answered, tally.ended()), (0, 2, 3));
        assert_eq!(tally.errors, BTreeMap::from([("OVERLOADED".to_owned(), 1)]));
        // Due at 2 and at 0 ms, answered at 10 ms; three significant digits.
        assert_eq!((tally.latency_ns.min() / 100_000, tally.latency_ns.max() / 100_000), (79, 100));
        session.take(&answer("result/a", 0, 0), now, &mut tally).unwrap();
        assert_eq!((tally.answered, tally.strays), (2, 1), "an answer counts once");
        session.request(start, &mut tally);
        session.take(&answer("result/a", 0, 3), now, &mut tally).unwrap();
        assert_eq!((tally.answered, tally.strays), (2, 2), "another device's answer is none of ours");
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let start = Instant::now();
        let mut tally = Tally::new(start + Duration::from_secs(1));
        let mut session = session(0, 1);
        session.request(start, &mut tally);
        session.request(start + Duration::from_secs(1), &mut tally);
        let bytes = [answer("result/a", 0, 0), answer("result/b", 0, 1)].concat();
        session.take(&bytes, start + Duration::from_secs(2), &mut tally).unwrap();
        assert_eq!((tally.sent, tally.answered, tally.latency_ns.len()), (1, 1, 1));
    }

    #[test]
    fn a_broker_gets_no_more_than_it_takes_before_it_acknowledges() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut session = session(1, 2);
        session.request(start, &mut tally);
        session.request(start, &mut tally);
        assert!(!session.may_send());
        session.take(&[0x40, 2, 0, 1], start, &mut tally).unwrap();
        assert!(session.may_send());
        session.take(&[0x40, 3, 0, 2, 0x97], start, &mut tally).unwrap();
        assert_eq!((session.in_flight, tally.refused), (1, 1), "a refused request has ended");
    }

    #[test]
    fn what_a_slow_broker_does_not_take_is_bounded() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut session = session(0, 1);
        while session.may_send() {
            session.request(start, &mut tally);
        }
        let unwritten = session.unwritten().to_vec();
        assert!((UNWRITTEN_BYTES_MAX..UNWRITTEN_BYTES_MAX + 200).contains(&unwritten.len()));
        // Taken in pieces, it is still all there, and makes room.
        session.note_written(WRITTEN_BYTES_MAX - 1);
        session.note_written(WRITTEN_BYTES_MAX);
        assert_eq!(session.unwritten(), &unwritten[2 * WRITTEN_BYTES_MAX - 1..]);
        assert!(session.may_send() && session.out.len() < UNWRITTEN_BYTES_MAX);
    }

    #[test]
    fn answers_are_acknowledged_by_their_quality_of_service() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let mut session = session(0, 1);
        session.take(&answer("result/a", 1, 0), start, &mut tally).unwrap();
        session.take(&answer("result/a", 2, 0), start, &mut tally).unwrap();
        session.take(&[0x62, 2, 0, 5], start, &mut tally).unwrap();
        assert_eq!(session.unwritten(), [0x40, 2, 0, 5, 0x50, 2, 0, 5, 0x70, 2, 0, 5]);
        session.note_written(12);
        assert!(session.unwritten().is_empty());
        assert!(session.take(&[0xe0, 1, 0x8b], start, &mut tally).is_err());
    }

    #[test]
    fn payloads_have_the_length_asked_for() {
        let (natural, at) = payload("d", 32, None).unwrap();
        assert_eq!(&natural[at..at + 16], b"0000000000000000");
        assert_eq!(payload("d", 32, Some(397)).unwrap().0.len(), 397);
        assert_eq!(payload("d", 32, Some(natural.len())).unwrap().0, natural);
        assert!(payload("d", 32, Some(natural.len() - 1)).is_err());
    }
}
