//! A WebSocket client written by hand, so that a test says exactly the frames it wants said.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::mqtt::PATIENCE;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
/// The last frame of a message.
pub const FIN: u8 = 0x80;

/// RFC 6455's example of a key, and of the answer to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's handshake that is as it should be.
pub fn request() -> String {
    request_with("Sec-WebSocket-Protocol: mqtt\r\n")
}

/// A client's handshake with `headers` of one's own.
pub fn request_with(headers: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// A frame as a client sends it: `first` is opcode and FIN.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Sends a request; returns the answer's head and, where it has one, its body.
pub fn ask<S: Read + Write>(stream: &mut S, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let mut answer = String::from_utf8(answer).unwrap();
    if let Some((_, length)) = answer.split_once("Content-Length: ") {
        let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        answer += &String::from_utf8(body).unwrap();
    }
    answer
}

/// A WebSocket whose handshake is done. As `Read` and `Write` it is the bytes in its binary messages.
pub struct WebSocket<S> {
    pub stream: S,
    unread: VecDeque<u8>,
}

/// A frame as the broker sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl<S: Read + Write> WebSocket<S> {
    pub fn over(mut stream: S) -> Self {
        let answer = ask(&mut stream, &request());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Self { stream, unread: VecDeque::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The broker's next frame.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] {
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length) as usize
            }
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            length => {
                assert_eq!(length & 0x80, 0, "a server masks nothing");
                usize::from(length)
            }
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { first: head[0], payload })
    }

    /// The code with which the broker closes, after which nothing comes.
    pub fn close_code(&mut self) -> u16 {
        let close = self.frame().unwrap();
        assert_eq!(close.first, FIN | CLOSE, "{close:?}");
        assert_eq!(self.frame().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        u16::from_be_bytes([close.payload[0], close.payload[1]])
    }
}

impl<S: Read + Write> Read for WebSocket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.frame()? {
                Frame { first, payload } if first == FIN | BINARY => self.unread.extend(payload),
                Frame { first, .. } if first == FIN | CLOSE => return Ok(0),
                frame => panic!("an unexpected frame: {frame:?}"),
            }
        }
        self.unread.read(buffer)
    }
}

impl<S: Read + Write> Write for WebSocket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&frame(FIN | BINARY, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
