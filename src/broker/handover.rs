//! What a member of shared subscriptions leaves behind when its session ends: another member gets what it has not acknowledged.

use super::connection::note_dropped;
use super::publication::Publication;
use super::server::Server;
use super::session::{Delivery, Session};
use crate::mqtt::Qos;
use std::sync::Arc;

/// Gives back what came by shared groups and is not acknowledged. A QoS 2 message that the client was sent stays with it,
/// for another member must not get it a second time (MQTT 5, 4.8.2).
pub(super) fn hand_over(server: &Server, client_id: &str, session: &mut Session) {
    let inflight = std::mem::take(&mut session.inflight)
        .into_iter()
        .filter(|message| message.delivery.qos == Qos::AtLeastOnce)
        .map(|message| message.delivery);
    let left = inflight.chain(std::iter::from_fn(|| session.pending.pop_front()));
    let dropped = left
        .filter(|delivery| delivery.group.is_some())
        .filter(|delivery| !give_back(server, delivery))
        .count();
    note_dropped(server, client_id, dropped as u64, "the last member of a shared subscription left");
    session.unsent = 0;
}

/// Whether another member will get it.
fn give_back(server: &Server, delivery: &Delivery) -> bool {
    let Some(left) = &delivery.group else { return false };
    // The group has ended with its last member; another of its name and filter may have begun since.
    let current = server.bus.subscriptions().group(&left.filter, &left.name);
    let Some(group) = current else { return false };
    group.give_back(Arc::new(Publication {
        topic: delivery.topic.clone(),
        payload: delivery.payload.clone(),
        properties: delivery.properties.clone(),
        qos: delivery.qos,
        retain: delivery.retain,
        deadline_ms: delivery.deadline_ms,
        ..Publication::default()
    }))
}
