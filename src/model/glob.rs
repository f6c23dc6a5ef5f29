//! Names by a pattern in which `*` stands for any text, also for none.

/// The texts that the stars of `pattern` stand for in `text`; none where it does not match.
///
/// Each star but the last stands for as little as it can, so that a name is gone through once.
pub fn stars<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let Some((first, rest)) = pattern.split_once('*') else {
        return (pattern == text).then(Vec::new);
    };
    let mut left = text.strip_prefix(first)?;
    let mut stars = Vec::new();
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            stars.push(left.strip_suffix(part)?);
            break;
        }
        let at = left.find(part)?;
        stars.push(&left[..at]);
        left = &left[at + part.len()..];
    }
    Some(stars)
}

/// Whether `pattern` matches `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    stars(pattern, text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", Some(&[][..])),
            ("a", "ab", None),
            ("", "", Some(&[])),
            ("*", "", Some(&[""])),
            ("*", "a.b", Some(&["a.b"])),
            ("a.*", "a.b.c", Some(&["b.c"])),
            ("*.weight", "a.weight.weight", Some(&["a.weight"])),
            ("*.*.c", "a.b.c.c", Some(&["a", "b.c"])),
            ("a*a", "a", None),
            ("*ü*", "für", Some(&["f", "r"])),
            ("**", "ab", Some(&["", "ab"])),
        ] {
            assert_eq!(stars(pattern, text).as_deref(), expected, "{pattern} {text}");
        }
    }
}
