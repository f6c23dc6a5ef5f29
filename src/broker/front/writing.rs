//! Writing to a stream that may hold back what it took, as TLS and WebSocket do; a
//! TCP socket holds back nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What one write did.
pub struct Written {
    /// How many bytes were taken.
    pub bytes: usize,
    /// Whether the stream holds back some bytes, so that it must be called again until it does not.
    pub holds_back: bool,
}

/// Writes some of `bytes`; when there are none, waits until the stream holds back nothing. May be cancelled.
pub async fn write_some<W>(writer: &mut W, bytes: &[u8]) -> io::Result<Written>
where
    W: AsyncWrite + Unpin,
{
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(Written { bytes: 0, holds_back: false });
    }
    let bytes = writer.write(bytes).await?;
    if bytes == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    // Only a try: whoever wrote has other things to do than to wait for the client here.
    let flushed = poll_fn(|context| Poll::Ready(Pin::new(&mut *writer).poll_flush(context))).await;
    match flushed {
        Poll::Ready(Ok(())) => Ok(Written { bytes, holds_back: false }),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(Written { bytes, holds_back: true }),
    }
}
