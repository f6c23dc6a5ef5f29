//! One client's connection once it has been let in: a loop over socket, mailbox,
//! shared groups, orders and time.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::linger::{LINGER, LINGER_CLOSING, linger};
use super::writing::write_some;
use crate::broker::codec::reason::Reason;
use crate::broker::limits::ended::Ended;
use crate::broker::limits::reached::Limit;
use crate::broker::session::client::Client;
use crate::broker::session::ending::End;
use crate::broker::session::parked::until;
use crate::broker::session::registry::Order;
use crate::broker::session::silence::Refusing;
use crate::broker::session::turns::Queue;

/// A connection that has read this much lets the others have their turn.
const TURN_BYTES_MAX: usize = 32 * 1024;

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

/// One round after another; an error is what the client did wrong, or stands for the client's `ending`.
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
    let mut refusing = Refusing::default();
    let mut holds_back = false;
    let mut could_read = true;
    let mut is_blocked = None;
    let mut turn_bytes = 0;
    let context = client.context.clone();
    let mut queue = Queue::new(&context.turns);
    let tick = tokio::time::sleep(client.tick());
    tokio::pin!(tick);
    client.resume().await?;
    client.hold_publishers();
    // Packets may have come with the CONNECT.
    client.process()?;
    client.note_arrived(Instant::now());
    let news = client.session.news.clone();
    loop {
        if client.waits_for_answers && !client.owes_too_much() && !client.context.bus.is_draining() {
            client.waits_for_answers = false;
            client.process()?;
        }
        if client.has_stale_rights() {
            queue.leave();
            client.review_rights().await?;
            client.process()?;
        }
        client.take_ready().await?;
        client.give_owed()?;
        client.note_bytes();
        if client.may_leave() {
            return Ok(End::Closing(Reason::SHUTTING_DOWN));
        }
        if client.is_overrun {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let wants_write = holds_back || !client.output.unwritten().is_empty();
        refusing.note(wants_write, Instant::now);
        client.tell_traffic();
        let takes_more = client.takes_more();
        if is_blocked != Some(!takes_more) {
            is_blocked = Some(!takes_more);
            client.session.mailbox.note_blocked(!takes_more);
        }
        let wants_turn = client.wants_turn();
        if !wants_turn {
            queue.leave();
        }
        let can_read =
            (client.frames.is_empty() || client.reads_ahead()) && !client.is_held && client.reads_enough();
        if can_read {
            client.reserve_block();
        }
        if can_read && !could_read {
            client.silence.excuse(Instant::now());
        }
        could_read = can_read;
        tokio::select! {
            biased;
            // Before what may always be ready, or a client that floods would have all the time it likes.
            () = &mut tick => {
                let last_packet = client.silence.since().into_std();
                client.session.standing.note_active(client.context.bus.ms_of(last_packet));
                if can_read {
                    client.check_silence()?;
                }
                if client.stalls(Instant::now()) {
                    client.context.bus.reached.note(Limit::WriteTimeout, &client.client_id);
                    return Err(Reason::QUOTA_EXCEEDED);
                }
                if refusing.lasts(client.context.config.limits.write_timeout, Instant::now()) {
                    return Ok(End::Lost(Ended::WriteTimeout));
                }
                tick.as_mut().reset(client.next_tick(can_read));
            }
            order = orders.recv(), if !client.is_leaving() => match order {
                // Bounded by the broker's grace, at whose end the task is dropped.
                Some(Order::End(Reason::SHUTTING_DOWN)) => client.begin_farewell(),
                order => return Ok(End::ordered(order)),
            },
            // Before what may always be ready, or whoever has the place would keep it while others wait.
            place = queue.place(&client.slice), if wants_turn => {
                client.slice = place.begin().await;
                client.refill();
                client.process()?;
            }
            written = write_some(writer, client.output.unwritten()), if wants_write => match written {
                Ok(written) => {
                    client.output.advance(written.bytes);
                    holds_back = written.holds_back;
                    refusing.note_taken(written.bytes, Instant::now);
                }
                Err(_gone) => return Ok(End::Lost(Ended::Lost)),
            },
            read = reader.read_buf(&mut client.unread), if can_read => match read {
                Ok(bytes) if bytes > 0 => {
                    let now = Instant::now();
                    client.read_bytes = bytes;
                    client.received.bytes += bytes as u64;
                    if client.frames.is_empty() {
                        client.process()?;
                    } else {
                        queue.leave();
                        client.review_rights().await?;
                        client.look_ahead()?;
                    }
                    client.note_arrived(now);
                    turn_bytes += bytes;
                    if turn_bytes >= TURN_BYTES_MAX {
                        // A flood: let the others have their turn.
                        turn_bytes = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(End::Lost(Ended::WebSocket)),
                _ => return Ok(End::Lost(Ended::Lost)),
            },
            () = client.session.mailbox.arrival(), if takes_more => {}
            () = news.notified(), if !client.owed.is_empty() => {}
            () = client.shared_queue.arrival(), if takes_more && client.is_member => {}
            // It cannot fail: the bus has the other end, and lives as long as we do.
            _ = client.progress.changed(), if client.is_held || client.is_leaving() => {
                let was_held = client.is_held;
                client.is_held = was_held && client.context.bus.is_behind();
                if was_held && !client.is_held {
                    client.process()?;
                }
            }
            () = client.visit.called(), if client.visit.is_waiting() && !client.is_held => client.process()?,
            () = until(client.paused_until), if client.paused_until.is_some() => {
                client.paused_until = None;
                client.process()?;
            }
        }
    }
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
