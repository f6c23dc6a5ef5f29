//! Publishes gathered for the router, with what they change in the retained store.

use super::lane::Load;
use super::publication::Publication;
use super::retained::{Change, RetainedMessage};
use super::source::Source;
use super::subscriptions::Targets;
use std::sync::Arc;
use std::time::Instant;

/// Publishes on their way to the router.
#[derive(Default)]
pub(super) struct Batch {
    /// Each with those who get it, as far as is known.
    pub publications: Vec<(Publication, Arc<Targets>)>,
    pub changes: Vec<Change>,
    pub load: Load,
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
            let message =
                (!publication.payload.is_empty()).then(|| RetainedMessage::of(&publication, source));
            let topic = String::from_utf8_lossy(&publication.topic).into_owned();
            self.changes.push(Change { topic, message });
        }
        self.load += Load::of(publication.bytes(), &targets);
        self.publications.push((publication, targets));
    }
}
