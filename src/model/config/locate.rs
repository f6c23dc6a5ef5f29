//! Finds the line on which a key of a JSON text stands, so that an error can name it.

use std::collections::HashMap;

use serde_json::value::RawValue;

/// The line, from 1, of the value at `path` such as `layers[2].in`; of its nearest
/// ancestor when it is absent.
pub(super) fn line_of(text: &str, path: &str) -> usize {
    let Ok(mut value) = serde_json::from_str::<&RawValue>(text) else { return 1 };
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        let next = match step.strip_suffix(']') {
            Some(index) => element(value, index),
            None => member(value, step),
        };
        match next {
            Some(inner) => value = inner,
            None => break,
        }
    }
    // Both are parts of one text, so that the difference of their addresses is where the value starts in it.
    let offset = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

fn member<'a>(value: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    serde_json::from_str::<HashMap<String, &RawValue>>(value.get()).ok()?.remove(key)
}

fn element<'a>(value: &'a RawValue, index: &str) -> Option<&'a RawValue> {
    serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(index.parse::<usize>().ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn the_line_of_a_nested_value_is_found() {
        let text = "{\n \"a\": 1,\n \"b\": [\n  {\"c\": 2},\n  {\n   \"d\": 3}\n ]\n}";
        assert_eq!(line_of(text, "a"), 2);
        assert_eq!(line_of(text, "b"), 3);
        assert_eq!(line_of(text, "b[0].c"), 4);
        assert_eq!(line_of(text, "b[1].d"), 6);
        assert_eq!(line_of(text, "b[1].missing"), 5, "an absent key is reported where its object starts");
        assert_eq!(line_of(text, ""), 1);
        assert_eq!(line_of("no json", "a"), 1);
    }
}
