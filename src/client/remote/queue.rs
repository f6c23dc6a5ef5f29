//! A bounded queue with backpressure: its messages are bounded in number and in the bytes that they take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::mqtt::{Message, Properties};

/// What a message takes beside its parts: itself in a queue, and its parts' allocations.
const MESSAGE_BYTES: usize = size_of::<Waiting>() + 64;

/// A queue for so many messages, which together take so many bytes. A message that
/// takes more than that alone is let in where there is no other.
pub fn queue(messages_max: usize, bytes_max: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(messages_max);
    let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(bytes_max));
    (Sender { sender, room, messages_max, bytes_max }, Receiver(receiver))
}

/// A message with the room that it takes for as long as it is held.
#[derive(Debug)]
pub struct Waiting {
    pub message: Message,
    /// None for a message that came through no queue.
    _room: Option<OwnedSemaphorePermit>,
}

impl From<Message> for Waiting {
    fn from(message: Message) -> Self {
        Self { message, _room: None }
    }
}

/// The way into a bounded queue. Clones share its room.
#[derive(Debug, Clone)]
pub struct Sender {
    sender: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    messages_max: usize,
    bytes_max: usize,
}

/// Why a message is not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// There is no room now; here it is back.
    Full(Message),
    /// Nobody takes messages any more.
    Ended,
}

impl Sender {
    /// Waits for room. Whether somebody takes messages still.
    pub async fn send(&self, message: Message) -> bool {
        let room = Arc::clone(&self.room).acquire_many_owned(self.needed(&message)).await.ok();
        self.sender.send(Waiting { message, _room: room }).await.is_ok()
    }

    /// Takes the message if there is room.
    ///
    /// # Errors
    /// [`NotTaken`] if there is none, or never will be.
    pub fn try_send(&self, message: Message) -> Result<(), NotTaken> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(self.needed(&message)) else {
            return Err(NotTaken::Full(message));
        };
        self.sender.try_send(Waiting { message, _room: Some(room) }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(waiting) => NotTaken::Full(waiting.message),
            mpsc::error::TrySendError::Closed(_) => NotTaken::Ended,
        })
    }

    /// Whether so many messages fit and half of the queue is free beside them, for
    /// others may fill it meanwhile.
    pub fn has_ample_room_for(&self, messages: usize) -> bool {
        self.sender.capacity() >= messages + self.messages_max / 2
            && self.room.available_permits() >= self.bytes_max / 2
    }

    fn needed(&self, message: &Message) -> u32 {
        u32::try_from(message_bytes(message).min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

/// The way out of a bounded queue.
#[derive(Debug)]
pub struct Receiver(mpsc::Receiver<Waiting>);

impl Receiver {
    /// Up to `batch_max` messages with the room that they take; waits for the first one.
    /// How many came: none at the end.
    pub async fn recv_many(&mut self, batch: &mut Vec<Waiting>, batch_max: usize) -> usize {
        self.0.recv_many(batch, batch_max).await
    }

    /// Up to `batch_max` messages, for a thread that may wait for the first one. What comes has left the
    /// queue.
    pub fn blocking_recv_many(&mut self, batch: &mut Vec<Message>, batch_max: usize) -> usize {
        let mut taken = Vec::with_capacity(batch_max.min(self.0.len().max(1)));
        let count = self.0.blocking_recv_many(&mut taken, batch_max);
        batch.extend(taken.into_iter().map(|waiting| waiting.message));
        count
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn message_bytes(message: &Message) -> usize {
    let properties = message.properties.as_deref().map_or(0, properties_bytes);
    MESSAGE_BYTES + message.topic.len() + message.payload.len() + properties
}

fn properties_bytes(own: &Properties) -> usize {
    let texts = [&own.response_topic, &own.content_type].into_iter().flatten().map(String::capacity);
    let correlation = own.correlation_data.as_ref().map_or(0, bytes::Bytes::len);
    size_of::<Properties>() + texts.sum::<usize>() + correlation + own.user_properties.bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    fn large(bytes: usize) -> Message {
        Message::new("t", vec![7; bytes])
    }

    #[test]
    fn bytes_bound_it_as_the_number_does_and_come_back_with_the_message() {
        let (sender, mut receiver) = queue(3, 10_000);
        sender.try_send(large(6_000)).unwrap();
        assert!(!sender.has_ample_room_for(1), "more than half of its bytes are taken");
        assert!(matches!(sender.try_send(large(6_000)), Err(NotTaken::Full(_))));
        sender.try_send(large(1)).unwrap();
        sender.try_send(large(1)).unwrap();
        assert!(matches!(sender.try_send(large(1)), Err(NotTaken::Full(_))), "three messages are");
        let mut batch = Vec::new();
        assert_eq!(receiver.blocking_recv_many(&mut batch, 3), 3);
        sender.try_send(large(6_000)).unwrap();
        drop(receiver);
        assert!(matches!(sender.try_send(large(1)), Err(NotTaken::Ended)));
    }

    #[test]
    fn what_is_larger_than_all_of_it_is_let_in_alone() {
        let (sender, mut receiver) = queue(3, 10_000);
        sender.try_send(large(50_000)).unwrap();
        assert!(matches!(sender.try_send(large(1)), Err(NotTaken::Full(_))));
        assert_eq!(receiver.blocking_recv_many(&mut Vec::new(), 3), 1);
        assert!(sender.has_ample_room_for(1));
    }

    #[tokio::test]
    async fn a_message_keeps_its_room_until_it_is_let_go_and_who_waits_is_let_in_then() {
        let (sender, mut receiver) = queue(3, 10_000);
        assert!(sender.send(large(8_000)).await);
        let mut held = Vec::new();
        assert_eq!(receiver.recv_many(&mut held, 3).await, 1);
        assert!(matches!(sender.try_send(large(8_000)), Err(NotTaken::Full(_))));
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(large(8_000)).await }
        });
        held.clear();
        assert!(waiting.await.unwrap());
        assert_eq!(receiver.recv_many(&mut held, 3).await, 1);
        assert!(receiver.is_empty());
        drop(receiver);
        held.clear();
        assert!(!sender.send(large(1)).await, "nobody takes it");
    }

    /// Tasks that send, and the connection's side: it takes batches, and lets what it holds go in any order.
    struct Schedule {
        rng: ChaCha8Rng,
        sender: Sender,
        receiver: Receiver,
        sending: Vec<JoinHandle<bool>>,
        held: Vec<Waiting>,
        put: usize,
        given_up: usize,
        taken: usize,
    }

    impl Schedule {
        fn new(seed: u64) -> Self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (sender, receiver) = queue(rng.random_range(1..6), rng.random_range(500..6_000));
            let (sending, held) = (Vec::new(), Vec::new());
            Self { rng, sender, receiver, sending, held, put: 0, given_up: 0, taken: 0 }
        }

        async fn step(&mut self) {
            let bytes = self.rng.random_range(0..3_000);
            match self.rng.random_range(0..7) {
                0..=2 => {
                    let sender = self.sender.clone();
                    self.sending.push(tokio::spawn(async move { sender.send(large(bytes)).await }));
                    self.put += 1;
                }
                3 => self.put += usize::from(self.sender.try_send(large(bytes)).is_ok()),
                4 => self.give_up().await,
                5 => self.take().await,
                _ => self.let_go(),
            }
            yield_now().await;
        }

        /// Whoever waits may stop doing so, with a part of its room or none.
        async fn give_up(&mut self) {
            if self.sending.is_empty() {
                return;
            }
            let one = self.sending.swap_remove(self.rng.random_range(0..self.sending.len()));
            one.abort();
            self.given_up += usize::from(one.await.is_err());
        }

        async fn take(&mut self) {
            if !self.receiver.is_empty() {
                let batch_max = self.rng.random_range(1..4);
                self.taken += self.receiver.recv_many(&mut self.held, batch_max).await;
            }
        }

        fn let_go(&mut self) {
            if !self.held.is_empty() {
                self.held.swap_remove(self.rng.random_range(0..self.held.len()));
            }
        }

        /// Nobody comes any more, and the connection takes what there is, and holds nothing for long.
        async fn settle(&mut self) {
            while self.taken < self.put - self.given_up {
                self.held.clear();
                self.taken += self.receiver.recv_many(&mut self.held, 2).await;
            }
            self.held.clear();
            for one in self.sending.drain(..) {
                assert!(one.await.expect("it does not panic"), "somebody takes messages");
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_let_in_whatever_is_held_and_whoever_gives_up() {
        for seed in 0..300 {
            let mut schedule = Schedule::new(seed);
            for _ in 0..schedule.rng.random_range(1..60) {
                schedule.step().await;
            }
            let settled = tokio::time::timeout(Duration::from_secs(60), schedule.settle()).await;
            let Schedule { sender, put, given_up, taken, .. } = &schedule;
            assert!(settled.is_ok(), "seed {seed}: of {put} sent, {given_up} given up, {taken} have come");
            assert_eq!(sender.room.available_permits(), sender.bytes_max, "seed {seed}");
            assert_eq!(sender.sender.capacity(), sender.messages_max, "seed {seed}");
        }
    }
}
