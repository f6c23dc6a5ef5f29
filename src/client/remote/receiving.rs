//! What the broker says, packet by packet, and what follows from it.

use std::time::Instant;

use tracing::{error, warn};

use super::arrivals::Arrived;
use super::codec::{Fate, Incoming};
use super::driver::Driver;
use super::failures::{Failure, Trouble};
use super::link::{Drain, Link};
use super::routes::Destination;
use crate::client::Acknowledge;
use crate::mqtt::{Message, Qos, Receipt, Settlement};
use crate::sync;

impl Driver {
    /// Every packet that is all there.
    pub async fn take_input(&mut self, link: &mut Link) -> Result<(), Failure> {
        while let Some(packet) = link.codec.read(&mut link.input).map_err(Failure::unreadable)? {
            match packet {
                Incoming::Publish { id, message } => self.on_publish(link, id, message).await?,
                Incoming::TooLarge { id, qos, bytes } => {
                    // It would come again and again.
                    if qos != Qos::AtMostOnce {
                        let unread = Message { qos, ..Message::default() };
                        if let Arrived::New(number) = self.session.incoming.arrived(id, &unread) {
                            self.settle(Some(number));
                        }
                    }
                    if self.warnings.is_due() {
                        warn!(bytes, "a message that is larger than packet_bytes_max, dropped");
                    }
                }
                Incoming::PubAck(id, fate) => self.on_fate(id, &fate),
                // Also for an id that we do not know: a PUBREL is due [MQTT-4.3.3-4], and without it the
                // broker would hold the id for as long as it holds the session.
                Incoming::PubRec(id, Fate::Taken) => {
                    self.session.received(id);
                    link.codec.release(id, &mut link.output);
                }
                // With an error there is no second half: no PUBREL follows, and the id is free (5.0, 4.3.3).
                Incoming::PubRec(id, fate) => self.on_fate(id, &fate),
                Incoming::PubComp(id) => self.on_fate(id, &Fate::Taken),
                // Without a look whether we know it, for a PUBCOMP is due in any case [MQTT-4.3.3-11]. A
                // message gets its PUBREC here only once it is settled, so nothing is left to be done.
                Incoming::PubRel(id) => link.codec.complete(id, &mut link.output),
                Incoming::SubAck(id, refusals) => self.on_suback(link, id, &refusals),
                Incoming::UnsubAck(id) => {
                    link.routes_seen = None;
                    if link.unsuback.take_if(|expected| *expected == id).is_some() {
                        self.session.subscribed();
                    }
                    link.drain = Drain::Due;
                }
                Incoming::PingResp => {
                    link.pinged_at = None;
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
                    let reason = format!("the broker ends the connection: {reason}");
                    return Err(Trouble::Disconnected.because(reason));
                }
                // One to a connection [MQTT-3.2.0-2].
                Incoming::ConnAck(_) | Incoming::Refused(_) => {
                    return Err(Trouble::Protocol.because("the broker accepts the connection twice"));
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
        self.session.subscribed();
        link.routes_seen = None;
        let refused = filters.iter().zip(refusals).find_map(|(filter, why)| Some((filter, why.as_ref()?)));
        if let Some((filter, why)) = refused {
            let filter = self.shared.config.subscribed(filter);
            let reason = format!("the broker refuses the subscription to {filter:?}: {why}");
            error!(broker = self.shared.config.address(), "{reason}");
            link.is_refused = true;
            // Somebody may allow it meanwhile.
            let failure = Trouble::SubscriptionRefused.because(reason);
            link.remake =
                Some((sync::after(Instant::now(), self.shared.config.reconnect_wait_max), failure.clone()));
            self.announce_failure(failure);
        }
    }

    async fn on_publish(&mut self, link: &mut Link, id: u16, mut message: Message) -> Result<(), Failure> {
        if let Drain::Asked { has_brought_some } = &mut link.drain {
            *has_brought_some = true;
        }
        let number = if message.qos == Qos::AtMostOnce {
            None
        } else {
            match self.session.incoming.arrived(id, &message) {
                Arrived::New(number) => Some(number),
                Arrived::Copy => return Ok(()),
            }
        };
        // Not our own Receive Maximum, of which a 3.1.1 broker is not told: what bounds either is that each
        // message which is not acknowledged has an id of its own [MQTT-2.2.1-4].
        if self.session.owed() > usize::from(u16::MAX) {
            return Err(Trouble::Protocol.because("the broker sends more messages than there are packet ids"));
        }
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        match self.shared.routes.destination(&topic, self.shared.config.partition) {
            Destination::To(receivers) => {
                message.receipt = number.map(|number| self.settlements.receipt(number));
                for (receiver, acknowledge) in receivers {
                    let mut message = message.clone();
                    if acknowledge == Acknowledge::OnReceipt {
                        message.receipt.take().into_iter().for_each(Receipt::settle);
                    }
                    // The intake only drains and never waits for us, so this waits for it at most a moment.
                    // A conversation that has just ended leaves the message to the broker, with its receipt.
                    let _is_ended = !receiver.send(message).await;
                }
                // Each receiver has a receipt of its own; ours is one too many.
                message.receipt.take().into_iter().for_each(Receipt::settle);
            }
            Destination::Ended => {}
            // The node whose part it is has been sent it as well; kept here, it would fill our Receive
            // Maximum.
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
            self.session.incoming.settle(number, Settlement::Settled);
        }
    }
}
