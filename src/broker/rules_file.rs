//! `acl.toml` becomes access rules, strictly: what is misspelt or makes no sense is
//! an error with line and key.

use super::access::Action;
use super::access::rules::{AccessRules, NamePattern, Rule, TopicPattern};
use crate::settings::{Entry, SettingError, Table, toml};

/// The largest file of access rules that is read, in bytes.
pub const RULES_FILE_BYTES_MAX: usize = 1 << 20;
/// The most rules in a file.
pub const RULES_MAX: usize = 1_000;
/// The most names and topics in all rules together. Each is looked at when a client
/// publishes to another topic.
pub const RULE_PATTERNS_MAX: usize = 10_000;

impl AccessRules {
    /// Reads an `acl.toml`.
    ///
    /// # Errors
    /// [`SettingError`] for the first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, SettingError> {
        Self::parse(None, text)
    }

    /// Reads an `acl.toml`, which `file` names in errors.
    pub(crate) fn parse(file: Option<&str>, text: &str) -> Result<Self, SettingError> {
        let tree = toml::parse(file, text)?;
        let mut table = Table::of(&tree, "")?;
        let entries = table.find_list("rules")?.unwrap_or_default();
        table.finish()?;
        if let Some(beyond) = entries.get(RULES_MAX) {
            let problem = format!("found {} rules, at most {RULES_MAX} are read", entries.len());
            return Err(beyond.invalid(problem));
        }
        let mut rules = Vec::with_capacity(entries.len());
        let mut patterns = 0;
        for entry in &entries {
            let rule = rule(entry)?;
            patterns += rule.users.len() + rule.client_ids.len() + rule.topics.len();
            if patterns > RULE_PATTERNS_MAX {
                let problem = format!("more than {RULE_PATTERNS_MAX} names and topics up to here");
                return Err(entry.invalid(problem));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }
}

/// `[[rules]]`
fn rule(entry: &Entry<'_>) -> Result<Rule, SettingError> {
    let mut table = entry.table()?;
    let (allow, deny) = (table.find("allow"), table.find("deny"));
    let users = names(&mut table, "users")?;
    let client_ids = names(&mut table, "client_ids")?;
    let topics = table.find("topics");
    table.refuse_others()?;
    let (allows, actions) = match (allow, deny) {
        (Some(actions), None) => (true, actions),
        (None, Some(actions)) => (false, actions),
        (Some(_), Some(_)) => {
            return Err(entry.invalid("found allow and deny in one rule, expected one of them"));
        }
        (None, None) => {
            let problem = "found neither allow nor deny, expected one of them, such as allow = [\"publish\"]";
            return Err(entry.invalid(problem));
        }
    };
    let named = actions.items()?.map(|action| action.choice(Action::NAMES));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() {
        let problem = "the rule names no action, expected some of \"publish\", \"subscribe\" and \"will\"";
        return Err(actions.invalid(problem));
    }
    let topics = table.required("topics", topics)?;
    let is_read = named.contains(&Action::Subscribe);
    let patterns = topics.items()?.map(|entry| topic(&entry, is_read)).collect::<Result<Vec<_>, _>>()?;
    if patterns.is_empty() {
        return Err(topics.invalid("the rule names no topic, expected at least one; \"#\" is every topic"));
    }
    let line = entry.setting().origin.line().unwrap_or_default();
    Ok(Rule { line, allows, actions: named, users, client_ids, topics: patterns })
}

fn topic(entry: &Entry<'_>, is_read: bool) -> Result<TopicPattern, SettingError> {
    let topic = entry.text()?;
    if topic.starts_with('$') && !is_read {
        let problem = format!(
            "found {topic:?}, but nobody publishes to topics that start with '$': below $SYS/ there is only \"subscribe\""
        );
        return Err(entry.invalid(problem));
    }
    TopicPattern::new(topic).map_err(|problem| entry.invalid(problem))
}

/// The names under `key`; none where the key is left out, which is everyone.
fn names(table: &mut Table<'_>, key: &'static str) -> Result<Vec<NamePattern>, SettingError> {
    let Some(entry) = table.find(key) else { return Ok(Vec::new()) };
    let names = entry.items()?;
    if names.len() == 0 {
        let problem = format!("{key} is empty, so the rule is about nobody; leave the key out for everyone");
        return Err(entry.invalid(problem));
    }
    let expected = "a name, or its beginning and one '*'";
    let pattern = |written: &str| {
        let is_name = !written.is_empty() && written.find('*').is_none_or(|star| star + 1 == written.len());
        is_name.then(|| NamePattern::new(written))
    };
    names.map(|entry| entry.parsed(expected, pattern)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_fault_is_named_with_line_and_key() {
        let rule = "[[rules]]\nallow = [\"publish\"]\n";
        for (text, line, parts) in [
            ("# no rules\n[[rule]]\n".to_owned(), 2, vec!["`rule`: unknown key", "did you mean `rules`?"]),
            (format!("{rule}topic = [\"a\"]\n"), 3, vec!["`rules[0].topic`", "did you mean `topics`?"]),
            (
                "[[rules]]\nallow = [\"read\"]\ntopics = [\"a\"]\n".to_owned(),
                2,
                vec!["\"read\"", "subscribe"],
            ),
            ("\n[[rules]]\ntopics = [\"a\"]\n".to_owned(), 2, vec!["neither allow nor deny"]),
            (format!("{rule}deny = [\"will\"]\ntopics = [\"a\"]\n"), 1, vec!["allow and deny"]),
            ("[[rules]]\nallow = []\ntopics = [\"a\"]\n".to_owned(), 2, vec!["no action"]),
            (format!("{rule}topics = []\n"), 3, vec!["no topic"]),
            (rule.to_owned(), 1, vec!["topics`: is missing"]),
            (format!("{rule}topics = [\n  \"a\",\n  \"b#\"]\n"), 5, vec!["\"b#\"", "topic filter"]),
            (format!("{rule}topics = [\"$SYS/#\"]\n"), 3, vec!["rules[0].topics[0]", "'$'"]),
            (format!("{rule}topics = [\"a/x%u\"]\n"), 3, vec!["rules[0].topics[0]", "whole levels"]),
            (format!("{rule}users = []\ntopics = [\"a\"]\n"), 3, vec!["users is empty"]),
            (format!("{rule}users = [\"a*b\"]\ntopics = [\"a\"]\n"), 3, vec!["rules[0].users[0]", "\"a*b\""]),
            (
                format!("{rule}client_ids = [\"\"]\ntopics = [\"a\"]\n"),
                3,
                vec!["rules[0].client_ids[0]", "\"\""],
            ),
            ("[[rules]\n".to_owned(), 1, vec![]),
        ] {
            let error = AccessRules::from_toml(&text).unwrap_err();
            assert_eq!(error.line(), Some(line), "{text}\n{error}");
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
                let line = error.line().unwrap_or_default();
                prop_assert!(line >= 1 && line <= lines.len().max(1) + 1, "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn a_file_without_rules_allows_nothing() {
        assert!(AccessRules::from_toml("# nothing\n").unwrap().is_empty());
    }
}
