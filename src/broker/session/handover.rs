//! Redistribution of what a session leaves behind when it ends: another member of its shared groups gets what
//! it has not acknowledged. It may be much, so the others on the thread have their turn in between.

use super::Session;
use super::context::Context;
use super::delivery::Delivery;
use super::subscribing::CHANGE_UNITS;
use crate::broker::limits::dropped::Dropped;
use crate::broker::work::Slice;
use crate::mqtt::Qos;

/// Units of work to drop a message that waits.
const DROP_UNITS: usize = 2;
/// To give it to another member.
const GIVE_UNITS: usize = 10;

/// Ends a session: gives back what came by shared groups and is not acknowledged,
/// and ends the subscriptions. A QoS 2 message that the client was sent stays with
/// it, for another member must not get it a second time (MQTT 5, 4.8.2).
pub async fn end(context: &Context, client_id: &str, mut session: Box<Session>, slice: &mut Slice) {
    // It has room for others' filters from here on, however long it takes until its own are gone.
    context.bus.subscriptions().evict(&session.live.standing);
    let mut dropped = 0;
    let inflight = std::mem::take(&mut session.inflight).into_iter();
    session.unsent = 0;
    for message in inflight {
        let owed = message.delivery.filter(|delivery| delivery.qos == Qos::AtLeastOnce);
        dropped += u64::from(owed.is_some_and(|delivery| is_lost(context, delivery, slice)));
        context.turns.go_on(slice, DROP_UNITS).await;
    }
    while let Some(delivery) = session.pending.pop_front() {
        dropped += u64::from(is_lost(context, delivery, slice));
        context.turns.go_on(slice, DROP_UNITS).await;
    }
    context.bus.dropped.note(Dropped::NoMembers, client_id, b"", dropped);
    for subscription in session.take_subscriptions() {
        drop(subscription);
        context.turns.go_on(slice, CHANGE_UNITS).await;
    }
    while session.live.mailbox.take().is_some() {
        context.turns.go_on(slice, DROP_UNITS).await;
    }
    session.live.mailbox.close();
}

/// Whether a message came by a shared group and no other member will get it.
fn is_lost(context: &Context, delivery: Delivery, slice: &mut Slice) -> bool {
    let Some(left) = &delivery.group else { return false };
    slice.spend(GIVE_UNITS);
    // The group has ended with its last member; another of its name and filter may have begun since.
    let current = context.bus.subscriptions().group(&left.filter, &left.name);
    let Some(group) = current else { return true };
    !group.give_back(delivery.publication)
}
