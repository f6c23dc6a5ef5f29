//! `acl.toml` becomes access rules, strictly: what is misspelt or makes no sense is
//! an error with line and key.

use serde::Deserialize;
use toml::Spanned;

use super::access::Action;
use crate::broker::access::rules::{AccessRules, NamePattern, Rule, TopicPattern};
use crate::strict_toml::{self, TomlError};

/// The largest file of access rules that is read, in bytes.
pub const RULES_FILE_BYTES_MAX: usize = 1 << 20;
/// The most rules in a file.
pub const RULES_MAX: usize = 1_000;
/// The most names and topics in all rules together. Each is looked at when a client
/// publishes to another topic.
pub const RULE_PATTERNS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rules: Vec<Spanned<RuleSection>>,
}

/// `[[rules]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    allow: Option<Vec<ActionName>>,
    deny: Option<Vec<ActionName>>,
    users: Option<Vec<Spanned<String>>>,
    client_ids: Option<Vec<Spanned<String>>>,
    topics: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Publish,
    Subscribe,
    Will,
}

impl From<ActionName> for Action {
    fn from(name: ActionName) -> Self {
        match name {
            ActionName::Publish => Self::Publish,
            ActionName::Subscribe => Self::Subscribe,
            ActionName::Will => Self::Will,
        }
    }
}

impl AccessRules {
    /// Reads an `acl.toml`.
    ///
    /// # Errors
    /// [`TomlError`] for the first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, TomlError> {
        let file: RulesFile = strict_toml::parse(text)?;
        if file.rules.len() > RULES_MAX {
            let problem = format!("found {} rules, at most {RULES_MAX} are read", file.rules.len());
            return Err(strict_toml::invalid(text, "rules", problem));
        }
        let mut rules = Vec::with_capacity(file.rules.len());
        let mut patterns = 0;
        for section in file.rules {
            let at = section.span().start;
            let rule = section.into_inner().into_rule(text, at)?;
            patterns += rule.users.len() + rule.client_ids.len() + rule.topics.len();
            if patterns > RULE_PATTERNS_MAX {
                let problem = format!("more than {RULE_PATTERNS_MAX} names and topics up to here");
                return Err(strict_toml::invalid_at(text, at, problem));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }
}

impl RuleSection {
    /// `at` is where the section begins.
    fn into_rule(self, text: &str, at: usize) -> Result<Rule, TomlError> {
        let invalid = |problem: &str| Err(strict_toml::invalid_at(text, at, problem));
        let (allows, actions) = match (self.allow, self.deny) {
            (Some(actions), None) => (true, actions),
            (None, Some(actions)) => (false, actions),
            (Some(_), Some(_)) => return invalid("found allow and deny in one rule, expected one of them"),
            (None, None) => {
                return invalid(
                    "found neither allow nor deny, expected one of them, such as allow = [\"publish\"]",
                );
            }
        };
        if actions.is_empty() {
            return invalid(
                "the rule names no action, expected some of \"publish\", \"subscribe\" and \"will\"",
            );
        }
        if self.topics.is_empty() {
            return invalid("the rule names no topic, expected at least one; \"#\" is every topic");
        }
        let is_read = actions.iter().any(|action| Action::from(*action) == Action::Subscribe);
        let topic = |topic: &Spanned<String>| {
            if topic.get_ref().starts_with('$') && !is_read {
                let problem = format!(
                    "found {:?}, but nobody publishes to topics that start with '$': below $SYS/ there is only \"subscribe\"",
                    topic.get_ref()
                );
                return Err(strict_toml::invalid_at(text, topic.span().start, problem));
            }
            TopicPattern::new(topic.get_ref())
                .map_err(|problem| strict_toml::invalid_at(text, topic.span().start, problem))
        };
        Ok(Rule {
            allows,
            actions: actions.into_iter().map(Action::from).collect(),
            users: names("users", self.users, text, at)?,
            client_ids: names("client_ids", self.client_ids, text, at)?,
            topics: self.topics.iter().map(topic).collect::<Result<_, _>>()?,
        })
    }
}

/// The names under `key`; none where the key is left out, which is everyone.
fn names(
    key: &str,
    names: Option<Vec<Spanned<String>>>,
    text: &str,
    at: usize,
) -> Result<Vec<NamePattern>, TomlError> {
    let Some(names) = names else { return Ok(Vec::new()) };
    if names.is_empty() {
        let problem = format!("{key} is empty, so the rule is about nobody; leave the key out for everyone");
        return Err(strict_toml::invalid_at(text, at, problem));
    }
    let name = |name: &Spanned<String>| {
        let written = name.get_ref();
        let star = written.find('*');
        if written.is_empty() || star.is_some_and(|star| star + 1 < written.len()) {
            let problem =
                format!("found {written:?} in {key}, expected a name, or its beginning and one '*'");
            return Err(strict_toml::invalid_at(text, name.span().start, problem));
        }
        Ok(NamePattern::new(written))
    };
    names.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_fault_is_named_with_line_and_key() {
        let rule = "[[rules]]\nallow = [\"publish\"]\n";
        for (text, line, parts) in [
            ("# no rules\n[[rule]]\n".to_owned(), 2, vec!["unknown field `rule`", "did you mean `rules`?"]),
            (format!("{rule}topic = [\"a\"]\n"), 3, vec!["`topic`", "did you mean `topics`?"]),
            (
                "[[rules]]\nallow = [\"read\"]\ntopics = [\"a\"]\n".to_owned(),
                2,
                vec!["`read`", "`subscribe`"],
            ),
            ("\n[[rules]]\ntopics = [\"a\"]\n".to_owned(), 2, vec!["neither allow nor deny"]),
            (format!("{rule}deny = [\"will\"]\ntopics = [\"a\"]\n"), 1, vec!["allow and deny"]),
            ("[[rules]]\nallow = []\ntopics = [\"a\"]\n".to_owned(), 1, vec!["no action"]),
            (format!("{rule}topics = []\n"), 1, vec!["no topic"]),
            (rule.to_owned(), 1, vec!["missing field `topics`"]),
            (format!("{rule}topics = [\n  \"a\",\n  \"b#\"]\n"), 5, vec!["\"b#\"", "topic filter"]),
            (format!("{rule}topics = [\"$SYS/#\"]\n"), 3, vec!["rules.topics", "'$'"]),
            (format!("{rule}topics = [\"a/x%u\"]\n"), 3, vec!["rules.topics", "whole levels"]),
            (format!("{rule}users = []\ntopics = [\"a\"]\n"), 1, vec!["users is empty"]),
            (format!("{rule}users = [\"a*b\"]\ntopics = [\"a\"]\n"), 3, vec!["rules.users", "\"a*b\""]),
            (format!("{rule}client_ids = [\"\"]\ntopics = [\"a\"]\n"), 3, vec!["rules.client_ids", "\"\""]),
            ("[[rules]\n".to_owned(), 1, vec![]),
        ] {
            let error = AccessRules::from_toml(&text).unwrap_err();
            assert_eq!(error.line, line, "{text}\n{error}");
            for part in parts {
                assert!(error.to_string().contains(part), "{part:?} is not in {error}");
            }
        }
    }

    #[test]
    fn too_many_rules_and_too_many_patterns_are_refused() {
        let rule = "[[rules]]\nallow = [\"publish\"]\ntopics = [\"a\"]\n";
        assert_eq!(AccessRules::from_toml(&rule.repeat(RULES_MAX)).unwrap().len(), RULES_MAX);
        let error = AccessRules::from_toml(&rule.repeat(RULES_MAX + 1)).unwrap_err();
        assert!(error.to_string().contains("1001 rules"), "{error}");
        let topics = vec!["\"a\""; RULE_PATTERNS_MAX + 1].join(",");
        let text = format!("[[rules]]\nallow = [\"publish\"]\ntopics = [{topics}]\n");
        assert!(AccessRules::from_toml(&text).unwrap_err().to_string().contains("more than 10000"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_read_or_refused_with_a_line_of_it(
            lines in prop::collection::vec(prop::sample::select(vec![
                "[[rules]]", "[rules]", "allow = [\"publish\"]", "deny = [\"will\", \"subscribe\"]", "topics = [\"a/%u\"]",
                "topics = [\"#/a\"]", "topics = [", "  \"%c/+\",", "]", "users = [\"a*\"]", "users = 1", "client_ids = []", "x = {}", "\u{1}", "",
            ]), 0..12),
        ) {
            let text = lines.join("\n");
            if let Err(error) = AccessRules::from_toml(&text) {
                prop_assert!(error.line >= 1 && error.line <= lines.len().max(1) + 1, "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn a_file_without_rules_allows_nothing() {
        assert!(AccessRules::from_toml("# nothing\n").unwrap().is_empty());
    }
}
