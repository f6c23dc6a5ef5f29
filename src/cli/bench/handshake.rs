//! From an address to a connection that has subscribed: CONNECT, SUBSCRIBE, and what a broker says to them.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use tokio::net::TcpStream;

use super::load::Plan;
use super::packets::{self, Incoming, Template, Version};
use super::session::{Session, Speech, payload};

/// A connection with more devices than this subscribes to the answers of all
/// devices: brokers bound a client's subscriptions.
const DEVICES_NAMED_MAX: usize = 400;
/// Filters in one SUBSCRIBE.
const FILTERS_AT_ONCE: usize = 100;

/// A socket and its session, with the subscriptions to the answers of `devices` made.
///
/// # Errors
/// When the broker cannot be reached, or refuses.
pub async fn open(plan: &Plan, client_id: &str, devices: &[String]) -> anyhow::Result<(TcpStream, Session)> {
    let stream = TcpStream::connect(&plan.address).await;
    let stream = stream.with_context(|| format!("cannot connect to {}", plan.address))?;
    // Nagle's algorithm (RFC 896) would hold a request back until the one before is acknowledged, and measure
    // itself.
    stream.set_nodelay(true)?;
    let login = plan.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
    let mut received = Vec::new();
    send(&stream, &packets::connect(plan.version, client_id, login)).await?;
    let receive_max = loop {
        match receive(&stream, &mut received, plan.version).await? {
            Handshake::Connected { receive_max } => break receive_max,
            Handshake::Refused { code } => {
                bail!("the broker at {} refused the connection with code {code}", plan.address)
            }
            Handshake::Subscribed => {}
        }
    };
    let everybodys = ["+".to_owned()];
    let named = if devices.len() <= DEVICES_NAMED_MAX { devices } else { &everybodys };
    let filters: Vec<_> = named
        .iter()
        .flat_map(|device| [&plan.result_topic, &plan.error_topic].map(|topic| format!("{topic}/{device}")))
        .collect();
    for filters in filters.chunks(FILTERS_AT_ONCE) {
        send(&stream, &packets::subscribe(plan.version, filters, plan.qos)).await?;
        match receive(&stream, &mut received, plan.version).await? {
            Handshake::Subscribed => {}
            Handshake::Refused { code } => {
                bail!(
                    "the broker at {} refused a subscription such as {} with code {code:#04x}",
                    plan.address,
                    filters[0]
                )
            }
            Handshake::Connected { .. } => bail!("the broker at {} sent a second CONNACK", plan.address),
        }
    }
    let speech =
        Speech { version: plan.version, qos: plan.qos, error_topic: format!("{}/", plan.error_topic) };
    let templates = devices.iter().map(|device| {
        let (payload, stamp_at) = payload(device, plan.features, plan.payload_bytes)?;
        Ok(Template::new(plan.version, plan.qos, &plan.request_topic, &payload, stamp_at))
    });
    let templates = templates.collect::<anyhow::Result<_>>()?;
    Ok((stream, Session::new(speech, devices.to_vec(), templates, receive_max)))
}

enum Handshake {
    Connected { receive_max: u16 },
    Subscribed,
    Refused { code: u8 },
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the connection to the broker"),
        }
    }
    Ok(())
}

async fn receive(stream: &TcpStream, received: &mut Vec<u8>, version: Version) -> anyhow::Result<Handshake> {
    loop {
        if let Some((packet, length)) = packets::next(received, version)? {
            let handshake = match packet {
                Incoming::ConnAck { code: 0, receive_max } => Some(Handshake::Connected { receive_max }),
                Incoming::ConnAck { code, .. } => Some(Handshake::Refused { code }),
                Incoming::SubAck { codes } => match codes.iter().find(|&&code| code >= 0x80) {
                    Some(&code) => Some(Handshake::Refused { code }),
                    None => Some(Handshake::Subscribed),
                },
                _ => None,
            };
            received.drain(..length);
            if let Some(handshake) = handshake {
                return Ok(handshake);
            }
            continue;
        }
        stream.readable().await?;
        let mut block = [0; 1_024];
        match stream.try_read(&mut block) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(bytes) => received.extend_from_slice(&block[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the connection to the broker"),
        }
    }
}
