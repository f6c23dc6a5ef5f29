//! Fan-out, from the router to the sessions: what comes out of the connections' lane is put
//! into the mailboxes and groups it is for.

use std::sync::Arc;

use super::Bus;
use super::carrier::CarrierGone;
use super::carrier::lane::{Envelope, LaneReceiver};
use super::mailbox::Copy;
use super::publication::Publication;
use super::subscriptions::Targets;
use crate::broker::limits::dropped::Dropped;
use crate::mqtt::Qos;

/// Messages in a row, and sessions and groups that they are for, each time; then the
/// sessions have their turn. One message may be for more.
const ROUND_MESSAGES_MAX: usize = 256;
const ROUND_RECIPIENTS_MAX: usize = 2_048;

/// Runs until the router ends.
pub async fn run(bus: Arc<Bus>, mut lane: LaneReceiver) {
    // An error means that the router has ended, which its watch reports.
    let _ended = serve(&bus, &mut lane).await;
    // Nobody need wait for what does not come any more.
    bus.note_progress();
}

async fn serve(bus: &Bus, lane: &mut LaneReceiver) -> Result<(), CarrierGone> {
    loop {
        let mut next = Some(lane.next().await?);
        let (mut messages, mut recipients) = (0, 0);
        while let Some(ready) = next {
            if let Some(envelope) = ready {
                recipients += envelope.targets.sessions.len() + envelope.targets.groups.len();
                distribute(bus, envelope);
            }
            messages += 1;
            let goes_on = messages < ROUND_MESSAGES_MAX && recipients < ROUND_RECIPIENTS_MAX;
            next = if goes_on { lane.ready()? } else { None };
        }
        lane.lane.frees_publishers();
        if !bus.life.is_serving() {
            bus.note_progress();
        }
        tokio::task::yield_now().await;
    }
}

/// Whether somebody may have it for long: to acknowledge it, or behind others.
fn may_wait(publication: &Publication, targets: &Targets) -> bool {
    let is_behind_others = || targets.sessions.iter().any(|recipient| recipient.mailbox.is_lagging());
    publication.qos > Qos::AtMostOnce || !targets.groups.is_empty() || is_behind_others()
}

fn distribute(bus: &Bus, envelope: Envelope) {
    let Envelope { mut publication, targets, .. } = envelope;
    let receipt = publication.receipt.take();
    if may_wait(&publication, &targets) {
        publication.detach();
    }
    let publication = Arc::new(publication);
    for recipient in &targets.sessions {
        let subscriptions = recipient.subscriptions.clone();
        let is_taken = recipient.mailbox.put(Copy { publication: publication.clone(), subscriptions });
        if !is_taken {
            let client_id = recipient.mailbox.standing.keeper().client_id;
            bus.dropped.note(Dropped::Lagged, &client_id, &publication.topic, 1);
        }
    }
    for group in &targets.groups {
        let dropped = group.put(publication.clone());
        bus.dropped.note(Dropped::SlowMembers, "", &publication.topic, dropped);
    }
    if let Some(receipt) = receipt {
        receipt.settle();
    }
}
