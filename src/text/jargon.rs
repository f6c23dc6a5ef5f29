//! What libraries say of a wrong text, in words that its author knows: of JSON, not of Rust.

/// What they say, and what it means. Longer phrases stand before those that they begin with.
const WORDS: &[(&str, &str)] = &[
    ("trailing characters", "found more text behind its end"),
    ("EOF while parsing a list", "it ends within a list"),
    ("EOF while parsing an object", "it ends within an object"),
    ("EOF while parsing a string", "it ends within a text"),
    ("EOF while parsing a value", "it ends where a value should stand"),
    ("expected ident", "expected true, false or null"),
    ("recursion limit exceeded", "it is nested too deeply"),
    ("invalid type: ", "found "),
    ("invalid value: ", "found "),
    ("floating point `", "the number `"),
    ("integer `", "the number `"),
    ("boolean `", "`"),
    ("string \"", "the text \""),
    ("found unit value", "found null"),
    ("found map", "found an object"),
    ("found sequence", "found a list"),
    ("expected a map", "expected an object"),
    ("expected a sequence", "expected a list"),
    ("expected a borrowed string", "expected a text"),
    ("expected a string", "expected a text"),
    ("expected a boolean", "expected true or false"),
];
/// How Rust calls its kinds of numbers.
const WHOLE: [&str; 12] =
    ["usize", "isize", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128"];
const BROKEN: [&str; 2] = ["f32", "f64"];
/// What it calls the things whose name is the program's own.
const OBJECTS: [&str; 4] = ["struct", "enum", "newtype struct", "tuple struct"];

/// The same in plain words.
pub fn in_plain_words(said: &str) -> String {
    let mut plain = WORDS.iter().fold(said.to_owned(), |text, (jargon, words)| text.replace(jargon, words));
    for (kinds, words) in [(&WHOLE[..], "expected a whole number"), (&BROKEN[..], "expected a number")] {
        for kind in kinds {
            plain = without_word(&plain, &format!("expected {kind}"), words);
        }
    }
    for object in OBJECTS {
        plain = without_name(&plain, &format!("expected {object} "), "expected an object");
    }
    plain
}

/// `text` with `word` replaced where no longer word begins with it.
fn without_word(text: &str, word: &str, by: &str) -> String {
    let Some((before, behind)) = text.split_once(word) else { return text.to_owned() };
    if behind.starts_with(|letter: char| letter.is_alphanumeric()) {
        return text.to_owned();
    }
    format!("{before}{by}{behind}")
}

/// `text` with `words` and the name behind them replaced.
fn without_name(text: &str, words: &str, by: &str) -> String {
    let Some((before, behind)) = text.split_once(words) else { return text.to_owned() };
    let name = behind.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(behind.len());
    format!("{before}{by}{}", &behind[name..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_of_json_says_is_said_without_words_of_rust() {
        for (said, plain) in [
            ("trailing characters at line 1 column 4", "found more text behind its end at line 1 column 4"),
            (
                "invalid type: integer `5`, expected a string at line 1 column 2",
                "found the number `5`, expected a text at line 1 column 2",
            ),
            (
                "invalid type: map, expected usize at line 1",
                "found an object, expected a whole number at line 1",
            ),
            (
                "invalid type: string \"x\", expected struct Feature",
                "found the text \"x\", expected an object",
            ),
            ("invalid value: sequence, expected f64", "found a list, expected a number"),
            ("expected u8x", "expected u8x"),
            ("key must be a string at line 1", "key must be a string at line 1"),
        ] {
            assert_eq!(in_plain_words(said), plain);
        }
    }
}
