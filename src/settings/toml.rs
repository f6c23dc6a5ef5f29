//! TOML as a tree of settings with their lines.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::lines::Lines;
use super::{DEPTH_MAX, Setting, SettingError, Value, too_deep};

/// Reads a text, which `file` names in errors.
///
/// # Errors
/// [`SettingError`] with the line of what is no TOML, or is TOML that no setting is.
pub fn parse(file: Option<&str>, text: &str) -> Result<Setting, SettingError> {
    let lines = Lines::of(text, file);
    let root = DeTable::parse(text).map_err(|error| {
        let line = lines.line(error.span().map_or(0, |span| span.start));
        let message = error.message().trim().replace('\n', ", ");
        SettingError::new(lines.origin(line), "", format!("this is no TOML: {message}"))
    })?;
    let value = table(root.get_ref(), "", 0, &lines)?;
    Ok(Setting { origin: lines.origin(1), value })
}

fn table(entries: &DeTable<'_>, path: &str, depth: usize, lines: &Lines) -> Result<Value, SettingError> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name = String::from(AsRef::<str>::as_ref(key.get_ref()));
        let line = lines.line(key.span().start);
        let setting = setting(value.get_ref(), line, &super::entry::join(path, &name), depth, lines)?;
        Ok((name, setting))
    };
    entries.into_iter().map(entry).collect::<Result<_, _>>().map(Value::Table)
}

fn setting(
    value: &DeValue<'_>,
    line: usize,
    path: &str,
    depth: usize,
    lines: &Lines,
) -> Result<Setting, SettingError> {
    let origin = lines.origin(line);
    if depth > DEPTH_MAX {
        return Err(too_deep(origin));
    }
    let value = match value {
        DeValue::String(text) => Value::Text(text.as_ref().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Integer(whole) => match i128::from_str_radix(whole.as_str(), whole.radix()) {
            Ok(whole) => Value::Whole(whole),
            Err(_) => return Err(SettingError::wrong(origin, path, whole.as_str(), "a smaller number")),
        },
        DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(date) => {
            let expected = "something else: no setting is a date; write it in quotes where it is a name";
            return Err(SettingError::wrong(origin, path, date.to_string(), expected));
        }
        DeValue::Array(items) => {
            let item = |(at, item): (usize, &Spanned<DeValue<'_>>)| {
                let (line, path) = (lines.line(item.span().start), format!("{path}[{at}]"));
                setting(item.get_ref(), line, &path, depth + 1, lines)
            };
            Value::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        DeValue::Table(entries) => table(entries, path, depth + 1, lines)?,
    };
    Ok(Setting { origin, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_the_order_of_the_file_with_their_lines() {
        let tree =
            parse(None, "b = 1\na = [\n  2.5,\n  \"x\"]\n[[t]]\nk = true\n[[t]]\n[u.v]\nw = 0x10\n").unwrap();
        let Value::Table(entries) = &tree.value else { panic!("a table") };
        let found: Vec<_> = entries.iter().map(|(name, at)| (name.as_str(), at.origin.line())).collect();
        assert_eq!(found, [("b", Some(1)), ("a", Some(2)), ("t", Some(5)), ("u", Some(8))]);
        let lines = |setting: &Setting| {
            let Value::List(items) = &setting.value else { panic!("a list") };
            items.iter().map(|item| item.origin.line()).collect::<Vec<_>>()
        };
        assert_eq!(lines(&entries[1].1), [Some(3), Some(4)]);
        assert_eq!(lines(&entries[2].1), [Some(5), Some(7)]);
        let hexadecimal = tree.get("u").and_then(|u| u.get("v")?.get("w")).unwrap();
        assert_eq!((&hexadecimal.value, hexadecimal.origin.line()), (&Value::Whole(16), Some(9)));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for (text, expected) in [
            ("a = 1\nb = = 2\n", "f.toml, line 2: this is no TOML: "),
            ("a = 1\na = 2\n", "f.toml, line 2: this is no TOML: "),
            ("[a]\nb = 1979-05-27\n", "f.toml, line 2, key `a.b`: found 1979-05-27, expected something else"),
        ] {
            let error = parse(Some("f.toml"), text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let deep = format!("a = {}1{}", "[".repeat(50), "]".repeat(50));
        assert!(parse(None, &deep).unwrap_err().to_string().contains("nested more than 32"));
    }
}
