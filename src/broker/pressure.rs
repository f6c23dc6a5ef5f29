//! What is given up when memory gets scarce: by whom, and in which order.
//!
//! From three quarters of the bound on, whoever has most gets no more (see `memory`). From nine tenths on it gives up: its retained
//! messages where they are more than its largest session holds; else the older half of what that session has not taken yet, or if that
//! is little the session; and so on with what is the largest then, until less than three quarters are taken. So nobody loses anything
//! while somebody else has more.

use super::memory::{Holder, Level, MemoryKind};
use super::reached::Limit;
use super::server::Server;
use super::shares::Owner;
use std::sync::Arc;
use std::time::Duration;

/// How long those who have been told may take before others are.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often it is looked at while it is tight.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs until it is dropped.
pub(super) async fn run(server: Arc<Server>) {
    loop {
        server.bus.memory.pressed.notified().await;
        relieve(&server).await;
    }
}

/// Until memory is not scarce any more.
async fn relieve(server: &Server) {
    let memory = &server.bus.memory;
    // What is only remembered costs nobody anything.
    server.bus.subscriptions().forget_targets();
    if let Some(owner) = memory.most() {
        server.bus.reached.note(Limit::Memory, format_args!("{owner}, which has most, gets no more"));
    }
    let mut is_giving_up = false;
    loop {
        match memory.level() {
            Level::Calm => return server.bus.note_progress(),
            Level::Tight if !is_giving_up => {
                // More may be taken before that time is over; then it is looked at at once.
                let _looked_at = tokio::time::timeout(LOOK_EVERY, memory.pressed.notified()).await;
            }
            _ => {
                is_giving_up = true;
                if give_up(server) {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

/// Has the owner with most give up the largest that it has, unless those who were told will make enough room. Whether it did.
fn give_up(server: &Server) -> bool {
    let memory = &server.bus.memory;
    if memory.is_calm_without(memory.asked_bytes()) {
        return false;
    }
    let Some(owner) = memory.most() else { return false };
    let holder = memory.largest(|holder| holder.owner == owner);
    let held = holder.as_ref().map_or(0, |holder| holder.held());
    if memory.of_kind(MemoryKind::Retained) > held && server.bus.retained_store().bytes_of(&owner) > held {
        return give_up_retained(server, &owner);
    }
    holder.is_some_and(|holder| give_up_session(server, &holder))
}

fn give_up_retained(server: &Server, owner: &Owner) -> bool {
    let memory = &server.bus.memory;
    let too_much = memory.used().total().saturating_sub(memory.calm_bytes()).max(1);
    let messages = server.bus.retained_store().give_up(owner, too_much);
    server.bus.reached.note(Limit::Memory, format_args!("{owner}: {messages} of its retained messages go"));
    memory.note_given_up(messages);
    messages > 0
}

/// The older half of what it has not taken, where that is much; otherwise all of it.
fn give_up_session(server: &Server, holder: &Holder) -> bool {
    let memory = &server.bus.memory;
    let halved = holder.mailbox().map_or(0, |mailbox| mailbox.give_up_half());
    if halved > 0 {
        memory.note_given_up(halved);
        return true;
    }
    let Some(standing) = &holder.standing else { return false };
    let keeper = standing.keeper();
    holder.ask();
    let is_told = server.registry.give_way(&keeper, true);
    if is_told {
        let (owner, client_id, bytes) = (&holder.owner, &keeper.client_id, holder.held());
        let what = format_args!("{owner}: the session of {client_id:?} ends, which takes {bytes} bytes");
        server.bus.reached.note(Limit::Memory, what);
        memory.note_given_up(1);
    }
    is_told
}
