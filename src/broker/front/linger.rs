//! The end of a socket: our half is closed first, then the client's.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client may take to read the last packet to it.
pub const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take to read it when the broker is ending.
pub const LINGER_CLOSING: Duration = Duration::from_millis(50);

/// Closes our half and reads the client out for a moment, so that the last packet to
/// it is not lost to a reset.
pub async fn linger<R, W>(mut reader: R, mut writer: W, at_most: Duration)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Errors mean that the socket is gone, which is what we are waiting for.
    let _gone = writer.shutdown().await;
    let mut ignored = [0; 1_024];
    let read_out = async { while matches!(reader.read(&mut ignored).await, Ok(read) if read > 0) {} };
    let _timeout = tokio::time::timeout(at_most, read_out).await;
}
