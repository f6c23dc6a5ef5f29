//! The client's half of an MQTT session (5.0, 4.1), without any I/O: messages that the broker has not
//! acknowledged, messages that we have not acknowledged, and in which order both go.

use std::collections::{HashSet, VecDeque};

use super::arrivals::Arrivals;
use super::codec::Fate;
use super::queue::Waiting;
use crate::mqtt::{Message, Receipt};

/// The session; it outlives connections.
#[derive(Default)]
pub struct Session {
    last_id: u16,
    /// Packet ids of what is sent and not acknowledged.
    ids: HashSet<u16>,
    /// The packet id of this connection's SUBSCRIBE or UNSUBSCRIBE, of which one waits at a time.
    subscribing: Option<u16>,
    /// Published at QoS 1 or 2 and not acknowledged, in the order of publishing.
    outgoing: VecDeque<Sent>,
    /// How many of `outgoing`, from the front, have been sent on this connection.
    under_way: usize,
    /// The most that may be under way.
    window: usize,
    /// Whether what is sent again was published in this session before.
    is_resumed: bool,
    /// Received and not acknowledged.
    pub incoming: Arrivals,
}

struct Sent {
    id: u16,
    /// With the room that it takes in the outbox.
    waiting: Waiting,
    /// At QoS 2: the broker has the message, and waits for the word that we know.
    is_received: bool,
}

/// What is to be sent again, or for the first time.
pub enum Sending<'a> {
    Publish { id: u16, is_duplicate: bool, message: &'a Message },
    Release(u16),
}

impl Session {
    /// A connection begins. Everything unacknowledged is sent again, in its order; in a
    /// new session it is sent as new, so that it is not lost with the old one.
    pub fn connected(&mut self, window: usize, is_resumed: bool) {
        // The broker's Receive Maximum is of this connection alone (5.0, 4.9). It must not be 0 (3.2.2.3.3);
        // where it is, one message at a time still gets through.
        self.window = window.max(1);
        self.under_way = 0;
        // What the last connection asked for is asked for again, under another id.
        self.subscribing = None;
        self.is_resumed = is_resumed;
        self.incoming.connected(is_resumed);
        // The broker's half of a QoS 2 exchange is a part of its session (5.0, 4.1). Without that a PUBREL
        // would end a message that nobody has: the message itself goes again.
        if !is_resumed {
            self.outgoing.iter_mut().for_each(|sent| sent.is_received = false);
        }
    }

    /// The next one that this connection has not sent, while the broker takes more.
    pub fn resend(&mut self) -> Option<Sending<'_>> {
        if self.under_way >= self.window {
            return None;
        }
        let sent = self.outgoing.get(self.under_way)?;
        self.under_way += 1;
        Some(match sent.is_received {
            // After a PUBREC the PUBLISH is not sent again [MQTT-4.3.3-6], and the PUBREL has the place that
            // the message had in the order of resending [MQTT-4.6.0-1].
            true => Sending::Release(sent.id),
            false => Sending::Publish {
                id: sent.id,
                // DUP says that it may have come before [MQTT-3.3.1-1]; to a new session it has not.
                is_duplicate: self.is_resumed,
                message: &sent.waiting.message,
            },
        })
    }

    /// How many new messages may be published now.
    pub fn room(&self) -> usize {
        if self.under_way < self.outgoing.len() { 0 } else { self.window.saturating_sub(self.outgoing.len()) }
    }

    /// Keeps a message of QoS 1 or 2 until it is acknowledged; returns its packet id.
    /// There must be [`room`](Self::room).
    pub fn publish(&mut self, message: impl Into<Waiting>) -> (u16, &Message) {
        let id = self.new_id();
        self.ids.insert(id);
        self.under_way += 1;
        self.outgoing.push_back(Sent { id, waiting: message.into(), is_received: false });
        (id, &self.outgoing[self.outgoing.len() - 1].waiting.message)
    }

    /// A packet id for a SUBSCRIBE or UNSUBSCRIBE, in use until [`subscribed`](Self::subscribed).
    pub fn subscribe(&mut self) -> u16 {
        let id = self.new_id();
        self.subscribing = Some(id);
        id
    }

    /// SUBACK or UNSUBACK: the packet id is free again.
    pub fn subscribed(&mut self) {
        self.subscribing = None;
    }

    /// A packet id that nothing uses.
    fn new_id(&mut self) -> u16 {
        loop {
            // Behind 65,535 comes 1: an id is never 0 [MQTT-2.2.1-3].
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            // There are 65,535 ids, and the window is far smaller.
            if !self.ids.contains(&self.last_id) && self.subscribing != Some(self.last_id) {
                return self.last_id;
            }
        }
    }

    /// PUBACK, PUBCOMP, or a PUBREC that refuses: the message has ended. Returns it; none for an unknown id.
    pub fn acknowledged(&mut self, id: u16, fate: &Fate) -> Option<Message> {
        // Also with an error the PUBLISH counts as acknowledged and is not sent again [MQTT-4.4.0-2]; what
        // differs is what becomes of the request that it answers.
        let mut message = self.remove(id)?;
        match (fate, message.receipt.take()) {
            // What will never be taken would otherwise be asked for and answered for ever.
            (Fate::Taken | Fate::Refused(_), Some(receipt)) => receipt.settle(),
            // Dropped unsettled, the request is not acknowledged, so that the next connection brings it again
            // [MQTT-4.4.0-1] and there is another answer to send.
            (Fate::Postponed(_), receipt) => drop(receipt),
            (_, None) => {}
        }
        Some(message)
    }

    /// PUBREC of a message that the broker took: it waits for a PUBREL.
    pub fn received(&mut self, id: u16) {
        if let Some(sent) = self.outgoing.iter_mut().find(|sent| sent.id == id) {
            sent.is_received = true;
        }
    }

    /// Messages that the broker has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    fn remove(&mut self, id: u16) -> Option<Message> {
        let at = self.outgoing.iter().position(|sent| sent.id == id)?;
        self.under_way -= usize::from(at < self.under_way);
        self.ids.remove(&id);
        self.outgoing.remove(at).map(|sent| sent.waiting.message)
    }

    /// Received messages that we owe an acknowledgement for.
    pub fn owed(&self) -> usize {
        self.incoming.pending() + self.incoming.lost()
    }
}

/// Settles what is answered by a message that leaves at QoS 0, which nobody acknowledges.
pub fn settle_all(receipts: &mut Vec<Receipt>) {
    receipts.drain(..).for_each(Receipt::settle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Qos, Settlement};

    fn message(text: &str, qos: Qos) -> Message {
        Message { qos, ..Message::new("t", text.to_owned()) }
    }

    fn connected(window: usize) -> Session {
        let mut session = Session::default();
        session.connected(window, false);
        session
    }

    /// What a new connection sends: ids, whether marked as duplicates, payloads; releases have none.
    fn resent(session: &mut Session) -> Vec<(u16, bool, String)> {
        let mut all = Vec::new();
        while let Some(sending) = session.resend() {
            all.push(match sending {
                Sending::Publish { id, is_duplicate, message } => {
                    (id, is_duplicate, String::from_utf8_lossy(&message.payload).into_owned())
                }
                Sending::Release(id) => (id, false, "release".to_owned()),
            });
        }
        all
    }

    fn triple(id: u16, is_duplicate: bool, text: &str) -> (u16, bool, String) {
        (id, is_duplicate, text.to_owned())
    }

    #[test]
    fn what_is_unacknowledged_is_sent_again_in_its_order_also_when_ids_start_over() {
        let mut session = connected(10);
        session.last_id = u16::MAX - 1;
        for text in ["a", "b", "c"] {
            session.publish(message(text, Qos::AtLeastOnce));
        }
        assert!(session.acknowledged(u16::MAX, &Fate::Taken).is_some());
        session.connected(10, true);
        assert_eq!(resent(&mut session), [triple(1, true, "b"), triple(2, true, "c")]);
        session.connected(10, false);
        assert_eq!(resent(&mut session), [triple(1, false, "b"), triple(2, false, "c")]);
    }

    #[test]
    fn no_more_is_under_way_than_the_broker_takes_also_when_it_takes_less_than_before() {
        let mut session = connected(3);
        for text in ["a", "b", "c"] {
            assert!(session.room() > 0);
            session.publish(message(text, Qos::AtLeastOnce));
        }
        assert_eq!(session.room(), 0);
        session.connected(2, true);
        assert_eq!(resent(&mut session), [triple(1, true, "a"), triple(2, true, "b")]);
        session.acknowledged(1, &Fate::Taken);
        assert_eq!(resent(&mut session), [triple(3, true, "c")]);
        session.acknowledged(3, &Fate::Taken);
        assert_eq!(session.room(), 1);
    }

    #[test]
    fn a_message_of_quality_two_is_released_and_not_sent_twice() {
        let mut session = connected(3);
        session.publish(message("a", Qos::ExactlyOnce));
        session.received(1);
        session.connected(3, true);
        assert_eq!(resent(&mut session), [triple(1, false, "release")]);
        // A new session knows nothing of it.
        session.connected(3, false);
        assert_eq!(resent(&mut session), [triple(1, false, "a")]);
        assert!(session.acknowledged(1, &Fate::Taken).is_some());
        assert_eq!(session.unacknowledged(), 0);
    }

    #[test]
    fn an_answer_settles_its_request_once_the_broker_has_it() {
        use std::sync::mpsc::sync_channel;
        for (fate, expected) in [
            (Fate::Taken, Settlement::Settled),
            (Fate::Refused(String::new()), Settlement::Settled),
            (Fate::Postponed(String::new()), Settlement::Lost),
        ] {
            let (sender, receiver) = sync_channel(1);
            let mut answer = message("a", Qos::AtLeastOnce);
            answer.receipt = Some(Receipt::new(move |settlement| sender.send(settlement).unwrap()));
            let mut session = connected(1);
            session.publish(answer);
            assert!(receiver.try_recv().is_err());
            session.acknowledged(1, &fate);
            assert_eq!(receiver.recv(), Ok(expected), "{fate:?}");
        }
    }

    #[test]
    fn an_id_in_use_is_not_given_out_again() {
        let mut session = connected(3);
        session.publish(message("a", Qos::AtLeastOnce));
        session.last_id = u16::MAX;
        assert_eq!(session.new_id(), 2);
    }

    /// [MQTT-2.2.1-3]: PUBLISH, SUBSCRIBE and UNSUBSCRIBE draw from the same ids.
    #[test]
    fn no_message_has_the_id_of_a_subscription_that_is_not_acknowledged() {
        let mut session = connected(3);
        let subscribing = session.subscribe();
        session.last_id = subscribing - 1;
        let (id, _) = session.publish(message("a", Qos::AtLeastOnce));
        assert_ne!(id, subscribing);
        session.subscribed();
        session.last_id = subscribing - 1;
        assert_eq!(session.publish(message("b", Qos::AtLeastOnce)).0, subscribing);
    }
}
