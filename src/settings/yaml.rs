//! YAML as a tree of settings with their lines.
//!
//! Plain scalars are read by YAML 1.2's core schema, and `yes`, `no`, `on` and `off`
//! as true and false, as the replaced system's reader did. Anchors, aliases and tags
//! are refused: no scenario needs them, and aliases can make a small file enormous.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::tree::Entries;
use super::{DEPTH_MAX, Origin, Setting, SettingError, Value, too_deep};

/// The largest text that is read, in bytes.
pub const YAML_BYTES_MAX: usize = 1 << 20;

/// Reads one document, which `file` names in errors.
///
/// # Errors
/// [`SettingError`] with the line of what is no YAML, or is YAML that is not read.
pub fn parse(file: Option<&str>, text: &str) -> Result<Setting, SettingError> {
    let mut events = Events { parser: Parser::new_from_str(text), file: file.map(Arc::from) };
    if text.len() > YAML_BYTES_MAX {
        let problem = format!("the file is larger than the {YAML_BYTES_MAX} bytes that are read");
        return Err(events.error(1, problem));
    }
    let mut document = Setting { origin: events.origin(1), value: Value::Nothing };
    let mut documents = 0;
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => return Ok(document),
            (Event::DocumentStart(_), line) => {
                documents += 1;
                if documents > 1 {
                    return Err(events.error(line, "a second document begins here, and only one is read"));
                }
                let first = events.next()?;
                document = events.value(first, 0)?;
            }
            _ => {}
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: Option<Arc<str>>,
}

impl<'a> Events<'a> {
    /// The next event and its line.
    fn next(&mut self) -> Result<(Event<'a>, usize), SettingError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(scan)) => {
                Err(self.error(scan.marker().line(), format!("this is no YAML: {}", scan.info())))
            }
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// The value that begins with an event.
    fn value(&mut self, (event, line): (Event<'a>, usize), depth: usize) -> Result<Setting, SettingError> {
        if depth > DEPTH_MAX {
            return Err(too_deep(self.origin(line)));
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style),
            Event::SequenceStart(0, None) => self.list(depth)?,
            Event::MappingStart(0, None) => self.table(depth)?,
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                return Err(self.error(line, format!("found the tag {tag}; tags are not read")));
            }
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(self.error(line, "anchors (&) and aliases (*) are not read: write the value out"));
            }
            _ => Value::Nothing,
        };
        Ok(Setting { origin: self.origin(line), value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, SettingError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::List(items)),
                first => items.push(self.value(first, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value, SettingError> {
        let mut entries = Entries::default();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => return Ok(entries.into_value()),
                (Event::Scalar(name, _, 0, None), line) => (name.into_owned(), line),
                (_, line) => return Err(self.error(line, "found a key that is no plain text")),
            };
            let first = self.next()?;
            // A key's line is where it stands itself, which is above a list or a table.
            let setting = Setting { origin: self.origin(line), ..self.value(first, depth + 1)? };
            entries.add(name, line, setting).map_err(|error| self.error(line, error))?;
        }
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::Line { file: self.file.clone(), line }
    }

    fn error(&self, line: usize, problem: impl Into<String>) -> SettingError {
        SettingError::new(self.origin(line), "", problem)
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Nothing,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Flag(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Flag(false);
        }
        _ => {}
    }
    let radix =
        |prefix, radix| text.strip_prefix(prefix).and_then(|digits| i128::from_str_radix(digits, radix).ok());
    let is_numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if let Some(whole) = text.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)) {
        Value::Whole(whole)
    } else if let Some(number) =
        text.parse().ok().filter(|_| is_numeric && !text.ends_with(char::is_alphabetic))
    {
        Value::Number(number)
    } else {
        Value::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        parse(None, text).unwrap().value
    }

    fn item(text: &str) -> Value {
        let Value::List(mut items) = value(&format!("- {text}")) else { panic!("a list") };
        items.remove(0).value
    }

    #[test]
    fn scalars_are_read_by_the_core_schema() {
        assert_eq!(["1", "-7", "0x10", "0o17"].map(item), [1, -7, 16, 15].map(Value::Whole));
        assert_eq!(["1.5", "1e3", ".5", "-2."].map(item), [1.5, 1e3, 0.5, -2.0].map(Value::Number));
        let texts = ["a b", "\"7\"", "'yes'", "1.2.3", "12abc", "inf", "nan", "10:30", "../x"];
        let expected = ["a b", "7", "yes", "1.2.3", "12abc", "inf", "nan", "10:30", "../x"];
        assert_eq!(texts.map(item), expected.map(|text| Value::Text(text.to_owned())));
        assert_eq!(
            ["yes", "off", "~", "null"].map(item),
            [Value::Flag(true), Value::Flag(false), Value::Nothing, Value::Nothing]
        );
        assert_eq!((value(""), value("# nothing\n")), (Value::Nothing, Value::Nothing));
    }

    #[test]
    fn lists_and_tables_know_their_lines() {
        let Value::Table(entries) = value("a:\n  - b: 1\n    c: 2\n\nd: {e: [3]}\n") else {
            panic!("a table")
        };
        assert_eq!((entries[0].1.origin.line(), entries[1].1.origin.line()), (Some(1), Some(5)));
        let Value::List(items) = &entries[0].1.value else { panic!("a list") };
        let Value::Table(inner) = &items[0].value else { panic!("a table") };
        assert_eq!(
            (inner[0].1.origin.line(), inner[1].1.origin.line(), &inner[1].1.value),
            (Some(2), Some(3), &Value::Whole(2))
        );
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_line() {
        let refused = |text: &str, line: usize, part: &str| {
            let error = parse(None, text).unwrap_err();
            assert!(error.line() == Some(line) && error.to_string().contains(part), "{error}");
        };
        refused("a: 1\na: 2\n", 2, "is there already, on line 1");
        refused("a: &x 1\nb: *x\n", 1, "anchors");
        refused("a: !!str 1\n", 1, "tags are not read");
        refused("a: 1\n---\nb: 2\n", 2, "second document");
        refused("a: [1, 2\n", 2, "no YAML");
        refused("a: 1\n b: 2\n", 2, "no YAML");
        refused(&("[".repeat(40) + &"]".repeat(40)), 1, "nested more than 32");
        refused(&"[".repeat(100_000), 1, "no YAML");
        refused(&"x".repeat(YAML_BYTES_MAX + 1), 1, "larger");
    }
}
