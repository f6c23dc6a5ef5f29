//! One client's connection once it has been let in: a loop over socket, mailbox,
//! shared groups, orders and time.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::linger::{LINGER, LINGER_CLOSING, linger};
use super::writing::{Written, write_some};
use crate::broker::codec::reason::Reason;
use crate::broker::limits::ended::Ended;
use crate::broker::session::client::{Client, Round};
use crate::broker::session::ending::End;
use crate::broker::session::registry::Order;
use crate::broker::session::turns::Queue;
use crate::broker::work::Slice;

/// A connection that has read this much lets the others have their turn.
const TURN_BYTES_MAX: usize = 32 * 1024;

/// Something that happens to a client.
enum Event {
    Timeout,
    Order(Option<Order>),
    /// Its turn for long work has come.
    Slice(Slice),
    Written(io::Result<Written>),
    Read(io::Result<usize>),
    WaitOver,
    /// There may be something for it.
    News,
}

/// What is known of a client's socket from one round to the next.
#[derive(Default)]
struct Socket {
    /// It holds back some of what was written to it.
    holds_back: bool,
    /// Bytes read since the others have had their turn.
    turn_bytes: usize,
}

/// Serves a client until something ends it.
pub async fn serve<R, W>(
    client: &mut Client,
    reader: &mut R,
    writer: &mut W,
    orders: &mut mpsc::Receiver<Order>,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match serve_rounds(client, reader, writer, orders).await {
        Ok(end) => end,
        Err(reason) => client.ending.take().unwrap_or(End::Fault(reason)),
    }
}

/// One round after another: the client does what it can, then something happens to it.
async fn serve_rounds<R, W>(
    client: &mut Client,
    reader: &mut R,
    writer: &mut W,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<End, Reason>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let context = client.context.clone();
    let (news, mut lane) = (client.session.live.news.clone(), context.bus.progress());
    let mut queue = Queue::new(&context.turns);
    let mut socket = Socket::default();
    let timeout = sleep_until(client.poll_timeout(Instant::now()));
    tokio::pin!(timeout);
    while !client.take_up()? {
        client.slice = context.turns.slice(&client.slice).await;
    }
    let mut now = Instant::now();
    client.handle_start(now)?;
    loop {
        if client.has_stale_rights() {
            now = review(client, &mut queue).await?;
        }
        match client.poll_round(now)? {
            Round::Idle => {}
            // A client that catches up on much: the others have their turn.
            Round::GoesOn => {
                tokio::task::yield_now().await;
                now = Instant::now();
            }
            Round::Left => return Ok(End::Closing(Reason::SHUTTING_DOWN)),
        }
        let (wants_write, wants_read) = (client.wants_write(socket.holds_back, now), client.wants_read(now));
        let (takes_more, is_leaving) = (client.is_taking(), client.is_leaving());
        let wants_slice = client.wants_slice();
        if !wants_slice {
            queue.leave();
        }
        let event = tokio::select! {
            biased;
            // Before what may always be ready, or a client that floods would have all the time it likes.
            () = &mut timeout => Event::Timeout,
            order = orders.recv(), if !is_leaving => Event::Order(order),
            // Before what may always be ready, or whoever has the place would keep it while others wait.
            place = queue.place(&client.slice), if wants_slice => Event::Slice(place.begin().await),
            written = write_some(writer, client.output.unwritten()), if wants_write => Event::Written(written),
            read = reader.read_buf(&mut client.input.unread), if wants_read => Event::Read(read),
            () = client.session.live.mailbox.arrival(), if takes_more => Event::News,
            () = news.notified(), if !client.owed.is_empty() => Event::News,
            () = client.shared_queue.arrival(), if takes_more && client.is_member => Event::News,
            () = client.waiting.over(&context.bus) => Event::WaitOver,
            _ = lane.changed(), if is_leaving => Event::News,
        };
        now = Instant::now();
        let is_timeout = matches!(event, Event::Timeout);
        if let Some(end) = handle(client, event, &mut socket, now).await? {
            return Ok(end);
        }
        if is_timeout {
            timeout.as_mut().reset(client.poll_timeout(now));
        }
    }
}

/// Tells the client what has happened. Returns how its connection ends, if it does.
async fn handle(
    client: &mut Client,
    event: Event,
    socket: &mut Socket,
    now: Instant,
) -> Result<Option<End>, Reason> {
    match event {
        Event::Timeout => return client.handle_timeout(now),
        Event::Order(order) => return Ok(client.handle_order(order)),
        Event::Slice(slice) => client.handle_slice(slice, now)?,
        Event::Written(Ok(written)) => {
            socket.holds_back = written.holds_back;
            client.handle_written(written.bytes, now);
        }
        Event::Read(Ok(bytes)) if bytes > 0 => {
            client.handle_read(bytes, now)?;
            socket.turn_bytes += bytes;
            if socket.turn_bytes >= TURN_BYTES_MAX {
                // A flood: let the others have their turn.
                socket.turn_bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        // It broke the rules of WebSocket.
        Event::Read(Err(error)) if error.kind() == ErrorKind::InvalidData => {
            return Ok(Some(End::Lost(Ended::WebSocket)));
        }
        // The end of what it sends is the end of the connection, as is a socket that takes nothing more.
        Event::Read(_) | Event::Written(Err(_)) => return Ok(Some(End::Lost(Ended::Lost))),
        Event::WaitOver => client.handle_wait_over(now)?,
        Event::News => {}
    }
    Ok(None)
}

/// Judges the client by new rules before anything is delivered or accepted. It may be long, so the others
/// have their turn in between.
async fn review(client: &mut Client, queue: &mut Queue<'_>) -> Result<Instant, Reason> {
    queue.leave();
    let context = client.context.clone();
    while !client.review_rights()? {
        client.slice = context.turns.slice(&client.slice).await;
    }
    let now = Instant::now();
    client.handle_review(now)?;
    Ok(now)
}

/// Ends what the client has, and says the last word to it.
pub async fn finish<R, W>(
    mut client: Client,
    end: End,
    generation: u64,
    orders: mpsc::Receiver<Order>,
    reader: R,
    mut writer: W,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let goodbye = end.reason();
    let patience = if matches!(end, End::Closing(_)) { LINGER_CLOSING } else { LINGER };
    let is_goodbye = matches!(end, End::Goodbye { .. });
    client.leave(end, generation, orders).await;
    if let Some(reason) = goodbye {
        client.output.goodbye(reason);
    }
    if goodbye.is_some() || !client.output.unwritten().is_empty() {
        // The client may be gone, or not reading; then it does without the last word.
        let written = tokio::time::timeout(patience, writer.write_all(client.output.unwritten())).await;
        if matches!(written, Ok(Ok(()))) {
            client.output.advance(client.output.unwritten().len());
        }
        client.context.traffic.sent.add(&mut client.output.sent);
        linger(reader, writer, patience).await;
    } else if is_goodbye {
        // TLS and WebSocket have a word for the end, and a WebSocket client answers it: to
        // a closed socket that is an error.
        linger(reader, writer, patience).await;
    }
}
