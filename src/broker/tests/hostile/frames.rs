//! What a WebSocket client sends: handshakes and frames, as they should be and as
//! only a wrong client writes them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The last frame of a message.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// More than a message may have on a listener whose packets are small.
const OVERSIZED_BYTES: usize = 70_000;
/// A control frame may carry this many.
const CONTROL_BYTES_MAX: usize = 125;
const CLOSE_CODES: [u16; 12] = [0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1015, 2999, 3000, 65_535];
/// Lengths of which nothing follows, at the edges of the three ways to write one.
const LYING_LENGTHS: [u64; 9] = [0, 1, 125, 126, 65_535, 65_536, 1 << 31, 1 << 63, u64::MAX];

/// The ways to write a length: in the byte itself, in two more, in eight more.
#[derive(Clone, Copy)]
enum Width {
    Byte,
    Two,
    Eight,
}

/// A handshake that is accepted.
pub fn request() -> Vec<u8> {
    request_with("/mqtt", "13", "Sec-WebSocket-Protocol: mqtt\r\n")
}

/// A handshake that may lack something, or have too much of it.
pub fn odd_request(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let long = format!("X-Long: {}\r\nSec-WebSocket-Protocol: mqtt\r\n", "x".repeat(9_000));
    let many = format!("{}Sec-WebSocket-Protocol: mqtt\r\n", "X-Many: 1\r\n".repeat(200));
    match rng.random_range(0..9) {
        0 => request_with("/", "13", ""),
        1 => request_with("/", "13", "Sec-WebSocket-Protocol: mqttv3.1\r\n"),
        2 => request_with("/", "8", "Sec-WebSocket-Protocol: mqtt\r\n"),
        3 => request_with("/", "13", "Sec-WebSocket-Protocol: v1, mqtt ,\r\nOrigin: null\r\n"),
        4 => request_with("/", "13", "Sec-WebSocket-Protocol: \u{fc}\r\nOrigin: \u{fc}\r\n"),
        5 => request_with("/", "13", &long),
        6 => request_with("/", "13", &many),
        7 => b"\r\n\r\n".to_vec(),
        _ => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    }
}

fn request_with(path: &str, version: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Valid frames that carry `bytes`: in one message or several, whole or in
/// fragments, with control frames anywhere between.
pub fn carrying(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut continues = false;
    while !rest.is_empty() {
        let whole = rng.random_bool(0.7);
        let (piece, after) = rest.split_at(if whole { rest.len() } else { rng.random_range(0..=rest.len()) });
        let ends = after.is_empty() || rng.random();
        let opcode = if continues { CONTINUATION } else { BINARY };
        frames.push(frame(if ends { FIN | opcode } else { opcode }, piece, rng));
        if rng.random_bool(0.1) {
            frames.push(control(rng));
        }
        (rest, continues) = (after, !ends);
    }
    frames
}

/// A ping or a pong as it should be.
fn control(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let payload = vec![b'p'; rng.random_range(0..=CONTROL_BYTES_MAX)];
    frame(FIN | if rng.random() { PING } else { PONG }, &payload, rng)
}

/// A frame that ends the connection, or that a client should not send now.
pub fn odd_frame(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let lying = LYING_LENGTHS[rng.random_range(0..LYING_LENGTHS.len())];
    match rng.random_range(0..11) {
        0 => frame(FIN | TEXT, "text \u{fc}".as_bytes(), rng),
        1 => frame(FIN | TEXT, &[0xff, 0xfe], rng),
        2 => frame(FIN | CONTINUATION, b"of nothing", rng),
        3 => frame(BINARY, b"\x10", rng),
        4 => close(rng),
        5 => frame(PING, b"a fragment", rng),
        6 => frame(FIN | PING, &[0; CONTROL_BYTES_MAX + 1], rng),
        7 => frame(rng.random(), b"any opcode, any reserved bit", rng),
        8 => [head(FIN | BINARY, lying, 0, any_width(rng)), vec![0xc0, 0]].concat(),
        9 => [head(rng.random(), lying, MASKED, any_width(rng)), vec![0; 4]].concat(),
        _ => frame(FIN | BINARY, &vec![0; OVERSIZED_BYTES], rng),
    }
}

fn close(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let code = CLOSE_CODES[rng.random_range(0..CLOSE_CODES.len())].to_be_bytes();
    let body = match rng.random_range(0..5) {
        0 => Vec::new(),
        1 => code[..1].to_vec(),
        2 => [&code[..], &[0xff, 0xc0]].concat(),
        _ => [&code[..], &vec![b'w'; rng.random_range(0..CONTROL_BYTES_MAX)]].concat(),
    };
    frame(FIN | CLOSE, &body, rng)
}

/// A masked frame whose length is written in the shortest way.
fn frame(first: u8, payload: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mask: [u8; 4] = if rng.random_bool(0.2) { [0; 4] } else { rng.random() };
    let width = match payload.len() {
        0..=CONTROL_BYTES_MAX => Width::Byte,
        126..=0xffff => Width::Two,
        _ => Width::Eight,
    };
    let mut bytes = head(first, payload.len() as u64, MASKED, width);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn any_width(rng: &mut ChaCha8Rng) -> Width {
    [Width::Byte, Width::Two, Width::Eight][rng.random_range(0..3)]
}

/// A frame's beginning. A length that is too large for its width loses its upper bits.
fn head(first: u8, length: u64, masked: u8, width: Width) -> Vec<u8> {
    let mut bytes = vec![first];
    match width {
        Width::Byte => bytes.push(masked | (length as u8 & 0x7f)),
        Width::Two => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        Width::Eight => {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}
