//! Who published a retained message, so that it is not delivered any more once its
//! publisher has lost the right to publish it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::access::{Access, Action, Identity};
use crate::broker::limits::memory::ALLOCATION_BYTES;

/// The publisher of one message.
pub struct Source {
    who: Identity,
    action: Action,
    /// The last judgement: twice the rules' version that it was made by, and one more
    /// where the rules allowed it.
    judged: AtomicU64,
}

impl Source {
    /// The publisher of a message that the rules of this version allow.
    pub fn new(who: &Identity, action: Action, version: u64) -> Arc<Self> {
        Arc::new(Self { who: who.clone(), action, judged: AtomicU64::new(judgement(version, true)) })
    }

    /// Whether the publisher may still publish to `topic`. The rules are asked once for each version of them.
    pub fn may_publish(&self, topic: &str, access: &dyn Access) -> bool {
        let version = access.version();
        let judged = self.judged.load(Ordering::Relaxed);
        if judged >> 1 == version {
            return judged == judgement(version, true);
        }
        let is_allowed = access.is_welcome(&self.who) && access.authorize(&self.who, self.action, topic);
        self.judged.store(judgement(version, is_allowed), Ordering::Relaxed);
        is_allowed
    }

    /// What it takes of memory. Its names may be shared with others, but need not be.
    pub fn bytes(&self) -> usize {
        let names = self.who.client_id.len() + self.who.user.as_ref().map_or(0, |user| user.len());
        size_of::<Self>() + 3 * ALLOCATION_BYTES + names
    }
}

fn judgement(version: u64, is_allowed: bool) -> u64 {
    version << 1 | u64::from(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Allows what it is told to, and counts how often it is asked.
    #[derive(Default)]
    struct Asked {
        version: AtomicU64,
        allows: AtomicU64,
        asked: AtomicU64,
    }

    impl Access for Asked {
        fn authorize(&self, _who: &Identity, _action: Action, _topic: &str) -> bool {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.allows.load(Ordering::Relaxed) > 0
        }

        fn version(&self) -> u64 {
            self.version.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_rules_are_asked_once_for_each_version_of_them() {
        let access = Asked::default();
        let source = Source::new(&Identity::default(), Action::Publish, 0);
        let mut expected = 0;
        for (version, allows) in [(0, true), (1, false), (2, true), (3, true)] {
            access.version.store(version, Ordering::Relaxed);
            access.allows.store(allows.into(), Ordering::Relaxed);
            for _ in 0..3 {
                assert_eq!(source.may_publish("t", &access), allows, "{version}");
            }
            // It was published by the rules of the first.
            expected += u64::from(version > 0);
            assert_eq!(access.asked.load(Ordering::Relaxed), expected);
        }
    }
}
