//! Keeps docs/bounds.md equal to the code: every name of a first column exists, and its value stands in the
//! second.
//!
//! It is a text search, not a compiler: a value is compared where the code gives it by literals, or by
//! constants that are. Of a key's values in several structures one must be the page's.

mod value;

use self::value::{Value, evaluate, quantities};
use super::sources::{Source, root, sources};

const PAGE: &str = "docs/bounds.md";

/// Names of the page that are none of ours.
const OF_OTHERS: [&str; 1] = ["OTEL_BSP_MAX_QUEUE_SIZE"];

/// One line of a table.
struct Row<'a> {
    line: usize,
    /// The names in its first column, with the module before them where there is one.
    names: Vec<&'a str>,
    /// Its second column.
    said: &'a str,
}

/// Where a name is given a value.
struct Definition<'a> {
    source: &'a Source,
    line: usize,
    expression: &'a str,
}

#[test]
fn every_bound_is_in_the_code_and_its_value_on_the_page() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let rows = rows(&page);
    let names = rows.iter().map(|row| row.names.len()).sum::<usize>();
    assert!(names > 150, "{names} names on the page");
    let sources = code();
    let faults: Vec<_> = rows.iter().flat_map(|row| faults(row, &sources)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_differs_is_named_with_both_places() {
    let source = |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned() };
    let sources = [
        source("src/a/b.rs", "use x;\nconst LINES_MAX: usize = 1_000;\n"),
        source(
            "src/c.rs",
            "pub const LINES_MAX: u64 = 2 << 10;\nConfig { wait_max: WAIT, other: 1 }\nconst WAIT: Duration = Duration::from_secs(3);",
        ),
    ];
    let of = |row: &str| -> Vec<String> { rows(row).iter().flat_map(|row| faults(row, &sources)).collect() };
    assert_eq!(of("| `b::LINES_MAX`, `c::LINES_MAX` | 1,000, and 2 KiB | refused |"), [""; 0]);
    assert_eq!(of("| `wait_max`, `other` | 3 s and 1 of `these` | refused |"), [""; 0]);
    assert_eq!(
        of("\n| `b::LINES_MAX` | 1,024 lines | refused |"),
        ["docs/bounds.md:2: `b::LINES_MAX` is 1_000 in src/a/b.rs:2, the page says \"1,024 lines\""]
    );
    assert_eq!(of("| `wait_max` | 3 of them | refused |").len(), 1, "no unit");
    assert!(of("| `gone_max` | 1 | refused |")[0].contains("`gone_max` is nowhere in src"));
    assert!(of("| `d::LINES_MAX` | 1,000 | refused |")[0].contains("is nowhere in src"));
    assert!(of("| `LINES_MAX` | 1,000 | refused |")[0].contains("name the module: src/a/b.rs:2, src/c.rs:1"));
}

/// What the program consists of, without its tests.
fn code() -> Vec<Source> {
    let mut sources = sources(&["src"]);
    sources.retain(|source| !source.file.contains("/hostile/") && !source.file.contains("tests"));
    for source in &mut sources {
        if let Some(at) = source.text.find("#[cfg(test)]\nmod tests {") {
            source.text.truncate(at);
        }
    }
    sources
}

fn rows(page: &str) -> Vec<Row<'_>> {
    page.lines().enumerate().filter_map(|(at, line)| row(at + 1, line)).collect()
}

fn row(line: usize, text: &str) -> Option<Row<'_>> {
    let mut cells = text.strip_prefix("| ")?.split(" | ");
    let names = cells.next()?.split('`').skip(1).step_by(2).collect();
    Some(Row { line, names, said: cells.next()? })
}

fn faults(row: &Row, sources: &[Source]) -> Vec<String> {
    let names = row.names.iter().filter(|name| !OF_OTHERS.contains(name));
    let fault = |name: &&str| {
        let complaint = complaint(name, row.said, sources)?;
        Some(format!("{PAGE}:{}: `{name}` {complaint}", row.line))
    };
    names.filter_map(fault).collect()
}

/// What is wrong with what the page says of a name, which may have its module before it.
fn complaint(path: &str, said: &str, sources: &[Source]) -> Option<String> {
    let (module, name) = path.rsplit_once("::").map_or((None, path), |(module, name)| (Some(module), name));
    let is_looked_at = |source: &&Source| module.is_none_or(|module| is_of(source, module));
    let places: Vec<_> = sources.iter().filter(is_looked_at).collect();
    let is_constant = name.chars().all(|c| !c.is_lowercase());
    let find = if is_constant { constants } else { keys };
    let definitions: Vec<_> = places.iter().flat_map(|source| find(source, name)).collect();
    let is_mentioned = || places.iter().any(|source| mentions(&source.text, name).next().is_some());
    if definitions.is_empty() && (is_constant || !is_mentioned()) {
        return Some("is nowhere in src".to_owned());
    }
    let worth = |definition| Some((definition, worth(definition, sources)?.named(name)));
    let known: Vec<(&Definition, Value)> = definitions.iter().filter_map(worth).collect();
    if is_constant && known.iter().any(|(_, value)| *value != known[0].1) {
        let places: Vec<_> = known.iter().map(|(definition, _)| definition.place()).collect();
        return Some(format!("has several values, name the module: {}", places.join(", ")));
    }
    let (first, _) = known.first()?;
    let said_values = quantities(said);
    let is_said = known.iter().any(|(_, value)| said_values.contains(value));
    (!is_said).then(|| format!("is {} in {}, the page says {said:?}", first.expression, first.place()))
}

/// Whether the file belongs to a module of that name, or has a type of that name.
fn is_of(source: &Source, module: &str) -> bool {
    let path = source.file.trim_end_matches(".rs");
    path.split('/').any(|part| part == module) || source.text.contains(&format!("struct {module} {{"))
}

impl Definition<'_> {
    fn place(&self) -> String {
        format!("{}:{}", self.source.file, self.line)
    }
}

/// What a definition is worth, where that is known; constants that it names are sought in its own file first.
fn worth(definition: &Definition, sources: &[Source]) -> Option<Value> {
    let constant = |name: &str| {
        let mut places = std::iter::once(definition.source).chain(sources);
        worth(&places.find_map(|source| constants(source, name).into_iter().next())?, sources)
    };
    evaluate(definition.expression, &constant)
}

/// `const NAME: TYPE = EXPRESSION;`
fn constants<'a>(source: &'a Source, name: &str) -> Vec<Definition<'a>> {
    let text = &source.text;
    let definition = |at: usize| {
        let is_declared = text[..at].ends_with("const ");
        let (_type, rest) = text[at..].strip_prefix(name)?.strip_prefix(": ")?.split_once(" = ")?;
        let expression = rest.split(';').next()?;
        is_declared.then(|| Definition { source, line: line_of(text, at), expression })
    };
    mentions(text, name).filter_map(definition).collect()
}

/// `name: EXPRESSION` in a structure, be it its last member or not.
fn keys<'a>(source: &'a Source, name: &str) -> Vec<Definition<'a>> {
    let text = &source.text;
    let definition = |at: usize| {
        let rest = text[at..].strip_prefix(name)?.strip_prefix(": ")?;
        let expression = rest.split([',', '\n']).next()?.trim_end_matches(" }");
        Some(Definition { source, line: line_of(text, at), expression })
    };
    mentions(text, name).filter_map(definition).collect()
}

/// Where `name` stands as a whole word.
fn mentions(text: &str, name: &str) -> impl Iterator<Item = usize> {
    let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_whole = move |at: &usize| {
        !text[..*at].ends_with(is_of_a_word) && !text[at + name.len()..].starts_with(is_of_a_word)
    };
    text.match_indices(name).map(|(at, _)| at).filter(is_whole)
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
