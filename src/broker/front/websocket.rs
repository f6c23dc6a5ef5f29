//! MQTT in WebSocket messages (MQTT 5, section 6): the handshake, and a stream of bytes over binary messages.
//!
//! Packets and messages need not begin or end together, so the stream knows no
//! packets. A text message ends it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::{HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::first_words::Spoken;
use crate::broker::config::WebSocket;
use crate::broker::limits::charge::Charge;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::tally::Shown;
use crate::broker::session::peer::UnderWay;

/// The subprotocol [MQTT-6.0.0-3].
const SUBPROTOCOL: &str = "mqtt";
/// A longer HTTP request is refused.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
const REQUEST_END: &[u8] = b"\r\n\r\n";
/// A message may have this many bytes even where packets may not: it may hold several.
const MESSAGE_BYTES_LEAST: usize = 64 * 1024;
/// A larger write becomes several messages.
const MESSAGE_BYTES_OUT_MAX: usize = 64 * 1024;
/// What the stream holds back at most: a message, and answers to pings that a client does not read.
const HELD_BACK_BYTES_MAX: usize = 2 * MESSAGE_BYTES_OUT_MAX;
/// Of a client's ping, its answer to one, or its goodbye: two bytes and four of a mask.
const CONTROL_HEADER_BYTES: usize = 6;
/// Read from the socket at once.
const READ_BYTES: usize = 8 * 1024;

impl WebSocket {
    /// Whether `text` is an origin as browsers write it: scheme and host, and a port that is not the scheme's
    /// own, with nothing behind them. Pages without an origin are called `null`.
    pub fn is_origin(text: &str) -> bool {
        let is_bare = |uri: Uri| match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => text == format!("{scheme}://{authority}"),
            _ => false,
        };
        text == "null" || text.parse().is_ok_and(is_bare)
    }
}

/// Why a WebSocket handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailure {
    #[error(transparent)]
    Lost(#[from] io::Error),
    /// Without a status where the client would not understand one.
    #[error("refused: {why}")]
    Refused { cause: Cause, status: Option<StatusCode>, why: String },
}

/// Performs a server's part of the handshake, and answers a refusal with its reason.
/// Returns what came behind the request.
pub async fn shake_hands<S>(stream: &mut S, rules: &WebSocket) -> Result<BytesMut, HandshakeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = BytesMut::new();
    let answer = match read_request(stream, &mut input).await {
        Ok(request) => answer(&request, rules),
        Err(failure) => Err(failure),
    };
    if let Err(HandshakeFailure::Refused { status: Some(status), why, .. }) = &answer {
        let length = why.len();
        let refusal = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}"
        );
        stream.write_all(refusal.as_bytes()).await?;
    }
    stream.write_all(&answer?).await?;
    stream.flush().await?;
    Ok(input)
}

async fn read_request<S>(stream: &mut S, input: &mut BytesMut) -> Result<Request, HandshakeFailure>
where
    S: AsyncRead + Unpin,
{
    let mut searched = 0;
    loop {
        // Parsed once it is whole: a request that comes byte by byte must not be parsed byte by byte.
        if input[searched..].windows(REQUEST_END.len()).any(|window| window == REQUEST_END) {
            let parsed =
                Request::try_parse(input).map_err(|error| refused(Cause::WebSocket, error.to_string()))?;
            let (bytes, request) =
                parsed.ok_or_else(|| refused(Cause::WebSocket, "the request does not end".to_owned()))?;
            input.advance(bytes);
            return Ok(request);
        }
        if input.len() >= REQUEST_BYTES_MAX {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(HandshakeFailure::Refused {
                cause: Cause::WebSocketTooLarge,
                status: Some(status),
                why: format!("a request may have {REQUEST_BYTES_MAX} bytes\n"),
            });
        }
        // What is no HTTP has no end that could be waited for.
        if let Some(instead) = input.first().and_then(|&first| Spoken::by(first).instead_of_http()) {
            let why = instead.to_owned();
            return Err(HandshakeFailure::Refused { cause: Cause::NotWebSocket, status: None, why });
        }
        searched = (input.len() + 1).saturating_sub(REQUEST_END.len());
        let mut rest = (&mut *stream).take((REQUEST_BYTES_MAX - input.len()) as u64);
        if rest.read_buf(input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// The answer to a request that is accepted.
fn answer(request: &Request, rules: &WebSocket) -> Result<Vec<u8>, HandshakeFailure> {
    let no_handshake = |error: Error| refused(Cause::WebSocket, error.to_string());
    let mut response = create_response(request).map_err(no_handshake)?;
    if !values(request, SEC_WEBSOCKET_PROTOCOL).any(|protocol| protocol == SUBPROTOCOL) {
        let why = format!("the client must offer the subprotocol `{SUBPROTOCOL}`");
        return Err(refused(Cause::WebSocketProtocol, why));
    }
    let is_allowed = |origin: &str| {
        rules.allowed_origins.is_empty()
            || rules.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    };
    if let Some(origin) = values(request, ORIGIN).find(|origin| !is_allowed(origin)) {
        let why = format!("pages of the origin {:?} may not connect\n", Shown(origin));
        let (cause, status) = (Cause::WebSocketOrigin, Some(StatusCode::FORBIDDEN));
        return Err(HandshakeFailure::Refused { cause, status, why });
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(no_handshake)?;
    Ok(bytes)
}

fn refused(cause: Cause, why: String) -> HandshakeFailure {
    HandshakeFailure::Refused { cause, status: Some(StatusCode::BAD_REQUEST), why: format!("{why}\n") }
}

/// The values of a header that may come several times and may be a list; what is no text is an empty value.
fn values(request: &Request, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(name).into_iter();
    lines.flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim)
}

/// The bytes in a client's binary messages, and binary messages of the bytes that are written.
pub struct MqttStream<S> {
    messages: WebSocketStream<Counting<S>>,
    /// What is left of the last message.
    unread: Bytes,
    under_way: UnderWay,
}

/// Counts what comes in from the client, for nothing else tells how much of a
/// message is here before it is whole.
struct Counting<S> {
    stream: S,
    under_way: UnderWay,
    /// Of a whole message that has not been read to its end.
    unread_bytes: usize,
    /// Written, and perhaps held back.
    unflushed_bytes: usize,
    /// For all of these.
    charge: Charge,
}

impl<S> Counting<S> {
    fn held_bytes(&self) -> usize {
        self.under_way.bytes() + self.unread_bytes + self.unflushed_bytes
    }

    fn note_bytes(&mut self) {
        self.charge.set(self.held_bytes());
    }
}

impl<S> MqttStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// A stream whose handshake is done, and after which `tail` has come already. What
    /// it holds is counted to `charge`.
    pub async fn new(stream: S, tail: BytesMut, packet_bytes_max: usize, charge: Charge) -> Self {
        let under_way = UnderWay::default();
        under_way.set(tail.len());
        let stream =
            Counting { stream, under_way: under_way.clone(), unread_bytes: 0, unflushed_bytes: 0, charge };
        let message_bytes_max = packet_bytes_max.max(MESSAGE_BYTES_LEAST);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(HELD_BACK_BYTES_MAX)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let messages =
            WebSocketStream::from_partially_read(stream, tail.into(), Role::Server, Some(config)).await;
        Self { messages, unread: Bytes::new(), under_way }
    }

    /// What has come of the message that is not whole yet.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    fn note_unread(&mut self) {
        let counting = self.messages.get_mut();
        counting.unread_bytes = self.unread.len();
        counting.note_bytes();
    }

    /// Tells the client why the connection ends, if it takes it at once; returns the error to end it with.
    fn turn_away(&mut self, context: &mut Context<'_>, code: CloseCode, why: String) -> io::Error {
        let close = CloseFrame { code, reason: why.as_str().into() };
        let mut messages = Pin::new(&mut self.messages);
        if let Poll::Ready(Ok(())) = messages.as_mut().poll_ready(context)
            && messages.as_mut().start_send(Message::Close(Some(close))).is_ok()
        {
            // Whether it went out changes nothing: the connection ends.
            let _flushed = messages.poll_flush(context);
        }
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

impl<S> AsyncRead for MqttStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.unread.has_remaining() {
                let bytes = self.unread.len().min(buffer.remaining());
                buffer.put_slice(&self.unread.split_to(bytes));
                self.note_unread();
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => {
                    self.unread = bytes;
                    self.under_way.set(0);
                    self.note_unread();
                }
                Some(Ok(Message::Text(_))) => {
                    let why = "MQTT comes in binary messages [MQTT-6.0.0-1]".to_owned();
                    return Poll::Ready(Err(self.turn_away(context, CloseCode::Unsupported, why)));
                }
                // Pings and closes, which were answered below. They may come between the parts of a message.
                Some(Ok(control)) => {
                    let left = self.under_way.bytes().saturating_sub(CONTROL_HEADER_BYTES + control.len());
                    self.under_way.set(left);
                }
                None => return Poll::Ready(Ok(())),
                Some(Err(Error::Io(error))) => return Poll::Ready(Err(error)),
                Some(Err(error)) => {
                    let code = match error {
                        Error::Capacity(_) => CloseCode::Size,
                        Error::Utf8(_) => CloseCode::Invalid,
                        _ => CloseCode::Protocol,
                    };
                    return Poll::Ready(Err(self.turn_away(context, code, error.to_string())));
                }
            }
        }
    }
}

impl<S> AsyncWrite for MqttStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.messages).poll_ready(context)).map_err(broken)?;
        let bytes = &bytes[..bytes.len().min(MESSAGE_BYTES_OUT_MAX)];
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.messages).start_send(message).map_err(broken)?;
        let counting = self.messages.get_mut();
        counting.unflushed_bytes += bytes.len();
        counting.note_bytes();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.messages).poll_flush(context)).map_err(broken)?;
        let counting = self.messages.get_mut();
        counting.unflushed_bytes = 0;
        counting.note_bytes();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(context).map_err(broken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.under_way.set(self.under_way.bytes() + buffer.filled().len() - before);
        if !self.charge.may_be(self.held_bytes()) {
            self.charge.note_refused(1);
            // The kind of what ends a connection here, rather than of a socket that is gone.
            let why = "there is no memory for a larger message (memory_max)";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        self.note_bytes();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
