//! A client's will: what is published for it when it goes without saying goodbye.

use std::sync::Arc;

use super::context::Context;
use crate::broker::access::{Action, Identity};
use crate::broker::bus::publication::Publication;
use crate::broker::bus::source::Source;
use crate::broker::codec::connect::LastWill;
use crate::broker::limits::charge::{Charge, Holder};
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::refused::Cause;
use crate::broker::limits::tally::Shown;
use crate::mqtt::Sender;

/// What a will takes of memory beside what it says.
const WILL_BYTES: usize = 256;

/// A will.
pub struct Will {
    pub said: LastWill,
    /// Who leaves it, for where it is retained.
    pub source: Option<Arc<Source>>,
    /// Who leaves it, where in-process links want to know.
    pub sender: Option<Box<Sender>>,
    /// Whom it is counted to, and what it takes.
    holder: Option<(Arc<Holder>, Charge)>,
}

impl Will {
    pub fn new(said: LastWill) -> Self {
        Self { said, source: None, sender: None, holder: None }
    }

    /// Counts what it takes to `holder`, and later what it leaves in the retained store.
    pub fn count_to(&mut self, holder: &Arc<Holder>) {
        let bytes =
            WILL_BYTES + self.said.topic.len() + self.said.payload.len() + self.said.properties.bytes();
        self.holder = Some((holder.clone(), holder.charge(MemoryKind::Connections, bytes)));
    }

    /// The topic's name, if it is one that a client may publish to.
    pub fn topic_name(&self) -> Option<&str> {
        std::str::from_utf8(&self.said.topic)
            .ok()
            .filter(|name| crate::mqtt::is_topic_name(name) && !name.starts_with('$'))
    }

    fn answers(&self) -> Option<&str> {
        self.said.properties.response_topic()
    }

    /// Whether the rules let this client leave it, and have it answered where it says.
    ///
    /// # Errors
    /// Why they do not.
    pub fn judge(&self, context: &Context, who: &Identity) -> Result<(), Cause> {
        let access = &context.config.access;
        if !self.topic_name().is_some_and(|name| access.authorize(who, Action::Will, name)) {
            return Err(Cause::WillForbidden);
        }
        let may_be_answered =
            self.answers().is_none_or(|topic| access.authorize(who, Action::Publish, topic));
        if may_be_answered { Ok(()) } else { Err(Cause::WillAnswersForbidden) }
    }

    /// The cause of a refusal, with the topic that it is about.
    pub fn description(&self, cause: Cause) -> String {
        let topic = match cause {
            Cause::WillAnswersForbidden => self.answers(),
            _ => self.topic_name(),
        };
        format!("{}: {:?}", cause.why(), Shown(topic.unwrap_or_default()))
    }

    pub fn publish(self, context: &Context) {
        let LastWill { topic, payload, qos, retain, properties, expiry_s, .. } = self.said;
        let publication = Publication {
            topic,
            payload,
            qos,
            retain,
            properties,
            deadline_ms: expiry_s.map(|s| context.bus.now_ms() + u64::from(s) * 1_000),
            sender: self.sender,
            ..Publication::default()
        };
        // An error means that the router is gone, which its watch reports.
        let holder = self.holder.map(|(holder, _)| holder);
        let _gone = context.bus.publish(publication, self.source, holder);
    }
}
