//! JSON as a tree of settings with their lines.
//!
//! Values are slices of the text ([`RawValue`]), so that their lines are known. Each level of nesting is read
//! once more for itself; the depth that is read is bounded, and so is the work.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lines::Lines;
use super::tree::Entries;
use super::{DEPTH_MAX, Setting, SettingError, Value, too_deep};
use crate::text;

/// Reads a text, which `file` names in errors.
///
/// # Errors
/// [`SettingError`] with the line of what is no JSON, or is JSON that no setting is.
pub fn parse(file: Option<&str>, text: &str) -> Result<Setting, SettingError> {
    let lines = Lines::of(text, file);
    let root = serde_json::from_str::<&RawValue>(text)
        .map_err(|error| SettingError::new(lines.origin(error.line().max(1)), "", no_json(&error)))?;
    Reader { text, lines }.setting(root, 0)
}

fn no_json(error: &serde_json::Error) -> String {
    format!("this is no JSON: {}", text::in_plain_words(&error.to_string()))
}

struct Reader<'a> {
    text: &'a str,
    lines: Lines,
}

impl<'a> Reader<'a> {
    fn setting(&self, raw: &'a RawValue, depth: usize) -> Result<Setting, SettingError> {
        let line = self.line(raw.get());
        let origin = self.lines.origin(line);
        if depth > DEPTH_MAX {
            return Err(too_deep(origin));
        }
        let value = match raw.get().as_bytes().first() {
            Some(b'{') => self.table(self.read(raw)?, depth)?,
            Some(b'[') => {
                let items = self.read::<Vec<&RawValue>>(raw)?.into_iter();
                Value::List(items.map(|item| self.setting(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Text(self.read(raw)?),
            Some(b't' | b'f') => Value::Flag(self.read(raw)?),
            Some(b'n') => Value::Nothing,
            _ => match raw.get().parse() {
                Ok(whole) => Value::Whole(whole),
                Err(_) => Value::Number(self.number(raw)?),
            },
        };
        Ok(Setting { origin, value })
    }

    fn table(&self, Members(members): Members<'a>, depth: usize) -> Result<Value, SettingError> {
        let mut entries = Entries::default();
        for (name, raw) in members {
            let setting = self.setting(raw, depth + 1)?;
            let line = self.line(raw.get());
            let origin = self.lines.origin(line);
            entries.add(name, line, setting).map_err(|problem| SettingError::new(origin, "", problem))?;
        }
        Ok(entries.into_value())
    }

    /// The nearest number to what is written: serde_json's may be the next but one, unless it is built to be
    /// slower everywhere, and what was written as the shortest text for a number would read as another one.
    fn number(&self, raw: &'a RawValue) -> Result<f64, SettingError> {
        match raw.get().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => self.read(raw),
        }
    }

    fn read<T: Deserialize<'a>>(&self, raw: &'a RawValue) -> Result<T, SettingError> {
        serde_json::from_str(raw.get())
            .map_err(|error| SettingError::new(self.lines.origin(self.line(raw.get())), "", no_json(&error)))
    }

    /// The line of a part of the text.
    fn line(&self, part: &str) -> usize {
        // Both are parts of one text, so that the difference of their addresses is where
        // the part starts in it.
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.lines.line(offset)
    }
}

/// The members of an object in their order, those that come twice included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Ordered).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_order_with_their_lines() {
        let text = "{\n \"b\": 1,\n \"a\": [\n  {\"c\": 2.5},\n  {\n   \"d\": \"\\u00e4\"}\n ],\n \"n\": null, \"t\": true}";
        let tree = parse(None, text).unwrap();
        let Value::Table(entries) = &tree.value else { panic!("a table") };
        let found: Vec<_> = entries.iter().map(|(name, at)| (name.as_str(), at.origin.line())).collect();
        assert_eq!(found, [("b", Some(2)), ("a", Some(3)), ("n", Some(8)), ("t", Some(8))]);
        let Value::List(items) = &entries[1].1.value else { panic!("a list") };
        assert_eq!(items[0].get("c").unwrap().value, Value::Number(2.5));
        let umlaut = items[1].get("d").unwrap();
        assert_eq!((&umlaut.value, umlaut.origin.line()), (&Value::Text("ä".to_owned()), Some(6)));
        assert_eq!((&entries[2].1.value, &entries[3].1.value), (&Value::Nothing, &Value::Flag(true)));
        assert_eq!(parse(None, "6.987698908492948e-39").unwrap().value, Value::Number(6.987698908492948e-39));
        assert_eq!(parse(None, &u64::MAX.to_string()).unwrap().value, Value::Whole(u64::MAX.into()));
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_line() {
        for (text, line, part) in [
            ("{\n\"a\": 1,\n\"a\": 2}", 3, "is there already, on line 2"),
            ("{\"a\": 1,\n}", 2, "this is no JSON: "),
            ("", 1, "this is no JSON: "),
            ("{} x", 1, "this is no JSON: "),
            ("[1,\n1e999]", 2, "number out of range"),
            ("[\n\"\\ud800\"]", 2, "this is no JSON: "),
        ] {
            let error = parse(None, text).unwrap_err();
            assert_eq!(error.line(), Some(line), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let deep = "[".repeat(50) + &"]".repeat(50);
        assert!(parse(None, &deep).unwrap_err().to_string().contains("nested more than 32"));
        assert!(parse(None, &"[".repeat(200_000)).unwrap_err().to_string().contains("no JSON"));
        assert!(parse(None, &("[".repeat(200_000) + &"]".repeat(200_000))).is_err());
    }
}
