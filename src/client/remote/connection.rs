//! One connection, from the broker's acceptance to its end: reads and writes at the same time, and hands messages on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::CLOSE_WAIT_MAX;
use super::codec::{Accepted, Codec, Fate, Incoming};
use super::config::Config;
use super::driver::Driver;
use super::routes::Destination;
use super::session::{Sending, settle_all};
use super::settlements::Settlements;
use super::transport::Stream;
use crate::client::State;
use crate::mqtt::{Message, Qos, Receipt, Settlement};

/// Written to the socket at the latest when this much is gathered; no more messages are taken before it is gone.
const OUTPUT_BYTES_HIGH: usize = 64 * 1024;
/// Room for reading, at least.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The most messages taken from the outbox in one go.
const PUBLISH_BATCH_MAX: usize = 256;
/// The longest wait for the last words to leave.
const GOODBYE_WAIT_MAX: Duration = Duration::from_secs(1);
/// After this long a connection with messages whose answers were lost is made anew, so that the broker delivers them again.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How a connection ended.
pub(super) enum Ended {
    /// By our own goodbye.
    Left,
    /// For that reason.
    Lost(String),
}

/// The socket and what belongs to this one connection.
pub(super) struct Link {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    pub codec: Codec,
    input: BytesMut,
    pub output: BytesMut,
    is_unflushed: bool,
    /// Of messages that leave at QoS 0: settled when they have left.
    leaving: Vec<Receipt>,
    settlements: Arc<Settlements>,
    /// Filters asked for on this connection.
    subscribed: Vec<String>,
    suback: Option<(u16, Vec<String>)>,
    /// Which version of the routes these subscriptions are of; none while an answer to one of them is still to be seen to.
    routes_seen: Option<usize>,
    unsuback: Option<u16>,
    is_refused: bool,
    drain: Drain,
    ping_interval: Option<Duration>,
    is_ping_unanswered: bool,
    /// The online status that has not been published.
    greeting: Option<Message>,
    fetch_again_at: Option<Instant>,
    /// When to give up waiting for the last acknowledgements.
    leave_at: Option<Instant>,
}

/// Unsubscribed, but the broker may have messages for us that it has queued before: they all come when we acknowledge, and
/// none is left when one round of asking brings none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    Due,
    Asked { has_brought_some: bool },
}

impl Link {
    pub fn new(stream: Box<dyn Stream>, config: &Config, wake: Arc<Notify>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            codec: Codec::new(config),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_unflushed: true,
            leaving: Vec::new(),
            settlements: Settlements::new(wake),
            subscribed: Vec::new(),
            suback: None,
            routes_seen: None,
            unsuback: None,
            is_refused: false,
            drain: Drain::No,
            ping_interval: Some(config.keep_alive),
            is_ping_unanswered: false,
            greeting: None,
            fetch_again_at: None,
            leave_at: None,
        }
    }

    /// Sends what is written and waits for the first packet.
    pub async fn first_packet(&mut self) -> Result<Incoming, String> {
        self.writer.write_all_buf(&mut self.output).await.map_err(lost)?;
        self.writer.flush().await.map_err(lost)?;
        loop {
            if let Some(packet) = self.codec.read(&mut self.input)? {
                return Ok(packet);
            }
            self.input.reserve(READ_BYTES_MIN);
            if self.reader.read_buf(&mut self.input).await.map_err(lost)? == 0 {
                return Err("the broker closes the connection".to_owned());
            }
        }
    }

    /// The broker's own limits hold from now on.
    pub fn accepted(&mut self, config: &Config, accepted: &Accepted) {
        if let Some(bytes) = accepted.packet_bytes_max {
            self.codec.bytes_out_max = bytes;
        }
        let keep_alive = accepted.keep_alive_s.map_or(config.keep_alive, |s| Duration::from_secs(s.into()));
        self.ping_interval = Some(keep_alive).filter(|interval| !interval.is_zero());
    }

    fn has_output_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_HIGH
    }
}

fn lost(cause: std::io::Error) -> String {
    format!("the connection is lost: {cause}")
}

impl Driver {
    /// Serves the connection until it ends, and says goodbye where that is ours to say.
    pub async fn serve(&mut self, mut link: Link) -> Ended {
        let ended = self.exchange(&mut link).await;
        if matches!(ended, Ended::Left) {
            // A broker that does not listen any more needs no goodbye.
            tokio::time::timeout(GOODBYE_WAIT_MAX, self.goodbye(&mut link)).await.ok();
        }
        ended
    }

    async fn goodbye(&self, link: &mut Link) -> std::io::Result<()> {
        let (config, left_behind) = (&self.shared.config, self.session.owed());
        if left_behind > 0 {
            info!(broker = config.address(), left_behind, "requests without an answer stay with the broker");
        }
        // With the session the broker may drop what we leave behind.
        link.codec.disconnect(config.leaves_for_good() && left_behind == 0, &mut link.output);
        link.writer.write_all_buf(&mut link.output).await?;
        link.writer.shutdown().await
    }

    async fn exchange(&mut self, link: &mut Link) -> Ended {
        link.greeting = self.shared.status.as_ref().map(|status| status.message(&status.online));
        let mut ping_at = link.ping_interval.map(|interval| Instant::now() + interval);
        let mut batch = Vec::with_capacity(PUBLISH_BATCH_MAX);
        loop {
            if let Err(ended) = self.work(link) {
                return ended;
            }
            let room = if link.has_output_room() { self.session.room().min(PUBLISH_BATCH_MAX) } else { 0 };
            let due = [ping_at, link.fetch_again_at, link.leave_at].into_iter().flatten().min();
            let is_leaving = self.is_leaving();
            let is_unsent = link.is_unflushed || !link.output.is_empty();
            let Link { reader, writer, input, output, .. } = link;
            if input.capacity() - input.len() < READ_BYTES_MIN {
                input.reserve(READ_BYTES_MIN);
            }
            tokio::select! {
                read = reader.read_buf(input) => match read {
                    Ok(0) => return Ended::Lost("the broker closed the connection".to_owned()),
                    Ok(_) => if let Err(reason) = self.take_input(link).await {
                        return Ended::Lost(reason);
                    },
                    Err(cause) => return Ended::Lost(lost(cause)),
                },
                written = write(writer, output), if is_unsent => match written {
                    Ok(Written::Some) => link.is_unflushed = true,
                    Ok(Written::All) => {
                        link.is_unflushed = false;
                        settle_all(&mut link.leaving);
                    }
                    Err(cause) => return Ended::Lost(lost(cause)),
                },
                _ = self.outgoing.recv_many(&mut batch, room), if room > 0 => {
                    for message in batch.drain(..) {
                        self.publish(link, message);
                    }
                }
                () = self.shared.wake.notified() => {}
                _ = self.phases.changed(), if !is_leaving => {}
                () = sleep_until(due), if due.is_some() => {}
            }
            let now = Instant::now();
            if link.fetch_again_at.is_some_and(|at| now >= at) {
                return Ended::Lost("answers were lost; their requests are fetched again".to_owned());
            }
            if let (Some(at), Some(interval)) = (ping_at, link.ping_interval)
                && now >= at
            {
                if link.is_ping_unanswered {
                    return Ended::Lost(format!("the broker has been silent for {} s", interval.as_secs()));
                }
                link.codec.ping(&mut link.output);
                link.is_ping_unanswered = true;
                ping_at = Some(now + interval);
            }
        }
    }

    /// Everything that can be done without waiting.
    fn work(&mut self, link: &mut Link) -> Result<(), Ended> {
        self.acknowledge(link);
        self.send_again(link);
        self.subscribe(link);
        if let Some(greeting) = link.greeting.take_if(|_| self.session.room() > 0) {
            self.publish(link, greeting);
        }
        self.drain(link);
        if self.is_leaving() { self.leave(link) } else { Ok(()) }
    }

    fn acknowledge(&mut self, link: &mut Link) {
        let mut ended: Vec<(u64, Settlement)> = Vec::new();
        link.settlements.take(&mut ended);
        for (number, settlement) in ended {
            self.session.settle(number, settlement);
        }
        while let Some((id, qos)) = self.session.next_acknowledgement() {
            link.codec.acknowledge(id, qos, &mut link.output);
        }
        if self.session.lost() > 0
            && link.fetch_again_at.is_none()
            && !self.shared.routes.filters().is_empty()
        {
            link.fetch_again_at = Some(Instant::now() + FETCH_AGAIN_AFTER);
        }
    }

    fn send_again(&mut self, link: &mut Link) {
        while link.has_output_room() {
            match self.session.resend() {
                Some(Sending::Release(id)) => link.codec.release(id, &mut link.output),
                Some(Sending::Publish { id, is_duplicate, message }) => {
                    let written = link.codec.publish(id, is_duplicate, message, &mut link.output);
                    if let Err(reason) = written {
                        self.unsent(id, &reason);
                    }
                }
                None => return,
            }
        }
    }

    fn publish(&mut self, link: &mut Link, message: Message) {
        if message.qos == Qos::AtMostOnce {
            let written = link.codec.publish(0, false, &message, &mut link.output);
            link.leaving.extend(message.receipt);
            if let Err(reason) = written {
                self.warn_undelivered(&message.topic, &reason);
            }
            return;
        }
        let (id, message) = self.session.publish(message);
        if let Err(reason) = link.codec.publish(id, false, message, &mut link.output) {
            self.unsent(id, &reason);
        }
    }

    /// A message that the broker does not take at any time: its request is not asked again.
    fn unsent(&mut self, id: u16, reason: &str) {
        if let Some(message) = self.session.acknowledged(id, &Fate::Refused(String::new())) {
            self.warn_undelivered(&message.topic, reason);
        }
    }

    fn warn_undelivered(&mut self, topic: &[u8], reason: &str) {
        if self.warnings.is_due() {
            let topic = String::from_utf8_lossy(topic);
            warn!(%topic, reason, "the broker does not take an answer; more such warnings are held back");
        }
    }

    /// Makes the broker's subscriptions what the conversations want.
    fn subscribe(&mut self, link: &mut Link) {
        let config = &self.shared.config;
        let version = self.shared.routes.version();
        if link.routes_seen == Some(version) || link.suback.is_some() || link.unsuback.is_some() {
            return;
        }
        link.routes_seen = Some(version);
        let wanted = self.shared.routes.filters();
        let as_subscribed = |filters: &[String]| -> Vec<String> {
            filters.iter().map(|filter| config.subscribed(filter)).collect()
        };
        let fresh: Vec<_> =
            wanted.iter().filter(|filter| !link.subscribed.contains(filter)).cloned().collect();
        if !fresh.is_empty() {
            let id = self.session.new_id();
            // The filters have been checked, and are far shorter than the largest packet.
            link.codec.subscribe(id, &as_subscribed(&fresh), &mut link.output).ok();
            link.subscribed.extend(fresh.iter().cloned());
            link.suback = Some((id, fresh));
            return self.announce(State::Offline("subscribing".to_owned()));
        }
        let gone: Vec<_> =
            link.subscribed.iter().filter(|filter| !wanted.contains(filter)).cloned().collect();
        if !gone.is_empty() && config.leaves_for_good() {
            let id = self.session.new_id();
            link.codec.unsubscribe(id, &as_subscribed(&gone), &mut link.output).ok();
            link.subscribed.retain(|filter| !gone.contains(filter));
            link.unsuback = Some(id);
        }
        if !link.is_refused {
            self.announce(State::Online);
        }
    }

    /// Ends the conversations that are closing once the broker has nothing more for them.
    fn drain(&mut self, link: &mut Link) {
        if link.drain == Drain::Due && self.session.pending() == 0 && !link.is_ping_unanswered {
            link.codec.ping(&mut link.output);
            link.is_ping_unanswered = true;
            link.drain = Drain::Asked { has_brought_some: false };
        }
    }

    /// Says goodbye as soon as everything is sent and acknowledged, or it has taken too long.
    fn leave(&mut self, link: &mut Link) -> Result<(), Ended> {
        let now = Instant::now();
        let leave_at = *link.leave_at.get_or_insert(now + CLOSE_WAIT_MAX);
        let is_done = self.outgoing.is_empty() && self.session.unacknowledged() == 0;
        if (!is_done || !link.output.is_empty() || link.is_unflushed) && now < leave_at {
            return Ok(());
        }
        Err(Ended::Left)
    }

    /// Every packet that is all there.
    async fn take_input(&mut self, link: &mut Link) -> Result<(), String> {
        while let Some(packet) = link.codec.read(&mut link.input)? {
            match packet {
                Incoming::Publish { id, message } => self.on_publish(link, id, message).await?,
                Incoming::PubAck(id, fate) => self.on_fate(id, &fate),
                Incoming::PubRec(id, Fate::Taken) => {
                    self.session.received(id);
                    link.codec.release(id, &mut link.output);
                }
                Incoming::PubRec(id, fate) => self.on_fate(id, &fate),
                Incoming::PubComp(id) => self.on_fate(id, &Fate::Taken),
                Incoming::PubRel(id) => link.codec.complete(id, &mut link.output),
                Incoming::SubAck(id, refusals) => self.on_suback(link, id, &refusals),
                Incoming::UnsubAck(id) => {
                    link.routes_seen = None;
                    link.unsuback.take_if(|expected| *expected == id);
                    link.drain = Drain::Due;
                }
                Incoming::PingResp => {
                    link.is_ping_unanswered = false;
                    match link.drain {
                        Drain::Asked { has_brought_some: true } => link.drain = Drain::Due,
                        Drain::Asked { has_brought_some: false } => {
                            link.drain = Drain::No;
                            self.shared.routes.end_closed();
                        }
                        Drain::No | Drain::Due => {}
                    }
                }
                Incoming::Disconnect(reason) => {
                    return Err(format!("the broker ends the connection: {reason}"));
                }
                Incoming::ConnAck(_) | Incoming::Refused(_) => {
                    return Err("the broker accepts the connection twice".to_owned());
                }
            }
        }
        Ok(())
    }

    fn on_fate(&mut self, id: u16, fate: &Fate) {
        let message = self.session.acknowledged(id, fate);
        if let (Fate::Refused(reason) | Fate::Postponed(reason), Some(message)) = (fate, message) {
            self.warn_undelivered(&message.topic, reason);
        }
    }

    fn on_suback(&mut self, link: &mut Link, id: u16, refusals: &[Option<String>]) {
        let Some((_, filters)) = link.suback.take_if(|(expected, _)| *expected == id) else { return };
        link.routes_seen = None;
        let refused = filters.iter().zip(refusals).find_map(|(filter, why)| Some((filter, why.as_ref()?)));
        if let Some((filter, why)) = refused {
            let filter = self.shared.config.subscribed(filter);
            let reason = format!("the broker refuses the subscription to {filter:?}: {why}");
            error!(broker = self.shared.config.address(), "{reason}");
            link.is_refused = true;
            self.announce(State::Offline(reason));
        }
    }

    async fn on_publish(&mut self, link: &mut Link, id: u16, mut message: Message) -> Result<(), String> {
        if let Drain::Asked { has_brought_some } = &mut link.drain {
            *has_brought_some = true;
        }
        let number = (message.qos != Qos::AtMostOnce).then(|| self.session.arrived(id, message.qos));
        if self.session.owed() > usize::from(u16::MAX) {
            return Err("the broker sends more messages than there are packet ids".to_owned());
        }
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        match self.shared.routes.destination(&topic, self.shared.config.partition) {
            Destination::To(receivers) => {
                message.receipt = number.map(|number| link.settlements.receipt(number));
                for receiver in receivers {
                    // The intake only drains and never waits for us, so this waits for it at most a moment. A conversation
                    // that has just ended leaves the message to the broker, with its receipt.
                    receiver.send(message.clone()).await.ok();
                }
                // Each receiver has a receipt of its own; ours is one too many.
                message.receipt.take().into_iter().for_each(Receipt::settle);
            }
            Destination::Ended => {}
            Destination::ElsewhereByPartition => self.settle(number),
            Destination::Unknown => {
                self.settle(number);
                if self.warnings.is_due() {
                    warn!(
                        topic,
                        "a message that no deployment asks for, dropped; does the session at the broker still have a subscription of an earlier configuration?"
                    );
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.session.settle(number, Settlement::Settled);
        }
    }
}

/// How far [`write`] came.
enum Written {
    Some,
    /// Everything, which has left this process.
    All,
}

/// Writes some of `output`; flushes when nothing is left of it. May be dropped half way: nothing is written twice or lost.
async fn write(writer: &mut WriteHalf<Box<dyn Stream>>, output: &mut BytesMut) -> std::io::Result<Written> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(Written::All);
    }
    writer.write_buf(output).await?;
    Ok(Written::Some)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
