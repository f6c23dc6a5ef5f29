//! Keeps docs/operations.md complete: every warning and error that a node or broker logs stands there.
//!
//! It is a text search, not a compiler: of a message the longest part counts that is the same each time. A
//! message that is made elsewhere, and handed to the log as a whole, has none: those are listed here with
//! what they say.

use super::sources::{root, sources};

const PAGE: &str = "docs/operations.md";
/// What is shorter says nothing, such as the colon in `{file}: {problem}`.
const PART_BYTES_LEAST: usize = 12;

/// Where a warning or error is logged whose sentence is made elsewhere, and what is the same each time in the
/// sentences that come there.
const MADE_ELSEWHERE: [(&str, &[&str]); 8] = [
    ("src/broker.rs", &["stay in force"]),
    (
        "src/broker/front/tls.rs",
        &[
            "the certificate of ",
            ": the private key (",
            ": the authorities (",
            "every user of this machine can ",
        ],
    ),
    (
        "src/broker/session/context.rs",
        &["files and sockets open, which is too few", " bytes, and this process can have "],
    ),
    ("src/client/remote/receiving.rs", &["the broker refuses the subscription to "]),
    ("src/config.rs", &["every user of this machine can "]),
    (
        "src/config/access_files.rs",
        &[
            "no access rule with %u is about ",
            ") decides about no topic, because rules before it do ",
            ") is about nobody in the users file: found ",
            "of the access rules the first ",
        ],
    ),
    ("src/worker/running.rs", &[" standard deviations from what model "]),
    ("src/worker/watch.rs", &["the model did not return within "]),
];

#[test]
fn every_warning_that_is_made_elsewhere_is_listed_and_explained_to_operators() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let sources = sources(&["src"]);
    let unlisted: Vec<_> = sources
        .iter()
        .filter(|source| !MADE_ELSEWHERE.iter().any(|(file, _)| *file == source.file))
        .flat_map(|source| calls(&source.text).into_iter().map(|call| (source.file.as_str(), call)))
        .filter(|(_, call)| message(call).is_none())
        .collect();
    assert!(unlisted.is_empty(), "what these say is not listed in MADE_ELSEWHERE: {unlisted:#?}");
    for (file, parts) in MADE_ELSEWHERE {
        let logs = sources.iter().any(|source| {
            source.file == file && calls(&source.text).into_iter().any(|call| message(call).is_none())
        });
        assert!(logs, "{file} has no such line any more");
        for part in parts {
            let is_made = sources.iter().any(|source| source.text.contains(part));
            assert!(is_made, "nothing says {part:?} any more");
            assert!(page.lines().any(|line| explains(line, part)), "{part:?} is not in {PAGE}");
        }
    }
}

#[test]
fn every_warning_and_error_of_a_node_is_explained_to_operators() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let mut lines = 0;
    let mut missing = Vec::new();
    for source in sources(&["src"]) {
        for message in messages(&source.text) {
            lines += 1;
            if !page.lines().any(|line| explains(line, &message)) {
                missing.push(format!("{}: {message:?}", source.file));
            }
        }
    }
    assert!(lines > 40, "{lines} lines found");
    assert!(missing.is_empty(), "not in {PAGE}:\n{}", missing.join("\n"));
}

#[test]
fn what_is_the_same_each_time_is_found() {
    let text = r#"
        warn!(%cause, "the broker is gone; {wait} left");
        tracing::error!(a = b.map(|c| c.name("x")), "first \
            and second {}", d);
        #[error("no line of the log")] thiserror!("none");
        warn!("{problem}");"#;
    assert_eq!(messages(text), ["the broker is gone; ", "first and second "]);
    assert!(explains("| `first and second` | x |", "first and second "));
    assert!(explains("| `rst and second` | x |", "first and second "), "a part that is long enough");
    assert!(
        !explains("| first and second | x |", "first and second "),
        "only what is marked as a line counts"
    );
}

/// Whether one of the quoted parts in the first column of a table is a part of `message`.
fn explains(line: &str, message: &str) -> bool {
    let Some(column) = line.strip_prefix("| ").and_then(|line| line.split(" |").next()) else { return false };
    let quoted = column.split('`').skip(1).step_by(2);
    quoted
        .into_iter()
        .any(|part| part.len() >= PART_BYTES_LEAST.min(message.trim().len()) && message.contains(part))
}

/// The messages of all warnings and errors in a source, as far as they are the same each time.
fn messages(text: &str) -> Vec<String> {
    calls(text).into_iter().filter_map(message).collect()
}

/// What stands behind the opening parentheses of all warnings and errors in a source.
fn calls(text: &str) -> Vec<&str> {
    let begins = ["warn!(", "error!("].into_iter().flat_map(|macro_name| text.match_indices(macro_name));
    let mut begins: Vec<_> = begins
        .filter(|(at, _)| !text[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
        .map(|(at, name)| at + name.len())
        .collect();
    begins.sort_unstable();
    begins.into_iter().map(|begin| &text[begin..]).collect()
}

/// The last literal between the parentheses that were opened before `text`: the longest part of it without
/// braces.
fn message(text: &str) -> Option<String> {
    let (mut depth, mut literals, mut rest) = (1, Vec::new(), text.char_indices());
    while depth > 0 {
        match rest.next()?.1 {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => literals.push((depth, literal(&mut rest)?)),
            _ => {}
        }
    }
    let (_, last) = literals.into_iter().rev().find(|(depth, _)| *depth == 1)?;
    let parts = last.split('{').map(|part| part.rsplit('}').next().unwrap_or(part));
    parts.max_by_key(|part| part.len()).filter(|part| part.len() >= PART_BYTES_LEAST).map(str::to_owned)
}

/// A literal up to its end, as it is when the program runs.
fn literal(rest: &mut std::str::CharIndices<'_>) -> Option<String> {
    let mut literal = String::new();
    loop {
        match rest.next()?.1 {
            '"' => return Some(literal),
            '\\' => match rest.next()?.1 {
                '\n' => {
                    let mut ahead = rest.clone();
                    while ahead.next().is_some_and(|(_, next)| next.is_whitespace()) {
                        rest.next();
                    }
                }
                escaped => literal.push(escaped),
            },
            character => literal.push(character),
        }
    }
}
