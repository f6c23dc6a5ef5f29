//! Valid access rules from a small grammar, as text and as what the text means for one topic.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::broker::access::{Action, Identity};
use crate::mqtt::{filter_matches, is_topic_filter};

pub const ACTIONS: [Action; 3] = [Action::Publish, Action::Subscribe, Action::Will];
/// Users and client ids; those with wildcards and slashes must not become levels.
const NAMES: [&str; 12] = ["", "a", "b", "ab", "a/b", "+", "#", "a/#", "$a", "%u", "%c", "ü\"\\"];
/// What rules say of names; `*` stands for any end.
const NAME_PATTERNS: [&str; 7] = ["a", "b", "a*", "*", "#", "a/*", "ü*"];
const PATTERN_LEVELS: [&str; 7] = ["a", "b", "", "+", "#", "%u", "%c"];
const FILTER_LEVELS: [&str; 7] = ["a", "b", "ab", "", "+", "#", "%u"];
const TOPIC_LEVELS: [&str; 5] = ["a", "b", "ab", "", "%u"];
const LEVELS_MAX: usize = 3;

/// One rule, as this grammar means it.
#[derive(Debug, Default)]
struct Rule {
    allows: bool,
    actions: Vec<Action>,
    users: Vec<&'static str>,
    client_ids: Vec<&'static str>,
    topics: Vec<String>,
}

/// A rules file.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

impl Rules {
    pub fn any(rng: &mut ChaCha8Rng) -> Self {
        let mut rules: Vec<_> = (0..rng.random_range(0..6)).map(|_| Rule::any(rng)).collect();
        // Often everything else is allowed, so that what is denied is a hole in wide filters.
        if rng.random_bool(0.4) {
            let topics = vec!["#".to_owned()];
            rules.push(Rule { allows: true, actions: ACTIONS.to_vec(), topics, ..Rule::default() });
        }
        Self(rules)
    }

    pub fn to_toml(&self) -> String {
        self.0.iter().map(Rule::to_toml).collect()
    }

    /// Whether `who` may do this with one topic name: the first rule that matches decides.
    pub fn allow(&self, who: &Identity, action: Action, topic: &str) -> bool {
        let first = self.0.iter().find(|rule| rule.matches(who, action, topic));
        first.is_some_and(|rule| rule.allows)
    }
}

impl Rule {
    fn any(rng: &mut ChaCha8Rng) -> Self {
        let mut names = |likely| match rng.random_bool(likely) {
            true => some(&NAME_PATTERNS, rng),
            false => Vec::new(),
        };
        let (users, client_ids) = (names(0.3), names(0.2));
        let topics = (0..rng.random_range(1..4)).map(|_| filter_of(&PATTERN_LEVELS, rng)).collect();
        Self { allows: rng.random_bool(0.6), actions: some(&ACTIONS, rng), users, client_ids, topics }
    }

    fn to_toml(&self) -> String {
        let verdict = if self.allows { "allow" } else { "deny" };
        let actions: Vec<_> =
            self.actions.iter().map(|action| format!("{action:?}").to_lowercase()).collect();
        let mut text = format!("[[rules]]\n{verdict} = {actions:?}\n");
        for (key, names) in [("users", &self.users), ("client_ids", &self.client_ids)] {
            if !names.is_empty() {
                text += &format!("{key} = {names:?}\n");
            }
        }
        text + &format!("topics = {:?}\n", self.topics)
    }

    fn matches(&self, who: &Identity, action: Action, topic: &str) -> bool {
        let (user, client_id) = (who.user.as_deref(), &*who.client_id);
        self.actions.contains(&action)
            && (self.users.is_empty() || user.is_some_and(|user| is_one_of(&self.users, user)))
            && (self.client_ids.is_empty() || is_one_of(&self.client_ids, client_id))
            && self.topics.iter().any(|pattern| {
                filled_in(pattern, user, client_id).is_some_and(|filter| filter_matches(&filter, topic))
            })
    }
}

fn is_one_of(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
}

/// The pattern with the client's names in it; none where a name cannot be one level.
fn filled_in(pattern: &str, user: Option<&str>, client_id: &str) -> Option<String> {
    let level = |level| {
        let name = match level {
            "%u" => user?,
            "%c" => client_id,
            plain => return Some(plain),
        };
        let is_level = !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#']);
        is_level.then_some(name)
    };
    let levels: Option<Vec<_>> = pattern.split('/').map(level).collect();
    Some(levels?.join("/"))
}

pub fn identity(rng: &mut ChaCha8Rng) -> Identity {
    let mut name = || NAMES[rng.random_range(0..NAMES.len())].into();
    let (client_id, user) = (name(), name());
    Identity { client_id, user: rng.random_bool(0.8).then_some(user), is_certified: false, is_local: false }
}

/// A filter that a client could ask for.
pub fn filter(rng: &mut ChaCha8Rng) -> String {
    filter_of(&FILTER_LEVELS, rng)
}

/// Every topic name of up to three levels that a client could mean.
pub fn universe() -> Vec<String> {
    let mut topics = Vec::new();
    let mut longest = vec![String::new()];
    for depth in 0..LEVELS_MAX {
        let deeper = longest.iter().flat_map(|topic| {
            TOPIC_LEVELS.map(|level| if depth == 0 { level.to_owned() } else { format!("{topic}/{level}") })
        });
        longest = deeper.collect();
        topics.extend(longest.iter().filter(|topic| !topic.is_empty()).cloned());
    }
    topics
}

fn filter_of(levels: &[&str], rng: &mut ChaCha8Rng) -> String {
    loop {
        let count = rng.random_range(1..=LEVELS_MAX);
        let filter: Vec<_> = (0..count).map(|_| levels[rng.random_range(0..levels.len())]).collect();
        let filter = filter.join("/");
        if is_topic_filter(&filter) {
            return filter;
        }
    }
}

/// One to three of them.
fn some<T: Copy>(from: &[T], rng: &mut ChaCha8Rng) -> Vec<T> {
    (0..rng.random_range(1..4)).map(|_| from[rng.random_range(0..from.len())]).collect()
}
