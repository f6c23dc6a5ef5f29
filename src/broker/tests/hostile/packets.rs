//! Valid MQTT packets of every kind, and some that only a wrong client would send,
//! from a small world of names.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::broker::codec::Version;
use crate::mqtt::packet::put_varint;

const CLIENT_IDS: [&str; 6] = ["", "a", "b", "c", "$x/+", "ü"];
const TOPICS: [&str; 10] = ["t", "t/u", "t/u/v", "s/0", "s/1", "ü/x", "\u{1}", "$SYS/x", "", "t/+"];
const FILTERS: [&str; 16] = [
    "t",
    "t/u",
    "t/+",
    "t/#",
    "+/u/#",
    "#",
    "+",
    "+/+/+",
    "s/+",
    "ü/#",
    "$share/g/t/#",
    "$share/g/s/+",
    "$share/h/t/#",
    "$SYS/#",
    "$share/g",
    "t#",
];

/// A client of one protocol version that knows how to write packets.
#[derive(Clone, Copy)]
pub struct Speaker(Version);

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    put_varint(&mut out, body.len());
    out.extend(body);
    out
}

fn pick<T: Copy>(from: &[T], rng: &mut ChaCha8Rng) -> T {
    from[rng.random_range(0..from.len())]
}

/// Packet ids come from a small range, so that they meet.
fn packet_id(rng: &mut ChaCha8Rng) -> [u8; 2] {
    if rng.random_bool(0.02) { rng.random() } else { [0, rng.random_range(0..6)] }
}

fn payload(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let bytes = match rng.random_range(0..100) {
        0..20 => 0,
        20..95 => rng.random_range(1..100),
        95..99 => rng.random_range(100..3_000),
        _ => 40_000,
    };
    vec![rng.random(); bytes]
}

/// A CONNECT that is always accepted.
pub fn plain_connect() -> Vec<u8> {
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a".to_vec()
}

/// A CONNECT of any version.
pub fn connect(rng: &mut ChaCha8Rng) -> Vec<u8> {
    Speaker::any(rng).connect(rng)
}

impl Speaker {
    pub fn any(rng: &mut ChaCha8Rng) -> Self {
        Self(if rng.random() { Version::V5 } else { Version::V311 })
    }

    fn is_v5(self) -> bool {
        self.0 == Version::V5
    }

    /// A property block in MQTT 5, nothing in 3.1.1.
    fn block(self, out: &mut Vec<u8>, properties: &[u8]) {
        if self.is_v5() {
            put_varint(out, properties.len());
            out.extend(properties);
        }
    }

    pub fn connect(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let (has_will, has_login) = (rng.random_bool(0.3), rng.random_bool(0.1));
        let mut flags = u8::from(rng.random_bool(0.4)) << 1;
        if has_will {
            flags |= 4 | rng.random_range(0..3u8) << 3 | u8::from(rng.random_bool(0.5)) << 5;
        }
        if has_login {
            flags |= 0xc0;
        }
        let mut body = Vec::new();
        text(&mut body, b"MQTT");
        body.extend([if self.is_v5() { 5 } else { 4 }, flags, 0, pick(&[0, 1, 60], rng)]);
        let mut properties = Vec::new();
        if rng.random_bool(0.6) {
            properties.extend([17, 0, 0, 0, pick(&[0, 1, 100], rng)]);
        }
        for (id, value) in [(33, pick(&[1u16, 2, 100, 65_535], rng)), (34, pick(&[0, 1, 3], rng))] {
            if rng.random_bool(0.3) {
                properties.push(id);
                properties.extend(value.to_be_bytes());
            }
        }
        if rng.random_bool(0.1) {
            properties.extend([39, 0, 0, 0, pick(&[5, 30, 200], rng)]);
        }
        self.block(&mut body, &properties);
        text(&mut body, pick(&CLIENT_IDS, rng).as_bytes());
        if has_will {
            self.block(&mut body, &[24, 0, 0, 0, pick(&[0, 1], rng)]);
            text(&mut body, pick(&TOPICS, rng).as_bytes());
            text(&mut body, b"will");
        }
        if has_login {
            text(&mut body, b"user");
            text(&mut body, b"password");
        }
        packet(0x10, &body)
    }

    /// Any packet but CONNECT, mostly.
    pub fn packet(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        match rng.random_range(0..100) {
            0..45 => self.publish(rng),
            45..60 => self.acknowledgement(rng),
            60..78 => self.subscribe(rng),
            78..84 => self.unsubscribe(rng),
            84..94 => packet(0xc0, &[]),
            94..96 => self.disconnect(rng),
            96..98 => packet(pick(&[0x20, 0x90, 0xb0, 0xd0, 0xf0, 0x00], rng), &[0; 3]),
            98 => self.connect(rng),
            _ => (0..rng.random_range(1..50)).map(|_| rng.random()).collect(),
        }
    }

    fn publish(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let qos = rng.random_range(0..3u8);
        let flags =
            u8::from(qos > 0 && rng.random_bool(0.1)) << 3 | qos << 1 | u8::from(rng.random_bool(0.2));
        let mut body = Vec::new();
        match rng.random_range(0..100) {
            // A topic that nobody has named before, one that is too long, one that is too deep.
            0..4 => text(&mut body, format!("new/{}", rng.random::<u16>()).as_bytes()),
            4 => text(&mut body, "x".repeat(300).as_bytes()),
            5 => text(&mut body, "/".repeat(40).as_bytes()),
            _ => text(&mut body, pick(&TOPICS, rng).as_bytes()),
        }
        if qos > 0 {
            body.extend(packet_id(rng));
        }
        self.block(&mut body, &publish_properties(rng));
        body.extend(payload(rng));
        packet(0x30 | flags, &body)
    }

    fn acknowledgement(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut body = packet_id(rng).to_vec();
        if self.is_v5() && rng.random_bool(0.3) {
            body.push(pick(&[0, 0x10, 0x80, 0x87, 0x92], rng));
            if rng.random_bool(0.5) {
                body.push(0);
            }
        }
        packet(pick(&[0x40, 0x50, 0x62, 0x70], rng), &body)
    }

    fn subscribe(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut body = packet_id(rng).to_vec();
        let identifier: &[u8] = if rng.random_bool(0.3) { &[11, 7] } else { &[] };
        self.block(&mut body, identifier);
        for _ in 0..rng.random_range(1..4) {
            if rng.random_bool(0.03) {
                text(&mut body, format!("new/{}/#", rng.random::<u16>()).as_bytes());
            } else {
                text(&mut body, pick(&FILTERS, rng).as_bytes());
            }
            let options = rng.random_range(0..3u8);
            let more = if self.is_v5() { rng.random_range(0..12u8) << 2 } else { 0 };
            body.push(options | more);
        }
        packet(0x82, &body)
    }

    fn unsubscribe(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut body = packet_id(rng).to_vec();
        self.block(&mut body, &[]);
        for _ in 0..rng.random_range(1..4) {
            text(&mut body, pick(&FILTERS, rng).as_bytes());
        }
        packet(0xa2, &body)
    }

    fn disconnect(self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        if !self.is_v5() || rng.random() {
            return packet(0xe0, &[]);
        }
        let mut body = vec![pick(&[0, 4, 0x80], rng)];
        if rng.random() {
            self.block(&mut body, &[17, 0, 0, 0, pick(&[0, 5], rng)]);
        }
        packet(0xe0, &body)
    }
}

fn publish_properties(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut properties = Vec::new();
    for _ in 0..rng.random_range(0..3) {
        match rng.random_range(0..7) {
            0 => properties.extend([1, pick(&[0, 1, 2], rng)]),
            1 => properties.extend([2, 0, 0, 0, pick(&[0, 1, 200], rng)]),
            2 => properties.extend([35, 0, pick(&[0, 1, 2, 8, 9], rng)]),
            3 => {
                properties.push(8);
                text(&mut properties, pick(&TOPICS, rng).as_bytes());
            }
            4 => properties.extend([9, 0, 2, 0xff, 0]),
            5 => properties.extend([38, 0, 1, b'k', 0, 1, b'v']),
            _ => properties.extend([11, 1]),
        }
    }
    properties
}
