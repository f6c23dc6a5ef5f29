//! What whoever wrote the users and the rules should know: rules that do nothing, and names that no rule is
//! about. None of it is an error.

use super::rules::{AccessRules, NamePattern, Rule};
use super::users::{Users, listed, user_name_remark};
use crate::suggestion;

/// The most things that are said of one pair of files.
const TOLD_MAX: usize = 10;
/// Among so many users one that was probably meant is looked for.
const NAMES_COMPARED_MAX: usize = 10_000;

/// Sentences about `rules` and `users`. Where clients may have other names than those in the users file, such
/// as those of their certificates, a rule for nobody there may be for one of them.
pub fn remarks(rules: &AccessRules, users: &Users, may_be_others: bool) -> Vec<String> {
    let all = || rules.rules.iter().enumerate();
    let mut names: Vec<_> = users.names().collect();
    names.sort_unstable();
    let odd: Vec<_> = names.iter().copied().filter(|_| rules.have_user_levels()).collect();
    let mut remarks = user_name_remark(&odd)
        .into_iter()
        .chain(all().filter_map(|(at, _)| idle(rules, at)))
        .chain(all().filter(|_| !may_be_others).filter_map(|(at, rule)| nobodys(rule, at, &names)));
    let mut told: Vec<_> = remarks.by_ref().take(TOLD_MAX).collect();
    if remarks.next().is_some() {
        told.push(format!(
            "of the access rules the first {TOLD_MAX} things to mend were told, and there are more"
        ));
    }
    told
}

/// A rule that decides about no topic, because rules before it have decided about all of its.
fn idle(rules: &AccessRules, at: usize) -> Option<String> {
    let (before, rule) = (&rules.rules[..at], &rules.rules[at]);
    let mut lines = Vec::new();
    for action in &rule.actions {
        for topic in &rule.topics {
            let first = before.iter().find(|first| first.decides_before(rule, *action, topic))?;
            lines.push(first.line);
        }
    }
    lines.sort_unstable();
    lines.dedup();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    Some(format!(
        "the access rule on line {} (`rules[{at}]`) decides about no topic, because rules before it do (line {}): put it in front of them, or \
         take it out",
        rule.line,
        lines.join(", ")
    ))
}

/// A rule for users of whom none is in the users file; `names` are those, in order.
fn nobodys(rule: &Rule, at: usize, names: &[&str]) -> Option<String> {
    let is_somebody = |pattern: &NamePattern| {
        let first = names.partition_point(|name| *name < pattern.beginning());
        names.get(first).is_some_and(|name| pattern.matches(name))
    };
    if names.is_empty() || rule.users.is_empty() || rule.users.iter().any(is_somebody) {
        return None;
    }
    let named = rule.users.iter().map(ToString::to_string).collect::<Vec<_>>();
    let known = || names.iter().copied().take(NAMES_COMPARED_MAX);
    let meant = named.iter().find_map(|name| suggestion::meant(name, known()));
    let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
    Some(format!(
        "the access rule on line {} (`rules[{at}].users`) is about nobody in the users file: found {}{meant}",
        rule.line,
        listed(named.iter().map(String::as_str))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rules: &str, users: &str) -> Vec<String> {
        let users = users.split_whitespace().map(|name| format!("{name}:$7$1$c2FsdHNhbHQ=$aGFzaGhhc2g=\n"));
        let users = Users::parse(&users.collect::<String>()).unwrap();
        remarks(&AccessRules::from_toml(&format!("rules = [\n{rules}\n]\n")).unwrap(), &users, false)
    }

    #[test]
    fn a_rule_behind_one_that_decides_about_all_of_its_topics_is_told_of() {
        let allow =
            |topic: &str| format!("{{ allow = [\"publish\", \"subscribe\"], topics = [{topic}] }},\n");
        let deny = |topic: &str| format!("{{ deny = [\"publish\"], topics = [{topic}] }},\n");
        for (first, second, is_idle) in [
            (allow("\"a/#\""), deny("\"a/b\", \"a/+/c\", \"a\""), true),
            (allow("\"a/+\""), deny("\"a/%u\""), true),
            (allow("\"a/%u\""), deny("\"a/%u\""), true),
            (deny("\"a/b\""), deny("\"a/b\""), true),
            (allow("\"a/+\""), deny("\"a/#\""), false),
            (allow("\"a/%u\""), deny("\"a/+\""), false),
            (allow("\"a/%c\""), deny("\"a/%u\""), false),
            (allow("\"a\", \"b\""), deny("\"a\", \"c\""), false),
            // A rule for # is not about topics that start with $.
            (allow("\"#\""), "{ deny = [\"subscribe\"], topics = [\"$SYS/#\"] },\n".to_owned(), false),
            (deny("\"a\""), allow("\"a\""), false),
            (
                "{ allow = [\"publish\"], users = [\"p*\"], topics = [\"a\"] },\n".to_owned(),
                deny("\"a\""),
                false,
            ),
            (
                "{ allow = [\"publish\"], users = [\"p*\"], topics = [\"a\"] },\n".to_owned(),
                "{ deny = [\"publish\"], users = [\"pump\", \"pipe*\"], topics = [\"a\"] },\n".to_owned(),
                true,
            ),
        ] {
            let said = said(&format!("{first}{second}"), "pump pipe-1");
            assert_eq!(said.len(), usize::from(is_idle), "{first}{second}{said:?}");
            let part = "the access rule on line 3 (`rules[1]`) decides about no topic, because rules before it do (line 2)";
            assert!(said.iter().all(|said| said.starts_with(part)), "{said:?}");
        }
    }

    #[test]
    fn a_rule_about_nobody_in_the_users_file_is_told_of_with_who_was_probably_meant() {
        let rule = |users: &str| format!("{{ allow = [\"publish\"], users = [{users}], topics = [\"a\"] }}");
        let found = said(&rule("\"pmup-7\""), "pump-7 press");
        assert!(
            found[0].contains("line 2 (`rules[0].users`)") && found[0].contains("did you mean \"pump-7\"?"),
            "{found:?}"
        );
        // Another number is another device, and no slip.
        assert!(said(&rule("\"pump-77\""), "pump-7")[0].ends_with("found \"pump-77\""));
        assert_eq!(said(&rule("\"fan-*\""), "pump-7").len(), 1);
        for users in ["\"pump-*\"", "\"nobody\", \"pump-7\""] {
            assert_eq!(said(&rule(users), "pump-7"), [""; 0], "{users}");
        }
    }

    #[test]
    fn names_that_no_rule_is_about_are_listed_as_far_as_ten() {
        let rule = "{ allow = [\"publish\"], topics = [\"a/%u\"] }";
        assert!(said(rule, "plant/9 plant/7 press")[0].contains("users \"plant/7\", \"plant/9\", because"));
        let many: Vec<_> = (10..30).map(|number| format!("plant/{number}")).collect();
        assert!(said(rule, &many.join(" "))[0].contains("\"plant/19\" and 10 more, because"));
    }
}
