//! `nearfar relearn`: has a running node's devices learn anew what is normal.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{Unusable, output, values};
use crate::client::{Client, Remote, RemoteConfig, RemoteTls, State, Subscriber};
use crate::mqtt::{Message, Qos};
use crate::sync::after;

/// Have a device of a running node, or all of them, learn anew what is normal: after it was repaired or moved
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The device
    #[arg(long, value_name = "ID", value_parser = values::device_id, required_unless_present = "all")]
    device: Option<String>,
    /// All devices of the deployment
    #[arg(long, conflicts_with = "device")]
    all: bool,
    /// The deployment that has learnt of them
    #[arg(long, value_name = "NAME", default_value = "edge")]
    deployment: String,
    /// The node's relearn_topic
    #[arg(long, value_name = "TOPIC", default_value = "ml/inference/relearn")]
    topic: String,
    /// Host of the broker
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    broker_host: String,
    /// Port of the broker
    #[arg(long, value_name = "PORT", default_value = "1883")]
    broker_port: u16,
    /// User at the broker; the password is that of the environment variable NEARFAR_REMOTE_PASSWORD
    #[arg(long, value_name = "NAME")]
    broker_username: Option<String>,
    /// PEM file of authorities of which one has signed the broker's certificate: speak TLS
    #[arg(long, value_name = "FILE")]
    broker_ca_file: Option<PathBuf>,
}

/// How long the broker may be away, and how long the node may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Asks, and says what became of it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let client = connect(args)?;
    let topic = format!("{}/{}", args.topic, args.deployment);
    let heard = [format!("{topic}/relearning"), format!("{topic}/error")];
    let conversation = client.follow("relearn", &heard)?;
    client.begin();
    wait_until_online(&client)?;
    let answers = collect(conversation.subscriber)?;
    let body = match &args.device {
        Some(device) => json!({ "device_id": device }),
        None => json!({ "all": true }),
    };
    let mut message = Message::new(topic.clone(), body.to_string());
    message.qos = Qos::AtLeastOnce;
    conversation.publisher.publish(&mut vec![message], WAIT_MAX)?;
    let Ok(answer) = answers.recv_timeout(WAIT_MAX) else {
        bail!(
            "nobody has answered on {topic} within {WAIT_MAX:?}: is relearn_topic = {:?} in the node's file, is a \
             deployment called {:?}, and may this user publish there?",
            args.topic,
            args.deployment
        );
    };
    let said: Value = serde_json::from_slice(&answer.payload).context("the answer is no JSON")?;
    if let Some(error) = said["error"].as_str() {
        bail!(Unusable(error.to_owned()));
    }
    let devices = said["devices"].as_u64().unwrap_or_default();
    output::line(&match (devices, &args.device) {
        (0, Some(device)) => format!("{device} is not known: it learns when it first sends"),
        (1, Some(device)) => format!("{device} learns anew"),
        (1, None) => "1 device learns anew".to_owned(),
        (devices, _) => format!("{devices} devices learn anew"),
    })
}

fn connect(args: &Args) -> anyhow::Result<Remote> {
    let client_id = format!("nearfar-relearn-{:08x}", rand::random::<u32>());
    let mut config = RemoteConfig::new(&args.broker_host, args.broker_port, client_id);
    // Nobody comes back for an answer that was missed.
    config.session_expiry = Duration::ZERO;
    config.credentials = match &args.broker_username {
        Some(name) => {
            let password = std::env::var("NEARFAR_REMOTE_PASSWORD").unwrap_or_default();
            Some((name.clone(), password))
        }
        None => None,
    };
    let tls = |ca_file: &PathBuf| RemoteTls { ca_file: ca_file.clone(), client: None, server_name: None };
    config.tls = args.broker_ca_file.as_ref().map(tls);
    Ok(Remote::new(config, None)?)
}

fn wait_until_online(client: &Remote) -> anyhow::Result<()> {
    let deadline = after(Instant::now(), WAIT_MAX);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.state() {
            State::Online => return Ok(()),
            State::Offline(reason) | State::Gone(reason) if left.is_zero() => {
                bail!("the broker cannot be reached: {reason}")
            }
            known => drop(client.wait_for_change(&known, left)),
        }
    }
}

/// The first message, from a thread that waits for it.
fn collect(mut subscriber: Box<dyn Subscriber>) -> anyhow::Result<Receiver<Message>> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("relearn".to_owned()).spawn(move || {
        let mut messages = Vec::new();
        if let Ok(true) = subscriber.receive(&mut messages, 1)
            && let Some(first) = messages.pop()
        {
            // Where nobody waits any more there is nobody to be told.
            sender.send(first).ok();
        }
    })?;
    Ok(receiver)
}
