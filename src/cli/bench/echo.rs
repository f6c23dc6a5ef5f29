//! A broker whose in-process client sends every request back: what carrying costs without thinking.

use crate::broker::{Broker, Config};
use crate::cli::output;
use crate::deployment::Topics;
use crate::mqtt::Message;

/// Messages taken from the broker at once; as many as a deployment takes.
const BATCH_MAX: usize = 512;

/// Serves until it is killed.
pub fn run() -> anyhow::Result<()> {
    let topics = Topics::default();
    let broker = Broker::start(Config::loopback())?;
    let (publisher, mut subscriber) = broker.link("echo")?;
    subscriber.subscribe(&topics.request)?;
    output::line(&format!("ready mqtt={} model=echo placement=echo", broker.addresses()[0].1))?;
    let mut batch = Vec::new();
    while subscriber.receive(&mut batch, BATCH_MAX)? {
        batch.iter_mut().for_each(|message| address(message, &topics.result));
        publisher.publish(&mut batch)?;
    }
    Ok(())
}

/// Addresses a request to its own device; what names none goes nowhere.
fn address(message: &mut Message, result_topic: &str) {
    const MEMBER: &[u8] = b"\"device_id\":\"";
    let at = message.payload.windows(MEMBER.len()).position(|window| window == MEMBER);
    let rest = at.map_or(&[][..], |at| &message.payload[at + MEMBER.len()..]);
    let end = rest.iter().position(|&byte| byte == b'"').unwrap_or(0);
    let mut topic = Vec::with_capacity(result_topic.len() + 1 + end);
    topic.extend_from_slice(result_topic.as_bytes());
    topic.push(b'/');
    topic.extend_from_slice(&rest[..end]);
    message.topic = topic.into();
}
