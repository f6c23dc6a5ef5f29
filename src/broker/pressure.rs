//! What is given up when memory gets scarce: by whom, and in which order.
//!
//! From three quarters of the bound on, whoever has most gets no more (see `memory`). From nine tenths on it gives up: first the older half
//! of what was published for its largest session and is not taken yet, then that session with all it holds, and so on with
//! what is the largest then, until less than three quarters are taken. So nobody loses anything while somebody has more.

use super::memory::{Holder, Level, Memory};
use super::reached::Limit;
use super::server::Server;
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

/// Has the largest holder of the owner with most give something up, unless those who were told will make enough room. Whether anybody did.
fn give_up(server: &Server) -> bool {
    let memory = &server.bus.memory;
    if memory.is_calm_without(memory.asked_bytes()) {
        return false;
    }
    let Some(holder) = largest(memory) else { return false };
    if holder.mailbox().is_some_and(|mailbox| mailbox.give_up_half()) {
        return true;
    }
    let Some(standing) = &holder.standing else { return false };
    let is_told = server.registry.give_way(&standing.keeper(), true);
    holder.ask();
    if is_told {
        let who = format_args!(
            "{}: {} ends, which takes {} bytes",
            holder.owner,
            standing.keeper().client_id,
            holder.held()
        );
        server.bus.reached.note(Limit::Memory, who);
        memory.note_given_up();
    }
    is_told
}

/// The largest that can be told, of the one who has most; if it has none, of all.
fn largest(memory: &Memory) -> Option<Arc<Holder>> {
    let of_most = memory.most().and_then(|owner| memory.largest(|holder| holder.owner == owner));
    of_most.or_else(|| memory.largest(|_| true))
}
