//! One connection, from the broker's acceptance to its end: reads and writes at the
//! same time, and hands messages on.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{info, warn};

use super::CLOSE_WAIT_MAX;
use super::codec::Fate;
use super::driver::Driver;
use super::failures::{Failure, Trouble};
use super::link::{Drain, Link, READ_BYTES_MIN, Written, lost, write};
use super::queue::Waiting;
use super::session::{Sending, settle_all};
use crate::client::State;
use crate::mqtt::{Qos, Settlement};

/// The most messages taken from the outbox in one go.
const PUBLISH_BATCH_MAX: usize = 256;
/// The longest wait for the last words to leave.
const GOODBYE_WAIT_MAX: Duration = Duration::from_secs(1);
/// After this long a connection with messages whose answers were lost is made anew,
/// so that the broker delivers them again.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How a connection ended.
pub enum Ended {
    /// By our own goodbye.
    Left,
    /// Not by our wish, and why.
    Lost(Failure),
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
        link.greeting = self.shared.greeting();
        let mut ping_at = link.ping_interval.map(|interval| Instant::now() + interval);
        let mut batch = Vec::with_capacity(PUBLISH_BATCH_MAX);
        loop {
            if let Err(ended) = self.work(link) {
                return ended;
            }
            // This bounds publishing alone: with the broker's quota used up everything else goes on
            // [MQTT-4.9.0-3].
            let room = if link.has_output_room() { self.session.room().min(PUBLISH_BATCH_MAX) } else { 0 };
            let remake_at = link.remake.as_ref().map(|(at, _)| *at);
            let due = [ping_at, remake_at, link.leave_at].into_iter().flatten().min();
            let is_leaving = self.is_leaving();
            let is_unsent = link.is_unflushed || !link.output.is_empty();
            let Link { reader, writer, input, output, .. } = link;
            if input.capacity() - input.len() < READ_BYTES_MIN {
                input.reserve(READ_BYTES_MIN);
            }
            // Reading goes on while a write waits: two sides that first write all they have would wait for
            // each other for ever once both sockets are full. Every branch may be dropped half way (tokio
            // calls it cancel safe), as all but one are each time.
            tokio::select! {
                read = reader.read_buf(input) => match read {
                    Ok(0) => return Ended::Lost(Trouble::Lost.because("the broker closed the connection")),
                    Ok(_) => if let Err(failure) = self.take_input(link).await {
                        return Ended::Lost(failure);
                    },
                    Err(cause) => return Ended::Lost(lost(cause)),
                },
                written = write(writer, output), if is_unsent => match written {
                    Ok(Written::Some) => link.is_unflushed = true,
                    Ok(Written::All) => {
                        link.is_unflushed = false;
                        // At QoS 0 nobody answers (4.3.1): that it has left this process is all that will
                        // ever be known.
                        settle_all(&mut link.leaving);
                    }
                    Err(cause) => return Ended::Lost(lost(cause)),
                },
                _ = self.outgoing.recv_many(&mut batch, room), if room > 0 => {
                    for waiting in batch.drain(..) {
                        self.publish(link, waiting);
                    }
                }
                () = self.shared.wake.notified() => {}
                _ = self.phases.changed(), if !is_leaving => {}
                () = sleep_until(due), if due.is_some() => {}
            }
            let now = Instant::now();
            if let Some((_, failure)) = link.remake.take_if(|(at, _)| now >= *at) {
                return Ended::Lost(failure);
            }
            // Also where other packets go out, which would do to keep us alive (5.0, 3.1.2.10): a PINGREQ is
            // the only thing we say that always has an answer, so by it a broker is found silent.
            if let (Some(at), Some(interval)) = (ping_at, link.ping_interval)
                && now >= at
            {
                if link.pinged_at.is_some_and(|pinged| now >= pinged + interval) {
                    let reason = format!("the broker has been silent for {} s", interval.as_secs());
                    return Ended::Lost(Trouble::Silent.because(reason));
                }
                ping_at = Some(link.pinged_at.unwrap_or(now) + interval);
                link.ping(now);
            }
        }
    }

    /// Everything that can be done without waiting.
    fn work(&mut self, link: &mut Link) -> Result<(), Ended> {
        self.acknowledge(link);
        self.send_again(link);
        self.subscribe(link);
        // Behind what is sent again, which leaves no room until it is through: messages keep the order in
        // which they were first published [MQTT-4.6.0-1].
        if let Some(greeting) = link.greeting.take_if(|_| self.session.room() > 0) {
            self.publish(link, greeting);
        }
        self.drain(link);
        if self.is_leaving() { self.leave(link) } else { Ok(()) }
    }

    fn acknowledge(&mut self, link: &mut Link) {
        let mut ended: Vec<(u64, Settlement)> = Vec::new();
        self.settlements.take(&mut ended);
        for (number, settlement) in ended {
            self.session.incoming.settle(number, settlement);
        }
        while let Some((id, qos)) = self.session.incoming.next_acknowledgement() {
            link.codec.acknowledge(id, qos, &mut link.output);
        }
        // MQTT has no way to give a message back: acknowledged with an error it has ended [MQTT-4.4.0-2], and
        // only a new connection brings again what is not acknowledged [MQTT-4.4.0-1].
        if self.session.incoming.lost() > 0
            && link.remake.is_none()
            && !self.shared.routes.filters().is_empty()
        {
            let failure = Trouble::AnswersLost.because("answers were lost; their requests are fetched again");
            link.remake = Some((Instant::now() + FETCH_AGAIN_AFTER, failure));
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

    fn publish(&mut self, link: &mut Link, waiting: impl Into<Waiting>) {
        let waiting = waiting.into();
        if waiting.message.qos == Qos::AtMostOnce {
            let message = waiting.message;
            let written = link.codec.publish(0, false, &message, &mut link.output);
            // Also where it could not be written: it would be as large the next time, and its request come
            // for ever.
            link.leaving.extend(message.receipt);
            if let Err(reason) = written {
                self.warn_undelivered(&message.topic, &reason);
            }
            return;
        }
        let (id, message) = self.session.publish(waiting);
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

    pub fn warn_undelivered(&mut self, topic: &[u8], reason: &str) {
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
            let routes = &self.shared.routes;
            let subscribed = |filter: &String| match routes.is_for_all(filter) {
                // Through `$share` one member alone would get it (5.0, 4.8.2).
                true => filter.clone(),
                false => config.subscribed(filter),
            };
            filters.iter().map(subscribed).collect()
        };
        // On each connection anew, whatever the session holds: to subscribe again replaces the subscription
        // and loses nothing [MQTT-3.8.4-3], and Mosquitto 2.0.11 forgets shared ones when it is stopped
        // (docs/cluster.md).
        let fresh: Vec<_> =
            wanted.iter().filter(|filter| !link.subscribed.contains(filter)).cloned().collect();
        if !fresh.is_empty() {
            let id = self.session.subscribe();
            // The filters have been checked, and are far shorter than the largest packet.
            link.codec.subscribe(id, &as_subscribed(&fresh), &mut link.output).ok();
            link.subscribed.extend(fresh.iter().cloned());
            link.suback = Some((id, fresh));
            return self.shared.set_state(State::Offline("subscribing".to_owned()));
        }
        let gone: Vec<_> =
            link.subscribed.iter().filter(|filter| !wanted.contains(filter)).cloned().collect();
        // A node alone with its session stays subscribed: what comes while it is away is to wait for it.
        if !gone.is_empty() && config.leaves_for_good() {
            let id = self.session.subscribe();
            link.codec.unsubscribe(id, &as_subscribed(&gone), &mut link.output).ok();
            link.subscribed.retain(|filter| !gone.contains(filter));
            link.unsuback = Some(id);
        }
        if !link.is_refused {
            self.announce_online();
        }
    }

    /// Ends the conversations that are closing once the broker has nothing more for them.
    fn drain(&mut self, link: &mut Link) {
        // UNSUBACK is no end: the broker may still deliver what it has queued (5.0, 3.10.4), and holds back
        // what exceeds our Receive Maximum. So all is acknowledged first, and then a ping asks: a broker that
        // had more sends that before its answer.
        if link.drain == Drain::Due && self.session.incoming.pending() == 0 && link.pinged_at.is_none() {
            link.ping(Instant::now());
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
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
