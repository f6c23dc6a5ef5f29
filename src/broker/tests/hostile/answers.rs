//! What the broker says to a WebSocket client, taken apart and checked: it may be
//! cut off, but must be sound up to there.

use super::peer::take_packet;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;
const HEAD_END: &[u8] = b"\r\n\r\n";
const CONNACK: u8 = 0x20;

/// The broker's part of one connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The status of the HTTP answer, once its head is whole.
    pub status: Option<u16>,
    /// The first bytes of the MQTT packets in binary messages.
    pub packets: Vec<u8>,
    /// The code of the close frame; 1005 for one without.
    pub close_code: Option<u16>,
}

impl Answers {
    /// Whether MQTT began.
    pub fn have_connack(&self) -> bool {
        self.packets.first() == Some(&CONNACK)
    }
}

/// Takes apart what a client has received.
pub fn answers(received: &[u8]) -> Answers {
    let mut answers = Answers::default();
    let Some(head) = received.windows(HEAD_END.len()).position(|window| window == HEAD_END) else {
        return answers;
    };
    let text = std::str::from_utf8(&received[..head]).expect("the answer's head is text");
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    answers.status = Some(status.unwrap_or_else(|| panic!("no HTTP answer: {text}")));
    if answers.status != Some(101) {
        assert!(matches!(answers.status, Some(400..=499)), "{text}");
        return answers;
    }
    let mut rest = &received[head + HEAD_END.len()..];
    let mut mqtt = Vec::new();
    while let Some((first, payload, after)) = take_frame(rest) {
        assert_eq!(answers.close_code, None, "a frame {first:#x} behind the close frame");
        match first {
            BINARY => mqtt.extend_from_slice(payload),
            PONG => assert!(payload.len() <= 125, "a pong of {} bytes", payload.len()),
            CLOSE => answers.close_code = Some(close_code(payload)),
            _ => panic!("the broker sent a frame {first:#x}"),
        }
        rest = after;
    }
    while let Some(packet) = take_packet(&mut mqtt) {
        answers.packets.push(packet[0]);
    }
    answers
}

fn close_code(payload: &[u8]) -> u16 {
    let [high, low, reason @ ..] = payload else {
        assert!(payload.is_empty(), "half a code");
        return 1005;
    };
    assert!(std::str::from_utf8(reason).is_ok() && payload.len() <= 125, "{reason:?}");
    let code = u16::from_be_bytes([*high, *low]);
    // The others say that there was no close frame, or belong to nobody (RFC 6455, 7.4).
    assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "close code {code}");
    code
}

/// A whole frame's first byte and payload, and what comes behind it.
fn take_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    assert_eq!(length & 0x80, 0, "a server masks nothing");
    let (length, rest) = match length {
        126 => rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest)),
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest)),
        length => Some((u64::from(*length), rest)),
    }?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((*first, payload, rest))
}
