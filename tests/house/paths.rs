//! What a file of Rust names: a text search, not a compiler.
//!
//! Comments are left out, everything else counts. A name in a macro, or an alias, escapes it.

/// Every use of another item of the module at `root`, such as `crate::`: its line, and the first name behind
/// that path, or behind as many `super::` as lead there from a file that is `depth` modules deep.
pub fn uses(text: &str, root: &str, depth: usize) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (at, matched) in code.match_indices(root) {
        if starts_a_word(&code, at) {
            targets(&code, at + matched.len(), &mut found);
        }
    }
    for (at, matched) in code.match_indices("super::") {
        if !starts_a_word(&code, at) || code[..at].ends_with(matched) {
            continue;
        }
        let supers = code[at..].split(matched).take_while(|between| between.is_empty()).count();
        if supers == depth + usize::from(is_in_inline_module(&code, at)) {
            // A glob in a test module takes what its file has, which was seen where the file took it.
            targets(&code, at + supers * matched.len(), &mut found);
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(at, target)| (line_of(&code, at), target)).collect()
}

/// The names at `start`: one, or the first of each path in a braced group.
fn targets(code: &str, start: usize, found: &mut Vec<(usize, String)>) {
    if !code[start..].starts_with('{') {
        let name: String = code[start..].chars().take_while(|c| is_identifier(*c) || *c == '*').collect();
        return found.push((start, name));
    }
    let (mut braces, mut expects_name) = (0, false);
    for (offset, c) in code[start..].char_indices() {
        let at = start + offset;
        match c {
            '{' => (braces, expects_name) = (braces + 1, braces == 0),
            '}' if braces == 1 => return,
            '}' => braces -= 1,
            ',' => expects_name = braces == 1,
            c if expects_name && is_identifier(c) => {
                found.push((at, code[at..].chars().take_while(|c| is_identifier(*c)).collect()));
                expects_name = false;
            }
            _ => {}
        }
    }
}

/// Whether `at` is inside a `mod name { ... }` of the file; formatted code begins
/// and ends those in the first column.
fn is_in_inline_module(code: &str, at: usize) -> bool {
    let first_column = code[..at].lines().rev().find(|line| {
        line.starts_with('}') || (line.ends_with('{') && line.starts_with(|c: char| c.is_alphabetic()))
    });
    first_column.is_some_and(|line| line.starts_with("mod ") || line.contains(" mod "))
}

/// The text with the rest of each line behind `//` left out; lines keep their numbers.
pub fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')) {
        Some((at, _)) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(|line| code(line) + "\n").collect()
}

fn starts_a_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(is_identifier)
}

pub fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}
