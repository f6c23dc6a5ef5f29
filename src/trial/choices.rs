//! Where hybrids had results made, and why: one value for all results of which the same is true.

use std::sync::Arc;

use crate::inference::{Reason, Site};
use crate::lab::observation::Choice;

/// The choices that were met. There are as many as sites and reasons, and no more: other words are not taken.
#[derive(Default)]
pub struct Choices {
    known: Vec<Arc<Choice>>,
}

impl Choices {
    /// A choice by its words; nothing where they are unknown.
    pub fn of(&mut self, made_by: &str, reason: &str) -> Option<Arc<Choice>> {
        let is_same = |known: &&Arc<Choice>| known.made_by == made_by && known.reason == reason;
        if let Some(known) = self.known.iter().find(is_same) {
            return Some(Arc::clone(known));
        }
        let is_known = Site::ALL.iter().any(|site| site.as_str() == made_by)
            && Reason::ALL.iter().any(|known| known.as_str() == reason);
        if !is_known {
            return None;
        }
        let choice = Arc::new(Choice { made_by: made_by.to_owned(), reason: reason.to_owned() });
        self.known.push(Arc::clone(&choice));
        Some(choice)
    }
}
