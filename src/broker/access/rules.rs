//! Access rules: who may publish to, subscribe to, and leave a will on which topics.
//! The first rule that matches decides, and what no rule matches is denied.

use std::fmt;

use super::{Action, Grant, Identity};
use crate::broker::codec::topic::is_about_the_broker;
use crate::mqtt::{levels_cover, levels_overlap};

/// Rules in the order in which they are asked. The default has none and denies everything.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    pub(crate) rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where it is written, from 1; 0 where that is not known.
    pub line: usize,
    pub allows: bool,
    pub actions: Vec<Action>,
    /// Empty for every user, and for clients that are no user.
    pub users: Vec<NamePattern>,
    /// Empty for every client.
    pub client_ids: Vec<NamePattern>,
    pub topics: Vec<TopicPattern>,
}

/// A name, or with `*` at its end every name that begins so.
#[derive(Debug, Clone)]
pub enum NamePattern {
    Exactly(String),
    BeginningWith(String),
}

/// A topic filter in which some levels stand for the client.
#[derive(Debug, Clone)]
pub struct TopicPattern(Vec<Level>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// Itself, `+` or `#`.
    Plain(String),
    /// `%u`
    User,
    /// `%c`
    ClientId,
}

impl Level {
    fn is(&self, plain: &str) -> bool {
        matches!(self, Self::Plain(own) if own == plain)
    }
}

impl AccessRules {
    /// Whether `who` may do this. Every topic that a subscription could bring must be
    /// allowed, by one rule, and none of them denied by an earlier one.
    pub fn allow(&self, who: &Identity, action: Action, topic: &str) -> bool {
        let mut concerned =
            self.rules.iter().filter(|rule| rule.actions.contains(&action) && rule.is_about(who));
        concerned
            .find_map(|rule| match rule.allows {
                true => rule.covers(who, topic).then_some(true),
                false => rule.touches(who, topic).then_some(false),
            })
            .unwrap_or(false)
    }

    /// How much of `filter` `who` may subscribe to.
    pub fn grant(&self, who: &Identity, filter: &str) -> Grant {
        let (mut has_allowed, mut has_denied) = (false, false);
        for rule in
            self.rules.iter().filter(|rule| rule.actions.contains(&Action::Subscribe) && rule.is_about(who))
        {
            if rule.covers(who, filter) {
                // Nothing of it is left for later rules.
                return match rule.allows {
                    true if has_denied => Grant::Some,
                    true => Grant::All,
                    false if has_allowed => Grant::Some,
                    false => Grant::None,
                };
            }
            let is_concerned = rule.touches(who, filter);
            has_allowed |= is_concerned && rule.allows;
            has_denied |= is_concerned && !rule.allows;
        }
        if has_allowed { Grant::Some } else { Grant::None }
    }

    /// How many names and topics are in them.
    pub(crate) fn patterns(&self) -> usize {
        let patterns = |rule: &Rule| rule.users.len() + rule.client_ids.len() + rule.topics.len();
        self.rules.iter().map(patterns).sum()
    }

    /// Whether a topic of theirs has the user as a level: `%u`.
    pub(crate) fn have_user_levels(&self) -> bool {
        self.rules.iter().flat_map(|rule| &rule.topics).any(TopicPattern::has_user)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none, so that nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn is_about(&self, who: &Identity) -> bool {
        let is_user = |pattern: &NamePattern| who.user.as_deref().is_some_and(|user| pattern.matches(user));
        (self.users.is_empty() || self.users.iter().any(is_user))
            && (self.client_ids.is_empty() || self.client_ids.iter().any(|id| id.matches(&who.client_id)))
    }

    /// Whether nothing is left for `later` to decide about what is done so with what falls under `topic`, one
    /// of its topics. A subscription to more than that is another matter.
    pub(crate) fn decides_before(&self, later: &Self, action: Action, topic: &TopicPattern) -> bool {
        let have_all = |own: &[NamePattern], others: &[NamePattern]| {
            own.is_empty()
                || !others.is_empty() && others.iter().all(|other| own.iter().any(|own| own.includes(other)))
        };
        self.actions.contains(&action)
            && have_all(&self.users, &later.users)
            && have_all(&self.client_ids, &later.client_ids)
            && self.topics.iter().any(|own| own.includes(topic))
    }

    /// Whether all of `filter` falls under one of the topics. A topic name is a filter for itself.
    fn covers(&self, who: &Identity, filter: &str) -> bool {
        self.topics
            .iter()
            .any(|topic| topic.stands_for_someone(who) && levels_cover(topic.levels(who), filter.split('/')))
    }

    /// Whether any of `filter` falls under one of the topics.
    fn touches(&self, who: &Identity, filter: &str) -> bool {
        self.topics.iter().any(|topic| {
            topic.stands_for_someone(who) && levels_overlap(topic.levels(who), filter.split('/'))
        })
    }
}

impl NamePattern {
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::BeginningWith(beginning.to_owned()),
            None => Self::Exactly(text.to_owned()),
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(exactly) => name == exactly,
            Self::BeginningWith(beginning) => name.starts_with(beginning),
        }
    }

    /// What every name that it is about begins with.
    pub(crate) fn beginning(&self) -> &str {
        match self {
            Self::Exactly(name) | Self::BeginningWith(name) => name,
        }
    }

    /// Whether every name that `other` is about is one of its own.
    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exactly(name)) => self.matches(name),
            (Self::BeginningWith(beginning), Self::BeginningWith(longer)) => longer.starts_with(beginning),
            (Self::Exactly(_), Self::BeginningWith(_)) => false,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.write_str(name),
            Self::BeginningWith(beginning) => write!(f, "{beginning}*"),
        }
    }
}

impl TopicPattern {
    /// Takes a topic filter with `%u` and `%c` as whole levels.
    ///
    /// # Errors
    /// The sentence that says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let is_nobodys = text.starts_with('$') && !is_about_the_broker(text);
        let why_not = crate::mqtt::why_no_filter(text);
        if why_not.is_some() || is_nobodys {
            let hint = why_not.map(|why_not| format!(": {why_not}")).unwrap_or_default();
            return Err(format!(
                "found {text:?}, expected a topic filter that does not start with '$' unless it starts with $SYS/{hint}"
            ));
        }
        let level = |level: &str| match level {
            "%u" => Ok(Level::User),
            "%c" => Ok(Level::ClientId),
            _ if level.contains("%u") || level.contains("%c") => {
                Err(format!("found {text:?}, expected %u and %c as whole levels, between slashes"))
            }
            _ if is_foreign_placeholder(level) => Err(format!(
                "found {text:?}, expected %u, which is the user, or %c, which is the client id: {level:?} stands for nobody"
            )),
            _ => Ok(Level::Plain(level.to_owned())),
        };
        text.split('/').map(level).collect::<Result<_, _>>().map(Self)
    }

    /// Whether every topic that falls under `other` falls under it too, for each client.
    fn includes(&self, other: &Self) -> bool {
        let is_about_the_broker =
            |first: Option<&Level>| matches!(first, Some(Level::Plain(first)) if first.starts_with('$'));
        let (mut own, mut theirs) = (self.0.iter(), other.0.iter());
        if is_about_the_broker(theirs.as_slice().first()) != is_about_the_broker(own.as_slice().first()) {
            return false;
        }
        loop {
            match (own.next(), theirs.next()) {
                (Some(own), _) if own.is("#") => return true,
                (Some(own), Some(theirs)) if own.is("+") && !theirs.is("#") => {}
                (Some(own), Some(theirs)) if own == theirs => {}
                (own, theirs) => return own.is_none() && theirs.is_none(),
            }
        }
    }

    /// Whether the user stands as a level of it.
    fn has_user(&self) -> bool {
        self.0.contains(&Level::User)
    }

    /// Whether the client's names can stand as levels: a user called `#` must not become a wildcard.
    fn stands_for_someone(&self, who: &Identity) -> bool {
        self.0.iter().all(|level| match level {
            Level::Plain(_) => true,
            Level::User => who.user.as_deref().is_some_and(is_level),
            Level::ClientId => is_level(&who.client_id),
        })
    }

    fn levels<'a>(&'a self, who: &'a Identity) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|level| match level {
            Level::Plain(plain) => plain,
            Level::User => who.user.as_deref().unwrap_or_default(),
            Level::ClientId => &who.client_id,
        })
    }
}

/// Whether it is what stands for somebody in the rules of others: `%x`, `${username}`, `{username}`.
fn is_foreign_placeholder(level: &str) -> bool {
    let is_letter =
        level.len() == 2 && level.starts_with('%') && level.ends_with(|c: char| c.is_ascii_alphabetic());
    is_letter || (level.starts_with("${") || level.starts_with('{')) && level.ends_with('}')
}

/// Whether a name can stand as a level, in place of `%u` or `%c`.
pub fn is_level(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#', '\0'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{filter_matches, is_topic_filter};

    fn who(user: &str, client_id: &str) -> Identity {
        Identity {
            client_id: client_id.into(),
            user: (!user.is_empty()).then(|| user.into()),
            is_certified: false,
            is_local: false,
        }
    }

    fn rules(text: &str) -> AccessRules {
        AccessRules::from_toml(text).unwrap()
    }

    #[test]
    fn what_no_rule_matches_is_denied() {
        let rules = rules("[[rules]]\nallow = [\"publish\"]\ntopics = [\"a/+\"]\n");
        let anyone = who("u", "c");
        assert!(rules.allow(&anyone, Action::Publish, "a/b"));
        assert!(!rules.allow(&anyone, Action::Publish, "a"));
        assert!(!rules.allow(&anyone, Action::Subscribe, "a/b"));
        assert!(!rules.allow(&anyone, Action::Will, "a/b"));
        assert!(!AccessRules::default().allow(&anyone, Action::Publish, "a/b"));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(
            "[[rules]]\nallow = [\"subscribe\"]\nusers = [\"chief\"]\ntopics = [\"a/#\"]\n\
             [[rules]]\ndeny = [\"subscribe\"]\ntopics = [\"a/secret/#\"]\n\
             [[rules]]\nallow = [\"subscribe\"]\ntopics = [\"a/#\"]\n",
        );
        let (chief, worker) = (who("chief", "c"), who("worker", "c"));
        assert!(rules.allow(&chief, Action::Subscribe, "a/#"));
        for (filter, allowed) in [
            ("a/b", true),
            ("a/secret", false),
            ("a/secret/x", false),
            ("a/#", false),
            ("a/+/x", false),
            ("#", false),
        ] {
            assert_eq!(rules.allow(&worker, Action::Subscribe, filter), allowed, "{filter}");
        }
    }

    #[test]
    fn a_filter_is_granted_in_part_where_some_of_its_topics_are_allowed() {
        let rules = rules(
            "[[rules]]\ndeny = [\"subscribe\"]\ntopics = [\"a/secret/#\"]\n\
             [[rules]]\nallow = [\"subscribe\"]\ntopics = [\"a/#\"]\n",
        );
        for (filter, grant) in [
            ("a/b/#", Grant::All),
            ("a/#", Grant::Some),
            ("#", Grant::Some),
            ("+/secret", Grant::Some),
            ("a/secret/+", Grant::None),
            ("b/#", Grant::None),
        ] {
            assert_eq!(rules.grant(&who("u", "c"), filter), grant, "{filter}");
        }
    }

    #[test]
    fn names_stand_as_levels_and_a_name_with_wildcards_stands_for_nobody() {
        let rules =
            rules("[[rules]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"u/%u/#\", \"c/%c\"]\n");
        let press = who("press", "id");
        assert!(rules.allow(&press, Action::Subscribe, "u/press/#"));
        assert!(rules.allow(&press, Action::Publish, "c/id"));
        for (action, topic) in
            [(Action::Subscribe, "u/+/x"), (Action::Publish, "u/other/x"), (Action::Publish, "c/x")]
        {
            assert!(!rules.allow(&press, action, topic), "{topic}");
        }
        for name in ["+", "#", "a/b", "", "$x"] {
            let odd = who(name, name);
            for topic in ["u/+/#", "u/#/#", "u/a/b/x", "c/+", "c/#", "u/x", "c/", "u//x", "c/a"] {
                assert!(!rules.allow(&odd, Action::Subscribe, topic), "{name} {topic}");
            }
        }
    }

    #[test]
    fn a_rule_is_about_whom_it_names() {
        let rules = rules(
            "[[rules]]\nallow = [\"publish\"]\nusers = [\"press-*\", \"boss\"]\nclient_ids = [\"id-*\"]\ntopics = [\"#\"]\n",
        );
        for (user, client_id, allowed) in [
            ("press-1", "id-1", true),
            ("boss", "id-", true),
            ("bos", "id-1", false),
            ("bosses", "id-1", false),
            ("press-1", "x", false),
            ("", "id-1", false),
        ] {
            assert_eq!(
                rules.allow(&who(user, client_id), Action::Publish, "t"),
                allowed,
                "{user} {client_id}"
            );
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "+", "#"]), 1..4)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a filter", |filter| is_topic_filter(filter))
    }

    proptest! {
        #[test]
        fn an_allowed_subscription_brings_no_topic_that_the_rules_deny(
            ruled in prop::collection::vec((any::<bool>(), filter()), 1..5), asked in filter(),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4),
        ) {
            let text: String = ruled.iter().map(|(allows, topic)| {
                let verdict = if *allows { "allow" } else { "deny" };
                format!("[[rules]]\n{verdict} = [\"subscribe\"]\ntopics = [\"{topic}\"]\n")
            }).collect();
            let (rules, topic) = (rules(&text), topic.join("/"));
            if rules.allow(&who("u", "c"), Action::Subscribe, &asked) && filter_matches(&asked, &topic) {
                let first = ruled.iter().find(|(_, ruled)| filter_matches(ruled, &topic));
                prop_assert!(first.is_some_and(|(allows, _)| *allows), "{asked} brings {topic}");
            }
        }
    }
}
