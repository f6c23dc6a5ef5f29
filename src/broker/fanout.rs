//! From the router to the sessions: what comes out of the connections' lane is put into the mailboxes and groups it is for.

use super::connection::note_dropped;
use super::lane::{Envelope, LaneReceiver};
use super::mailbox::Copy;
use super::router::RouterGone;
use super::server::Server;
use bytes::Bytes;
use std::sync::Arc;

/// Messages in a row, and sessions and groups that they are for, each time; then the sessions have their turn. One message may be for more.
const ROUND_MESSAGES_MAX: usize = 256;
const ROUND_RECIPIENTS_MAX: usize = 2_048;

/// Runs until the router ends.
pub(super) async fn run(server: Arc<Server>, mut lane: LaneReceiver) {
    // An error means that the router has ended, which its watch reports.
    let _ended = serve(&server, &mut lane).await;
    // Nobody need wait for what does not come any more.
    server.bus.note_progress();
}

async fn serve(server: &Server, lane: &mut LaneReceiver) -> Result<(), RouterGone> {
    loop {
        let mut next = Some(lane.next().await?);
        let (mut messages, mut recipients) = (0, 0);
        while let Some(ready) = next {
            if let Some(envelope) = ready {
                recipients += envelope.targets.sessions.len() + envelope.targets.groups.len();
                distribute(server, envelope);
            }
            messages += 1;
            let goes_on = messages < ROUND_MESSAGES_MAX && recipients < ROUND_RECIPIENTS_MAX;
            next = if goes_on { lane.ready()? } else { None };
        }
        lane.lane.frees_publishers();
        if !server.is_serving() {
            server.bus.note_progress();
        }
        tokio::task::yield_now().await;
    }
}

fn distribute(server: &Server, envelope: Envelope) {
    let Envelope { mut publication, targets, .. } = envelope;
    let receipt = publication.receipt.take();
    if targets.sessions.iter().any(|recipient| recipient.mailbox.is_lagging()) {
        publication.payload = Bytes::copy_from_slice(&publication.payload);
    }
    let publication = Arc::new(publication);
    for recipient in &targets.sessions {
        let subscriptions = recipient.subscriptions.clone();
        let is_taken = recipient.mailbox.put(Copy { publication: publication.clone(), subscriptions });
        note_dropped(
            server,
            "",
            u64::from(!is_taken),
            "the client is slow and nobody waits for it with this",
        );
    }
    for group in &targets.groups {
        let dropped = group.put(publication.clone());
        note_dropped(server, &group.name, dropped, "the members of the shared subscription are slow");
    }
    if let Some(receipt) = receipt {
        receipt.settle();
    }
}
