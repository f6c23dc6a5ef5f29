//! What a client has asked for with one filter.

use crate::broker::bus::hold::Registration;
use crate::broker::bus::retained::Walk;
use crate::broker::bus::shared::Membership;
use crate::mqtt::Qos;

/// What a subscription takes beside its filter's text: itself, its places in the
/// session's tables and in the tree.
const SUBSCRIPTION_BYTES: usize = 1_200;
/// The filter's text is kept by the session, by its registration, and in the tree, twice.
const FILTER_COPIES: usize = 4;
/// A level's marks in the tree and among the filters that may overlap.
const LEVEL_BYTES: usize = 8;

/// What a subscription to `filter` takes.
pub fn subscription_bytes(filter: &str) -> usize {
    let levels = 1 + filter.bytes().filter(|&byte| byte == b'/').count();
    SUBSCRIPTION_BYTES + FILTER_COPIES * filter.len() + LEVEL_BYTES * levels
}

/// What a client asked for with a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    /// The client's own subscription identifier.
    pub identifier: Option<usize>,
}

/// One subscription.
pub struct Subscription {
    /// The filter without the group.
    pub path: String,
    /// The group of a shared subscription.
    pub group: Option<String>,
    pub options: Options,
    /// The rules allow a part of its topics, so that each message is judged for itself.
    pub is_judged: bool,
    pub live: Handles,
}

/// By what a subscription takes part in a running broker. Dropped, they end it.
#[derive(Default)]
pub struct Handles {
    /// The place in the group; `None` while the client is away.
    pub membership: Option<Membership>,
    /// What brings messages for a plain subscription, also while the client is away.
    pub registration: Option<Registration>,
    /// Its way through the retained messages, while it is on that.
    pub walk: Option<Walk>,
}

/// What several subscriptions ask for together.
#[derive(Default)]
pub struct Wish {
    pub is_any: bool,
    pub qos: Qos,
    pub retain_as_published: bool,
    pub identifiers: Vec<usize>,
}

impl Wish {
    pub fn add(&mut self, options: Options, is_own: bool) {
        if options.no_local && is_own {
            return;
        }
        self.is_any = true;
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.identifiers.extend(options.identifier);
    }
}
