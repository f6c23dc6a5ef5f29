//! Tests: access rules that somebody damaged are read or refused, and none lets a client have what it denies.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::mutate::mutate_text;
use super::rules_grammar::{ACTIONS, Rules, filter, identity, universe};
use super::text_campaign;
use crate::broker::access::rules::AccessRules;
use crate::broker::access::{Action, Identity};
use crate::mqtt::filter_matches;

/// Clients that are asked about, for each file, and filters for each client.
const CLIENTS: usize = 3;
const FILTERS: usize = 20;
/// Values that nest, or are long.
const HEAVY: usize = 20_000;

#[test]
fn rules_mean_for_every_topic_what_their_first_match_says() {
    let universe = universe();
    let (mut allowed, mut denied) = (0, 0);
    text_campaign("rules", 60, |rng| {
        let meant = Rules::any(rng);
        let rules = AccessRules::from_toml(&meant.to_toml()).unwrap_or_else(|error| {
            panic!("refused: {error}\n{}", meant.to_toml());
        });
        for _ in 0..CLIENTS {
            let (who, action) = (identity(rng), ACTIONS[rng.random_range(0..ACTIONS.len())]);
            for topic in &universe {
                let expected = meant.allow(&who, action, topic);
                let found = rules.allow(&who, action, topic);
                assert_eq!(found, expected, "{who:?} {action:?} {topic:?} with\n{}", meant.to_toml());
            }
            let brought = count_allowed(&rules, &who, &universe, rng);
            (allowed, denied) = (allowed + brought, denied + FILTERS - brought);
        }
    });
    println!("rules: {allowed} filters allowed, {denied} denied");
}

#[test]
fn mutated_rules_are_read_or_refused_with_a_line() {
    let universe = universe();
    let (mut read, mut refused, mut allowed) = (0, 0, 0);
    text_campaign("mutated rules", 500, |rng| {
        let mut text = Rules::any(rng).to_toml();
        if rng.random_bool(0.01) {
            text += &heavy(rng);
        }
        let text = mutate_text(text, rng);
        let rules = match AccessRules::from_toml(&text) {
            Ok(rules) => rules,
            Err(error) => {
                let lines = text.split('\n').count();
                assert!(
                    error.line().is_some_and(|line| (1..=lines).contains(&line)),
                    "{error} in {lines} lines:\n{text}"
                );
                assert!(!error.problem.to_string().is_empty(), "{text}");
                refused += 1;
                return;
            }
        };
        read += 1;
        let who = identity(rng);
        allowed += count_allowed(&rules, &who, &universe, rng);
    });
    println!("mutated rules: {read} files read, {refused} refused, {allowed} filters allowed");
}

/// How many of some filters the client may subscribe to. Each of them brings only
/// topics that are allowed one by one.
fn count_allowed(rules: &AccessRules, who: &Identity, universe: &[String], rng: &mut ChaCha8Rng) -> usize {
    let filters = (0..FILTERS).map(|_| filter(rng));
    let allowed = filters.filter(|filter| rules.allow(who, Action::Subscribe, filter)).collect::<Vec<_>>();
    for filter in &allowed {
        for topic in universe.iter().filter(|topic| filter_matches(filter, topic)) {
            let is_allowed = rules.allow(who, Action::Subscribe, topic);
            assert!(is_allowed, "{who:?} gets {topic:?} by {filter:?}: {rules:?}");
        }
    }
    allowed.len()
}

fn heavy(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..4) {
        0 => format!("topics = {}", "[".repeat(HEAVY)),
        1 => format!("topics = {}", "{a=".repeat(HEAVY)),
        2 => format!("{}x = 1", "a.".repeat(HEAVY)),
        _ => format!("[[rules]]\nallow = [\"will\"]\ntopics = [\"{}\"]\n", "/".repeat(HEAVY)),
    }
}
