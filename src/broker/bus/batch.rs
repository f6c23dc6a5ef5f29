//! Publishes gathered for the router, with what they change in the retained store.

use std::sync::Arc;
use std::time::Instant;

use super::carrier::lane::Load;
use super::publication::Publication;
use super::retained::{Change, NotKept, RetainedMessage};
use super::source::Source;
use super::subscriptions::Targets;
use crate::broker::limits::charge::Holder;
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::refused::Cause;

/// Publishes on their way to the router.
#[derive(Default)]
pub struct Batch {
    /// Each with those who get it, as far as is known.
    pub publications: Vec<(Publication, Arc<Targets>)>,
    pub changes: Vec<Change>,
    /// What was to be retained and is not, for whoever publishes to tell of.
    pub not_kept: Vec<NotKept>,
    pub load: Load,
    /// Whom retained messages are counted to.
    pub holder: Option<Arc<Holder>>,
    /// When the first was taken from its connection.
    pub began: Option<Instant>,
}

impl Batch {
    pub fn with_capacity(messages: usize) -> Self {
        Self { publications: Vec::with_capacity(messages), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.publications.len()
    }

    pub fn is_empty(&self) -> bool {
        self.publications.is_empty()
    }

    /// Adds a publish. `source` is kept with it where it is retained.
    pub fn add(&mut self, publication: Publication, targets: Arc<Targets>, source: Option<Arc<Source>>) {
        if publication.retain {
            let change = self.change(&publication, source);
            self.changes.push(change);
        }
        self.load += Load::of(publication.bytes(), &targets);
        self.publications.push((publication, targets));
    }

    /// What a retained publish changes. What there is no memory for is not kept; the
    /// topic's old value goes all the same.
    fn change(&mut self, publication: &Publication, source: Option<Arc<Source>>) -> Change {
        let topic = String::from_utf8_lossy(&publication.topic).into_owned();
        if publication.payload.is_empty() {
            return Change { topic, message: None };
        }
        if self.holder.as_ref().is_some_and(|holder| !holder.may_grow()) {
            self.not_kept.push(NotKept { topic: topic.clone(), cause: Cause::RetainMemory });
            return Change { topic, message: None };
        }
        let mut message = RetainedMessage::of(publication, source);
        if let Some(holder) = &self.holder {
            let bytes = message.bytes(&topic);
            message.charge = Some(Arc::new(holder.of_retained().charge(MemoryKind::Retained, bytes)));
        }
        Change { topic, message: Some(message) }
    }
}
