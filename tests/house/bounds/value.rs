//! What a bound is worth: as an expression in the code, and as a quantity in a sentence.

/// A number, with its unit where that is time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Number(f64),
    Seconds(f64),
}

impl Value {
    /// The value of something of that name, which may end with a unit.
    pub fn named(self, name: &str) -> Self {
        match self {
            Self::Number(number) if name.ends_with("_s") => Self::Seconds(number),
            Self::Number(number) if name.contains("_KIB_") => Self::Number(number * 1_024.0),
            value => value,
        }
    }
}

/// Every quantity in `text`: "64 KiB and 10 s" has two.
pub fn quantities(text: &str) -> Vec<Value> {
    let is_of_a_number = |c: char| c.is_ascii_digit() || ",.".contains(c);
    let mut words = text.split_whitespace().map(|word| word.trim_start_matches('(')).peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let end = word.find(|c| !is_of_a_number(c)).unwrap_or(word.len());
        let Ok(number) = word[..end].trim_end_matches([',', '.']).replace(',', "").parse::<f64>() else {
            continue;
        };
        // Behind a comma there is no unit of what stands before it.
        let unit = words.peek().filter(|_| word.ends_with(|last: char| last.is_ascii_digit()));
        found.push(match unit.map_or("", |unit| unit.trim_end_matches([',', ';', ':', '.', ')'])) {
            "KiB" => Value::Number(number * 1_024.0),
            "MiB" => Value::Number(number * 1_024.0 * 1_024.0),
            "GiB" => Value::Number(number * 1_024.0 * 1_024.0 * 1_024.0),
            "ms" => Value::Seconds(number / 1_000.0),
            "s" => Value::Seconds(number),
            _ => Value::Number(number),
        });
    }
    found
}

/// What `expression` is worth, where it is of literals and of constants that `constant` knows.
pub fn evaluate(expression: &str, constant: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    let mut reader = Reader { rest: expression, constant };
    let value = reader.shifted()?;
    reader.rest.trim().is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    constant: &'a dyn Fn(&str) -> Option<Value>,
}

impl<'a> Reader<'a> {
    fn shifted(&mut self) -> Option<Value> {
        let value = self.sum()?;
        if !self.takes("<<") {
            return Some(value);
        }
        let (number, by) = (number(value)?, number(self.sum()?)?);
        Some(Value::Number(number * by.exp2()))
    }

    fn sum(&mut self) -> Option<Value> {
        let mut value = self.product()?;
        while self.takes("+") {
            value = Value::Number(number(value)? + number(self.product()?)?);
        }
        Some(value)
    }

    fn product(&mut self) -> Option<Value> {
        let mut value = self.term()?;
        while self.takes("*") {
            value = Value::Number(number(value)? * number(self.term()?)?);
        }
        Some(value)
    }

    fn term(&mut self) -> Option<Value> {
        let word = self.word();
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            return word.replace('_', "").parse().ok().map(Value::Number);
        }
        match word {
            "u16::MAX" => Some(Value::Number(f64::from(u16::MAX))),
            "u32::MAX" => Some(Value::Number(f64::from(u32::MAX))),
            "Some" => self.argument(),
            "Duration::from_secs" => Some(Value::Seconds(number(self.argument()?)?)),
            "Duration::from_millis" => Some(Value::Seconds(number(self.argument()?)? / 1_000.0)),
            _ => match word.strip_suffix(".as_secs") {
                Some(duration) if self.takes("()") => match (self.constant)(duration)? {
                    Value::Seconds(seconds) => Some(Value::Number(seconds)),
                    Value::Number(_) => None,
                },
                _ => (self.constant)(word),
            },
        }
    }

    /// What stands in the parentheses of a call.
    fn argument(&mut self) -> Option<Value> {
        let argument = self.takes("(").then(|| self.shifted())??;
        self.takes(")").then_some(argument)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A number, a name or a path.
    fn word(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && !"_:.".contains(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }
}

/// The value, where it is a number without a unit.
fn number(value: Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(number),
        Value::Seconds(_) => None,
    }
}

#[test]
fn expressions_and_sentences_say_the_same() {
    let constant = |name: &str| (name == "DELAY_MAX").then_some(Value::Seconds(60.0));
    for (expression, sentence) in [
        ("65_536", "65,536 requests"),
        ("4 << 20", "at most (4 MiB)"),
        ("16 * 1_024", "16 KiB, or more"),
        ("Duration::from_millis(1_500)", "1.5 s"),
        ("Some(Duration::from_secs(10))", "10 s."),
        ("Duration::from_secs(2 * DELAY_MAX.as_secs() + 10)", "130 s"),
        ("DELAY_MAX", "60 s"),
        ("u16::MAX", "65,535"),
    ] {
        assert_eq!(evaluate(expression, &constant), Some(quantities(sentence)[0]), "{expression}");
    }
    for unknown in ["", "None", "OTHER", "1 +", "half(3)", "Duration::from_secs(DELAY_MAX)", "usize"] {
        assert_eq!(evaluate(unknown, &constant), None, "{unknown}");
    }
    assert_eq!(quantities("4, s and 2 of 3"), [4.0, 2.0, 3.0].map(Value::Number));
    assert_eq!(Value::Number(30.0).named("keep_alive_s"), Value::Seconds(30.0));
}
