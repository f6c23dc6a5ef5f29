//! Pending acknowledgements, those that a client is owed for its publishes: in the order of
//! those, each as soon as it may be given.
//!
//! Most may be given at once. That of a request waits until the request has been
//! answered, and those behind it wait for it, for MQTT wants them in order (MQTT 5,
//! 4.6). Where the answer goes to the same client, it is written first.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use super::client::Client;
use crate::broker::codec::Version;
use crate::broker::codec::reason::Reason;
use crate::mqtt::packet::first;
use crate::mqtt::{Qos, Receipt, Settlement};

/// Whether what a publish waits for has come.
#[derive(Default)]
pub struct Answered(AtomicU8);

const WAITING: u8 = 0;
const SETTLED: u8 = 1;
const LOST: u8 = 2;

impl Answered {
    /// A receipt that travels with a publish, and where its end is seen; `news` is told of it.
    pub fn receipt(news: &Arc<Notify>) -> (Receipt, Arc<Self>) {
        let answered = Arc::new(Self::default());
        let (told, news) = (answered.clone(), news.clone());
        let receipt = Receipt::new(move |settlement| {
            let end = if settlement == Settlement::Settled { SETTLED } else { LOST };
            told.0.store(end, Ordering::Release);
            news.notify_one();
        });
        (receipt, answered)
    }

    fn end(&self) -> Option<Settlement> {
        match self.0.load(Ordering::Acquire) {
            WAITING => None,
            SETTLED => Some(Settlement::Settled),
            _ => Some(Settlement::Lost),
        }
    }
}

/// When an acknowledgement may be given.
pub enum When {
    /// Now, with this reason.
    Now(Reason),
    /// Once the publish has been answered.
    Answered(Arc<Answered>),
}

struct Acknowledgement {
    packet_id: u16,
    qos: Qos,
    when: When,
    /// How much the client must have been given first: all that was in its mailbox when
    /// its publish was answered.
    behind: Option<u64>,
}

/// The acknowledgements that one connection owes.
#[derive(Default)]
pub struct Owed {
    queue: VecDeque<Acknowledgement>,
    /// Packet ids of those at QoS 2.
    exactly_once: HashSet<u16>,
}

impl Owed {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a QoS 2 publish with this packet id waits for its acknowledgement.
    pub fn has_received(&self, packet_id: u16) -> bool {
        self.exactly_once.contains(&packet_id)
    }

    pub fn push(&mut self, packet_id: u16, qos: Qos, when: When) {
        if qos == Qos::ExactlyOnce {
            self.exactly_once.insert(packet_id);
        }
        self.queue.push_back(Acknowledgement { packet_id, qos, when, behind: None });
    }

    /// The next one that may be given to a client that has been given so much from its
    /// mailbox, into which so much was put; and how what it waited for has ended.
    fn next(&mut self, put: u64, given: u64) -> Option<(u16, Qos, Result<Reason, Lost>)> {
        let first = self.queue.front_mut()?;
        let end = match &first.when {
            When::Now(reason) => Ok(*reason),
            When::Answered(answered) => match answered.end()? {
                Settlement::Settled => Ok(Reason::SUCCESS),
                Settlement::Lost => Err(Lost),
            },
        };
        if *first.behind.get_or_insert(put) > given {
            return None;
        }
        let next = (first.packet_id, first.qos, end);
        self.queue.pop_front();
        if next.1 == Qos::ExactlyOnce {
            self.exactly_once.remove(&next.0);
        }
        Some(next)
    }

    /// The QoS 2 publishes that still wait: their client asks for those acknowledgements
    /// again, on its next connection.
    pub fn unanswered(&mut self) -> impl Iterator<Item = (u16, Arc<Answered>)> {
        self.exactly_once.clear();
        self.queue.drain(..).filter_map(|owed| match owed.when {
            When::Answered(answered) if owed.qos == Qos::ExactlyOnce => Some((owed.packet_id, answered)),
            _ => None,
        })
    }
}

/// What the publish asked for is lost.
struct Lost;

impl Client {
    /// Owes the client an acknowledgement, and gives it where nothing is in its way.
    pub fn owe(&mut self, packet_id: u16, qos: Qos, when: When) {
        match when {
            When::Now(reason) if self.owed.is_empty() => self.give(packet_id, qos, reason),
            when => self.owed.push(packet_id, qos, when),
        }
    }

    /// Gives what may be given.
    ///
    /// # Errors
    /// When a request is lost and the client cannot be told so but by the end of the
    /// connection: then it sends it again.
    pub fn give_owed(&mut self) -> Result<(), Reason> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let (put, taken) = self.session.live.mailbox.counts();
        // What waits for the client's window is the last of it.
        let given = taken.saturating_sub(self.session.pending.len() as u64);
        while let Some((packet_id, qos, end)) = self.owed.next(put, given) {
            let reason = match end {
                Ok(reason) => reason,
                Err(Lost) if self.context.bus.is_draining() => {
                    // The client sends it again elsewhere or later, with all behind it; a refusal would
                    // keep it from that.
                    self.owed = Owed::default();
                    return Ok(());
                }
                Err(Lost) => {
                    self.session.receiving.remove(&packet_id);
                    if self.version == Version::V311 {
                        return Err(Reason::UNSPECIFIED);
                    }
                    Reason::UNSPECIFIED
                }
            };
            self.give(packet_id, qos, reason);
        }
        Ok(())
    }

    /// Whether the client has as many publishes unanswered as it may.
    pub fn owes_too_much(&self) -> bool {
        self.owed.len() >= self.context.config.limits.receive_max.into()
    }

    fn give(&mut self, packet_id: u16, qos: Qos, reason: Reason) {
        let first = if qos == Qos::ExactlyOnce { first::PUBREC } else { first::PUBACK };
        self.output.ack(first, packet_id, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_keep_the_order_of_the_publishes() {
        let news = Arc::new(Notify::new());
        let (mut owed, mut receipts) = (Owed::default(), Vec::new());
        for packet_id in [1, 3] {
            let (receipt, answered) = Answered::receipt(&news);
            owed.push(packet_id, Qos::AtLeastOnce, When::Answered(answered));
            owed.push(packet_id + 1, Qos::AtLeastOnce, When::Now(Reason::SUCCESS));
            receipts.push(receipt);
        }
        let given =
            |owed: &mut Owed| std::iter::from_fn(|| owed.next(0, 0).map(|(id, ..)| id)).collect::<Vec<_>>();
        receipts.pop().unwrap().settle();
        assert!(given(&mut owed).is_empty());
        receipts.pop().unwrap().settle();
        assert_eq!(given(&mut owed), [1, 2, 3, 4]);
    }

    #[test]
    fn what_lies_in_the_mailbox_goes_first() {
        let mut owed = Owed::default();
        let (receipt, answered) = Answered::receipt(&Arc::new(Notify::new()));
        owed.push(1, Qos::AtLeastOnce, When::Answered(answered));
        assert!(owed.next(7, 7).is_none());
        receipt.settle();
        assert!(owed.next(9, 8).is_none());
        // More has come meanwhile, and need not be waited for.
        assert!(matches!(owed.next(12, 9), Some((1, ..))));
    }

    #[test]
    fn what_was_lost_is_told_and_what_waits_at_qos_2_is_kept() {
        let news = Arc::new(Notify::new());
        let mut owed = Owed::default();
        let mut ask = |packet_id, qos| {
            let (receipt, answered) = Answered::receipt(&news);
            owed.push(packet_id, qos, When::Answered(answered));
            receipt
        };
        let lost = ask(1, Qos::AtLeastOnce);
        let _waiting = [ask(2, Qos::AtLeastOnce), ask(3, Qos::ExactlyOnce)];
        drop(lost);
        assert!(matches!(owed.next(0, 0), Some((1, Qos::AtLeastOnce, Err(Lost)))));
        assert!(owed.next(0, 0).is_none());
        assert_eq!(owed.unanswered().map(|(id, _)| id).collect::<Vec<_>>(), [3]);
    }
}
