//! What goes on in a broker, counted.

use std::sync::atomic::Ordering;

use super::context::Context;
use crate::broker::limits::dropped::DroppedCounts;
use crate::broker::limits::ended::EndedCounts;
use crate::broker::limits::memory::MemoryUse;
use crate::broker::limits::reached::{Limit, LimitsReached};
use crate::broker::limits::refused::{Cause, RefusedCounts, What};

/// What goes on in a broker, counted since it started or as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Clients online.
    pub connections: usize,
    /// Sessions kept for clients that are away.
    pub parked_sessions: usize,
    /// Messages published, by clients and links.
    pub published_messages: u64,
    /// Deliveries that were dropped: the subscriber lagged, was away with a full queue,
    /// or could not take their size.
    pub dropped_messages: u64,
    /// Deliveries that were dropped, by the reason.
    pub dropped: DroppedCounts,
    /// Bytes of messages on their way through the router's log.
    pub log_bytes: u64,
    /// Retained messages kept.
    pub retained_messages: usize,
    /// What they take of memory in bytes: topics, payloads, properties and what it takes to keep them.
    pub retained_bytes: usize,
    /// Retained messages that found the store full.
    pub retained_refused: u64,
    /// Distinct filters subscribed to.
    pub filters: usize,
    /// What all that it holds takes of memory, and what it may.
    pub memory: MemoryUse,
    /// The bound on that, in bytes.
    pub memory_max: usize,
    /// How often each limit was reached.
    pub limits_reached: LimitsReached,
    /// How often the one who had most of what a limit bounds gave something up for another who had less.
    pub gave_way: LimitsReached,
    /// Publishes that the access rules refused.
    pub refused_publishes: u64,
    /// Connections that were not let in, whatever the cause.
    pub refused_connections: u64,
    /// What was refused, by its cause.
    pub refused: RefusedCounts,
    /// How connections of clients that were let in have ended.
    pub ended: EndedCounts,
}

impl Context {
    /// What goes on now.
    pub fn statistics(&self) -> Statistics {
        let mut limits_reached = self.bus.reached.snapshot();
        let (retained_messages, retained_bytes, retained_refused) = {
            let store = self.bus.retained_store();
            let (messages, bytes) = store.size();
            limits_reached.set(Limit::RetainedMessages, store.refused_messages);
            limits_reached.set(Limit::RetainedBytes, store.refused_bytes);
            (messages, bytes, store.refused())
        };
        let refused = self.bus.refused.snapshot();
        let dropped = self.bus.dropped.snapshot();
        let by_rules = [Cause::PublishRules, Cause::PublishReserved, Cause::PublishAnswers];
        limits_reached.add(Limit::Memory, self.bus.memory.refused());
        let memory = self.bus.memory_use();
        Statistics {
            connections: self.online.taken(),
            parked_sessions: self.parked.taken(),
            published_messages: self.bus.published.load(Ordering::Relaxed),
            dropped_messages: dropped.total(),
            dropped,
            log_bytes: self.bus.log_bytes(),
            retained_messages,
            retained_bytes,
            retained_refused,
            filters: self.bus.subscriptions().filters(),
            memory,
            memory_max: self.bus.memory.max(),
            limits_reached,
            gave_way: self.bus.reached.gave_way(),
            refused_publishes: by_rules.into_iter().map(|cause| refused.of(cause)).sum(),
            refused_connections: refused.all(What::Connection),
            refused,
            ended: self.bus.endings.snapshot(),
        }
    }
}
