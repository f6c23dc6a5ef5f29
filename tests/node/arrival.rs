//! When a request arrived is the broker's word: the simulated uplink, and the time
//! that the answer tells, count from there.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nearfar::Detector;
use nearfar::client::{Acknowledge, Client, ClientError, Conversation, Publisher, State, Subscriber};
use nearfar::deployment::{Config, Deployment};
use nearfar::mqtt::Message;
use nearfar::network::Profile;

use crate::support::{MODEL, PATIENCE, request};

/// A broker that hands over one message, and collects what is published.
struct OneMessage {
    message: Mutex<Option<Message>>,
    published: Sender<Message>,
}

struct Incoming(Option<Message>, Receiver<()>);

struct Outgoing(Sender<Message>, Mutex<Option<Sender<()>>>);

impl Client for OneMessage {
    fn open(&self, _: &str, _: &[String], _: Acknowledge) -> Result<Conversation, ClientError> {
        let message = self.message.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (open, closed) = channel();
        let publisher = Arc::new(Outgoing(self.published.clone(), Mutex::new(Some(open))));
        Ok(Conversation { publisher, subscriber: Box::new(Incoming(message, closed)) })
    }

    fn follow(&self, name: &str, topics: &[String]) -> Result<Conversation, ClientError> {
        self.open(name, topics, Acknowledge::default())
    }

    fn state(&self) -> State {
        State::Online
    }

    fn wait_for_change(&self, _: &State, _: Duration) -> State {
        State::Online
    }

    fn close(&self) {}
}

impl Subscriber for Incoming {
    fn receive(&mut self, batch: &mut Vec<Message>, _: usize) -> Result<bool, ClientError> {
        match self.0.take() {
            Some(message) => {
                batch.push(message);
                Ok(true)
            }
            // Until nobody receives any more.
            None => Ok(self.1.recv().is_ok()),
        }
    }
}

impl Publisher for Outgoing {
    fn publish(&self, batch: &mut Vec<Message>, _: Duration) -> Result<(), ClientError> {
        batch.drain(..).for_each(|message| self.0.send(message).expect("somebody collects"));
        Ok(())
    }

    fn has_room_for(&self, _: usize) -> bool {
        true
    }

    fn stop_receiving(&self) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[test]
fn an_uplink_that_is_over_when_the_request_is_taken_delays_it_no_more() {
    const ONE_WAY: Duration = Duration::from_secs(30);
    let detector = Detector::load(MODEL).expect("the shipped model loads");
    let config = Config::cloud().network(Profile::constant(ONE_WAY));
    let arrived_at =
        Instant::now().checked_sub(2 * ONE_WAY).expect("the machine's clock has run for so long");
    let message = Message {
        received_at: Some(arrived_at),
        ..Message::new("ml/inference/request", request("s", 1).into_bytes())
    };
    let (published, answers) = channel();
    let client = OneMessage { message: Mutex::new(Some(message)), published };
    let deployment = Deployment::start(config, detector, &client).expect("it starts");
    // Both ways are over at once: the second makes up for the lateness of the first.
    let answer = answers.recv_timeout(ONE_WAY).expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).expect("JSON");
    let total_ms = answer["total_latency_ms"].as_f64().expect("a number");
    assert!(total_ms >= 2.0 * ONE_WAY.as_secs_f64() * 1e3, "{answer}");
    let statistics = deployment.finish(Instant::now() + PATIENCE);
    assert_eq!((statistics.answered, statistics.in_flight), (1, 0));
}
