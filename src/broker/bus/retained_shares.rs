//! Whose the retained messages are, and which of each owner's has been there longest.

use std::collections::{BTreeMap, HashMap};

use crate::broker::limits::shares::{Owner, Shares};

/// What each owner has retained.
#[derive(Default)]
pub struct RetainedShares {
    messages: Shares,
    bytes: Shares,
    /// The topics, by the numbers of the changes that put them in.
    topics: HashMap<Owner, BTreeMap<u64, Box<str>>>,
}

impl RetainedShares {
    /// Counts a message of so many bytes, which the change of this number put in.
    pub fn add(&mut self, owner: &Owner, number: u64, topic: &str, bytes: usize) {
        self.messages.add(owner, 1);
        self.bytes.add(owner, bytes);
        self.topics.entry(owner.clone()).or_default().insert(number, topic.into());
    }

    /// Takes back what was [added](Self::add).
    pub fn remove(&mut self, owner: &Owner, number: u64, bytes: usize) {
        let Some(topics) = self.topics.get_mut(owner) else { return };
        if topics.remove(&number).is_none() {
            return;
        }
        if topics.is_empty() {
            self.topics.remove(owner);
        }
        self.messages.subtract(owner, 1);
        self.bytes.subtract(owner, bytes);
    }

    /// What an owner has, in bytes.
    pub fn bytes_of(&self, owner: &Owner) -> usize {
        self.bytes.of(owner)
    }

    /// Who gives up a message so that `newcomer` can keep another one.
    pub fn gives_message(&self, newcomer: &Owner) -> Option<Owner> {
        self.messages.gives_way(newcomer, 1)
    }

    /// Who gives up so many bytes so that `newcomer` can keep them.
    pub fn gives_bytes(&self, newcomer: &Owner, bytes: usize) -> Option<Owner> {
        self.bytes.gives_way(newcomer, bytes)
    }

    /// The topic of the owner's message that has been there longest.
    pub fn oldest(&self, owner: &Owner) -> Option<Box<str>> {
        self.topics.get(owner)?.first_key_value().map(|(_, topic)| topic.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_gives_its_oldest_message_in_number_and_in_bytes_apart() {
        let mut shares = RetainedShares::default();
        let [many, large, new] = ["many", "large", "new"].map(|name| Owner::User(name.into()));
        for number in 0..4 {
            shares.add(&many, number, &format!("many/{number}"), 10);
        }
        shares.add(&large, 4, "large", 1_000);
        assert_eq!(
            (shares.gives_message(&new), shares.gives_bytes(&new, 100)),
            (Some(many.clone()), Some(large))
        );
        assert_eq!(shares.gives_bytes(&new, 501), None, "then it would have more than who gives them");
        shares.remove(&many, 0, 10);
        shares.remove(&many, 0, 10);
        assert_eq!((shares.oldest(&many).as_deref(), shares.messages.of(&many)), (Some("many/1"), 3));
        (1..4).for_each(|number| shares.remove(&many, number, 10));
        assert_eq!((shares.oldest(&many), shares.topics.len(), shares.gives_message(&new)), (None, 1, None));
    }
}
