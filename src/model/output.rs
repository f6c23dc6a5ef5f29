//! From what the last layer gives to a probability.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::narrow;
use crate::settings::{Entry, SettingError, Table, Value};

/// What the last layer gives, or the output of a graph that says the score; the weights cannot tell, because
/// a sigmoid has no parameters.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// One number, already a probability in `[0, 1]`.
    Probability,
    /// One number; one sigmoid makes it a probability.
    Logit,
    /// The input once more, as an autoencoder does: with `error` the mean of the squared differences
    /// to the normalised input, the probability is `1 / (1 + exp(-(error - midpoint) / scale))`.
    Reconstruction {
        /// The error that is as likely an anomaly as not.
        midpoint: f64,
        /// How far the error must grow for the odds of an anomaly to grow by a factor of e; more than 0.
        scale: f64,
    },
    /// One number that means more or less of an anomaly, on a scale of its own: the probability is
    /// `1 / (1 + exp(-(x - midpoint) / scale))`, or with the sign turned where a high number is normal, as of
    /// scikit-learn's `decision_function`.
    Score {
        /// Whether a high number means an anomaly.
        higher_is_anomalous: bool,
        /// The number that is as likely an anomaly as not.
        midpoint: f64,
        /// How far the number must go for the odds of an anomaly to grow by a factor of e; more than 0.
        scale: f64,
    },
    /// The probabilities of several classes, of which one is that of an anomaly.
    Class {
        /// Its place among them, from 0.
        index: usize,
    },
    /// A class, by its number or word: the probability is 1 for that of an anomaly, 0 for others.
    Label {
        /// The class of an anomaly.
        anomaly: Label,
    },
}

/// A class, as a model's output names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Label {
    /// By a number, such as -1 for an outlier of scikit-learn's.
    Number(i64),
    /// By a word.
    Word(String),
}

/// The words for outputs that need a member of the same name.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    Reconstruction,
    Score,
    Class,
    Label,
}

impl Needs {
    const MEMBERS: [(&str, Self); 4] = [
        ("reconstruction", Self::Reconstruction),
        ("score", Self::Score),
        ("class", Self::Class),
        ("label", Self::Label),
    ];

    /// What the member has.
    fn members(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reconstruction => "midpoint and scale",
            Self::Score => "higher_is_anomalous, midpoint and scale",
            Self::Class => "index",
            Self::Label => "anomaly",
        }
    }
}

impl Output {
    /// Reads the key `output` of `table`, and the one that the word there may need.
    pub(crate) fn read(table: &mut Table<'_>) -> Result<Self, SettingError> {
        let plain = [("probability", Needs::Nothing), ("logit", Needs::Nothing)];
        let words: Vec<_> = plain.into_iter().chain(Needs::MEMBERS).collect();
        let found = table.find("output");
        let needs = found.as_ref().map(|entry| entry.choice(&words)).transpose()?;
        let needs = table.required("output", needs)?;
        let word = found.as_ref().map_or(Ok(""), Entry::text)?;
        let mut member = None;
        for (name, _) in Needs::MEMBERS {
            let entry = table.find(name);
            if name == word {
                member = entry;
            } else if let Some(entry) = entry {
                return Err(entry.invalid(format!("only an output \"{name}\" has a use for it")));
            }
        }
        let Some(entry) = member else {
            return match (needs, word) {
                (Needs::Nothing, "logit") => Ok(Self::Logit),
                (Needs::Nothing, _) => Ok(Self::Probability),
                _ => {
                    let problem = format!("\"{word}\" needs a member {word} with {}", needs.members());
                    Err(table.invalid("output", problem))
                }
            };
        };
        match needs {
            Needs::Reconstruction | Needs::Nothing => read_reconstruction(&entry),
            Needs::Score => read_score(&entry),
            Needs::Class => read_class(&entry),
            Needs::Label => read_label(&entry),
        }
    }

    /// Whether an output of `numbers` numbers, of a model of `inputs` features, can be this.
    pub(crate) fn check_numbers(&self, numbers: usize, inputs: usize) -> Result<(), String> {
        let expected = match self {
            Self::Class { index } if numbers > *index => return Ok(()),
            Self::Class { index } => format!("more than {index}, the place of the class"),
            Self::Reconstruction { .. } if numbers == inputs => return Ok(()),
            Self::Reconstruction { .. } => format!("{inputs}, the inputs once more"),
            _ if numbers == 1 => return Ok(()),
            _ => "1 number, or an output \"class\" with its place".to_owned(),
        };
        Err(format!("it gives {numbers} numbers for a row, expected {expected}"))
    }

    /// Which number of the output is the score.
    pub(crate) fn place(&self) -> usize {
        match self {
            Self::Class { index } => *index,
            _ => 0,
        }
    }

    /// The probability that `value`, the last layer's only number, means; NaN where it means none.
    pub(crate) fn probability(&self, value: f32) -> f32 {
        match *self {
            Self::Logit if value.is_finite() => 1.0 / (1.0 + (-value).exp()),
            Self::Probability | Self::Class { .. } if (0.0..=1.0).contains(&value) => value,
            Self::Score { higher_is_anomalous, midpoint, scale } if value.is_finite() => {
                let distance = (f64::from(value) - midpoint) / scale;
                let distance = if higher_is_anomalous { distance } else { -distance };
                (1.0 / (1.0 + (-distance).exp())) as f32
            }
            _ => f32::NAN,
        }
    }
}

/// What a number is that should be a probability, and what to do.
pub(crate) fn outside(found: f32) -> String {
    format!(
        "the model's output is {found}, outside [0, 1]: is it a logit? Then its config.json should say \"output\": \"logit\", in \
         place of \"probability\""
    )
}

fn read_reconstruction(entry: &Entry<'_>) -> Result<Output, SettingError> {
    let mut table = entry.table()?;
    let (midpoint, scale) = (table.find("midpoint"), table.find("scale"));
    table.refuse_others()?;
    let midpoint = wide(table.required("midpoint", midpoint)?, "0 or more", |midpoint| midpoint >= 0.0)?;
    let scale = wide(table.required("scale", scale)?, "more than 0 in f32", |scale| scale > 0.0)?;
    Ok(Output::Reconstruction { midpoint, scale })
}

fn read_score(entry: &Entry<'_>) -> Result<Output, SettingError> {
    let mut table = entry.table()?;
    let higher = table.find_flag("higher_is_anomalous")?;
    let (midpoint, scale) = (table.find("midpoint"), table.find("scale"));
    table.refuse_others()?;
    let higher_is_anomalous = table.required("higher_is_anomalous", higher)?;
    let midpoint = wide(table.required("midpoint", midpoint)?, "a number", |_| true)?;
    let scale = wide(table.required("scale", scale)?, "more than 0 in f32", |scale| scale > 0.0)?;
    Ok(Output::Score { higher_is_anomalous, midpoint, scale })
}

fn read_class(entry: &Entry<'_>) -> Result<Output, SettingError> {
    let mut table = entry.table()?;
    let index = table.find_number("index", ..)?;
    table.refuse_others()?;
    Ok(Output::Class { index: table.required("index", index)? })
}

fn read_label(entry: &Entry<'_>) -> Result<Output, SettingError> {
    let mut table = entry.table()?;
    let anomaly = table.find("anomaly");
    table.refuse_others()?;
    let anomaly = table.required("anomaly", anomaly)?;
    let anomaly = match anomaly.setting().value {
        Value::Text(_) => Label::Word(anomaly.text()?.to_owned()),
        _ => Label::Number(anomaly.number(..).map_err(|_| anomaly.wrong("a whole number or a word"))?),
    };
    Ok(Output::Label { anomaly })
}

/// A number that f32 could hold, in the precision of the error, which is computed in f64.
fn wide(entry: Entry<'_>, expected: &str, holds: fn(f32) -> bool) -> Result<f64, SettingError> {
    narrow::number(&entry, expected, holds)?;
    entry.number(..)
}

/// The probability that an `output` that should be `input` once more is of an anomaly; NaN where the error is
/// not finite.
pub fn of_reconstruction(input: &[f32], output: &[f32], midpoint: f64, scale: f64) -> f32 {
    let error = mean_squared_error(input, output);
    if error.is_finite() { (1.0 / (1.0 + (-(error - midpoint) / scale).exp())) as f32 } else { f32::NAN }
}

fn mean_squared_error(x: &[f32], y: &[f32]) -> f64 {
    /// Sums side by side, for the processor's vectors.
    const SUMS: usize = 16;
    let mut sums = [0.0f32; SUMS];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<SUMS>(), y.as_chunks::<SUMS>());
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += (x - y) * (x - y);
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y));
    // The sixteen are added in f64: what is left of rounding is within each, a sixteenth of the numbers long.
    let sum: f64 = sums.into_iter().chain(rest).map(f64::from).sum();
    sum / x.len() as f64
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probability => f.write_str("probability"),
            Self::Logit => f.write_str("logit"),
            Self::Reconstruction { midpoint, scale } => {
                write!(f, "reconstruction (midpoint {midpoint}, scale {scale})")
            }
            Self::Score { higher_is_anomalous, midpoint, scale } => {
                let sense = if *higher_is_anomalous { "higher" } else { "lower" };
                write!(f, "score ({sense} is anomalous, midpoint {midpoint}, scale {scale})")
            }
            Self::Class { index } => write!(f, "probability of class {index}"),
            Self::Label { anomaly: Label::Number(number) } => write!(f, "label ({number} is an anomaly)"),
            Self::Label { anomaly: Label::Word(word) } => write!(f, "label ({word} is an anomaly)"),
        }
    }
}

/// As in `config.json`: the word, and its numbers at a key of that name.
impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Calibration {
            #[serde(skip_serializing_if = "Option::is_none")]
            higher_is_anomalous: Option<bool>,
            midpoint: f64,
            scale: f64,
        }
        #[derive(Serialize)]
        struct Class {
            index: usize,
        }
        #[derive(Serialize)]
        struct Anomaly<'a> {
            anomaly: &'a Label,
        }
        let mut map = serializer.serialize_map(None)?;
        let word = match self {
            Self::Probability => "probability",
            Self::Logit => "logit",
            Self::Reconstruction { .. } => "reconstruction",
            Self::Score { .. } => "score",
            Self::Class { .. } => "class",
            Self::Label { .. } => "label",
        };
        map.serialize_entry("output", word)?;
        match self {
            Self::Probability | Self::Logit => {}
            &Self::Reconstruction { midpoint, scale } => {
                map.serialize_entry(word, &Calibration { higher_is_anomalous: None, midpoint, scale })?;
            }
            &Self::Score { higher_is_anomalous, midpoint, scale } => {
                let higher_is_anomalous = Some(higher_is_anomalous);
                map.serialize_entry(word, &Calibration { higher_is_anomalous, midpoint, scale })?;
            }
            Self::Class { index } => map.serialize_entry(word, &Class { index: *index })?,
            Self::Label { anomaly } => map.serialize_entry(word, &Anomaly { anomaly })?,
        }
        map.end()
    }
}
