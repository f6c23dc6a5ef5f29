//! What is given up when memory gets scarce: by whom, and in which order.
//!
//! From three quarters of the bound on, whoever has most gets no more (see `memory`). From nine tenths on it
//! gives up: its retained messages where they are more than its largest session holds; else the older half of
//! what that session has not taken yet, or if that is little the session; and so on with what is the largest
//! then, until less than three quarters are taken. So nobody loses anything while somebody else has more.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::broker::limits::charge::Holder;
use crate::broker::limits::memory::{Level, MemoryKind};
use crate::broker::limits::reached::Limit;
use crate::broker::limits::shares::Owner;

/// How long those who have been told may take before others are.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often it is looked at while it is tight.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs until it is dropped.
pub async fn run(context: Arc<Context>) {
    loop {
        context.bus.memory.pressed.notified().await;
        relieve(&context).await;
    }
}

/// Until memory is not scarce any more.
async fn relieve(context: &Context) {
    let memory = &context.bus.memory;
    // What is only remembered costs nobody anything.
    context.bus.subscriptions().forget_targets();
    context.bus.set_memory_aside();
    if let Some(owner) = memory.most() {
        context.bus.reached.warn(Limit::Memory, format_args!("{owner}, which has most, gets no more"));
    }
    let mut is_giving_up = false;
    loop {
        match memory.level() {
            Level::Calm => return context.bus.note_progress(),
            Level::Tight if !is_giving_up => {
                // More may be taken before that time is over; then it is looked at at once.
                let _looked_at = tokio::time::timeout(LOOK_EVERY, memory.pressed.notified()).await;
            }
            _ => {
                is_giving_up = true;
                if give_up(context) {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

/// Has the owner with most give up the largest that it has, unless those who were
/// told will make enough room. Whether it did.
fn give_up(context: &Context) -> bool {
    let memory = &context.bus.memory;
    let Some(owner) = memory.most() else { return false };
    // And those who cannot be told, because they are leaving already.
    let mut going = memory.asked_bytes();
    let mut sessions = memory.sessions_of(&owner).into_iter();
    while !memory.is_calm_without(going) {
        let session = sessions.next();
        let held = session.as_ref().map_or(0, |session| session.held());
        if memory.of_kind(MemoryKind::Retained) > held && context.bus.retained_store().bytes_of(&owner) > held
        {
            return give_up_retained(context, &owner);
        }
        let Some(session) = session else { return false };
        if give_up_session(context, &session) {
            return true;
        }
        going += held;
    }
    false
}

fn give_up_retained(context: &Context, owner: &Owner) -> bool {
    let memory = &context.bus.memory;
    let messages = context.bus.retained_store().give_up(owner, memory.too_much().max(1));
    context.bus.reached.warn(Limit::Memory, format_args!("{owner}: {messages} of its retained messages go"));
    memory.note_refused(messages);
    messages > 0
}

/// The older half of what it has not taken, where that is much; otherwise all of it.
/// `false` when it cannot be told.
fn give_up_session(context: &Context, holder: &Holder) -> bool {
    let memory = &context.bus.memory;
    let halved = holder.waiting().map_or(0, |waiting| waiting.give_up_half());
    if halved > 0 {
        memory.note_refused(halved);
        return true;
    }
    let Some(standing) = &holder.standing else { return false };
    let keeper = standing.keeper();
    if !context.registry.give_way(&keeper, true) {
        return false;
    }
    holder.note_asked(&keeper);
    let (owner, client_id, bytes) = (&holder.owner, &keeper.client_id, holder.held());
    let what = format_args!("{owner}: the session of {client_id:?} ends, which takes {bytes} bytes");
    context.bus.reached.note(Limit::Memory, what);
    true
}
