//! Tests: a users file that somebody damaged is read or refused, and no password in it takes long to check.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::mutate::mutate_text;
use super::text_campaign;
use crate::broker::access::users::Users;

/// What a file may ask for; the reader's own bounds, written down a second time.
const ITERATIONS_MAX: u64 = 1_000_000;
const MEMORY_KIB_MAX: u64 = 256 * 1_024;
const WORK_KIB_MAX: u64 = 1_024 * 1_024;
/// A password that asks for no more than this is checked here.
const ITERATIONS_CHEAP: u64 = 10;
const WORK_KIB_CHEAP: u64 = 64;
const NAMES: [&str; 6] = ["press", "p 1", "ü", "a/#", "$u", "%u"];
/// Hostile ones, edges, and numbers that are none.
const ITERATIONS: [&str; 10] =
    ["1", "10", "1000000", "1000001", "4294967295", "4294967296", "0", "-1", "+7", "1e3"];
const WORK: [&str; 14] = [
    "m=8,t=1",
    "m=16,t=4",
    "m=262144,t=4",
    "m=262144,t=5",
    "m=262145,t=1",
    "m=19456,t=53",
    "m=19456,t=54",
    "m=8,t=131072",
    "m=8,t=131073",
    "m=4294967295,t=4294967295",
    "m=4294967296,t=1",
    "m=8,t=0",
    "m=0,t=1",
    "t=54",
];

#[test]
fn users_files_are_read_or_refused_with_a_line_and_ask_for_bounded_work() {
    let (mut read, mut refused, mut checked) = (0, 0, 0);
    text_campaign("users", 500, |rng| {
        let text = users_file(rng);
        let text = if rng.random_bool(0.8) { mutate_text(text, rng) } else { text };
        match Users::parse(&text) {
            Ok(users) => {
                read += 1;
                checked += assert_sound(&users, &text);
            }
            Err(error) => {
                let lines = text.lines().count();
                assert!((1..=lines).contains(&error.line), "{error} in {lines} lines:\n{text}");
                assert!(!error.problem.is_empty(), "{text}");
                refused += 1;
            }
        }
    });
    println!("users: {read} files read, {refused} refused, {checked} passwords checked");
}

/// Every user is found again with bounded work, and can be taken out. Returns how
/// many passwords were checked.
fn assert_sound(users: &Users, text: &str) -> u32 {
    let text = crate::text::without_mark(text);
    let mut checked = 0;
    let entries = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(entries.clone().count(), users.len(), "{text}");
    for entry in entries {
        let (name, stored) = entry.split_once(':').expect("a line without a colon is refused");
        let (name, stored) = (name.trim(), stored.trim());
        let (_, password) = users.find(name).expect("every user is found");
        if assert_work_is_bounded(stored) {
            assert!(!password.is(b"not this one"), "{entry}");
            checked += 1;
        }
        let without = Users::without(text, name).unwrap().expect("the user is known");
        assert_eq!(Users::parse(&without).unwrap().len(), users.len() - 1, "{without}");
    }
    checked
}

/// Whether the check is cheap enough to be made here.
fn assert_work_is_bounded(stored: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().expect("it was read as a number");
    if let Some(rest) = stored.strip_prefix("$7$") {
        let iterations = rest.split('$').next().map(number).expect("there is a first field");
        assert!((1..=ITERATIONS_MAX).contains(&iterations), "{stored}");
        return iterations <= ITERATIONS_CHEAP;
    }
    if stored.starts_with("$6$") {
        return true;
    }
    let of = |key: &str| {
        let parameters = stored.split('$').flat_map(|field| field.split(','));
        parameters
            .rev()
            .find_map(|parameter| parameter.strip_prefix(key))
            .map(number)
            .expect("both are there")
    };
    let (memory_kib, passes) = (of("m="), of("t="));
    assert!(memory_kib <= MEMORY_KIB_MAX && memory_kib * passes <= WORK_KIB_MAX, "{stored}");
    memory_kib * passes <= WORK_KIB_CHEAP
}

/// Mostly valid, with a hostile amount of work here and there.
fn users_file(rng: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.random_range(0..5) {
        text += match rng.random_range(0..8) {
            0 => "# a comment\n",
            1 => "\n",
            2 => " \t",
            _ => "",
        };
        let name = NAMES[rng.random_range(0..NAMES.len())];
        let mut pick = |from: &[&'static str]| match rng.random_bool(0.7) {
            true => from[0],
            false => from[rng.random_range(0..from.len())],
        };
        let (iterations, work) = (pick(&ITERATIONS), pick(&WORK));
        text += &match rng.random::<bool>() {
            true => format!("{name}:$7${iterations}$c2FsdHNhbHQ=$aGFzaGhhc2g=\n"),
            false => {
                format!("{name}:$argon2id$v=19${work},p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo\n")
            }
        };
    }
    text
}
