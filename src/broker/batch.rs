//! Publishes gathered for the router, with what they change in the retained store and what they add to gates.

use super::gate::Gate;
use super::retained::{Change, RetainedMessage};
use super::tag::{self, Meta};
use bytes::Bytes;
use rumqttd::protocol::{Packet, Publish, PublishProperties};
use std::sync::Arc;

/// Publishes on their way to the router.
#[derive(Default)]
pub(super) struct Batch {
    pub packets: Vec<Packet>,
    pub changes: Vec<Change>,
    pub bytes: usize,
    /// What the batch adds to each gate, as of `gates_version`.
    pub gated: Vec<(Arc<Gate>, u64, u64)>,
    pub gates_version: Option<u64>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether a message that goes through `gates` may join.
    pub fn admits(&self, gates: &[Arc<Gate>], bytes: u64) -> bool {
        gates.iter().all(|gate| {
            let held = self.gated.iter().find(|(held, ..)| Arc::ptr_eq(held, gate)).map_or(0, |held| held.2);
            gate.admits(held, bytes)
        })
    }

    /// Notes that the message just added goes through `gates`, which were looked up at `version`.
    pub fn note_gates(&mut self, gates: &[Arc<Gate>], version: u64, bytes: u64) {
        match self.gates_version {
            None => self.gates_version = Some(version),
            Some(noted) if noted == version => {}
            // Never a real version: the whole batch is counted again when it is pushed.
            Some(_) => self.gates_version = Some(u64::MAX),
        }
        for gate in gates {
            match self.gated.iter_mut().find(|(held, ..)| Arc::ptr_eq(held, gate)) {
                Some(held) => {
                    held.1 += 1;
                    held.2 += bytes;
                }
                None => self.gated.push((gate.clone(), 1, bytes)),
            }
        }
    }

    /// Adds a publish. `topic` is in the router's spelling.
    pub fn add(&mut self, topic: &Bytes, payload: Bytes, meta: Meta, properties: Option<PublishProperties>) {
        if meta.retain {
            let message = (!payload.is_empty()).then(|| RetainedMessage {
                // A copy, so that a retained message does not pin the block it was read in.
                payload: Bytes::copy_from_slice(&payload),
                properties: properties.clone().map(Box::new),
                qos: meta.qos,
                deadline_ms: meta.deadline_ms,
            });
            self.changes.push(Change { topic: String::from_utf8_lossy(topic).into_owned(), message });
        }
        self.bytes += topic.len() + payload.len();
        let publish = Publish::new(topic.clone(), payload, false);
        self.packets.push(Packet::Publish(publish, tag::tag(meta, properties)));
    }
}
