//! `nearfar convert FILE.onnx DIRECTORY`: an ONNX file becomes a model's directory.

use std::io::{self, Write};
use std::path::Path;

use crate::cli::Unusable;
use crate::model::{ConvertedGraph, Label, OnnxOptions, Output, convert_onnx};

/// What an ONNX file does not say of the model in it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "For an ONNX file, whose TARGET is a directory")]
pub struct OnnxArgs {
    /// What its score means; without it that is found out, where the file leaves no doubt
    #[arg(long, value_name = "WORD", value_parser = ["probability", "logit", "score", "reconstruction", "class", "label"])]
    output: Option<String>,
    /// The score, or error of a reconstruction, that is as likely an anomaly as not
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    midpoint: Option<f64>,
    /// How far the score must go for the odds of an anomaly to grow by a factor of e
    #[arg(long, value_name = "NUMBER")]
    scale: Option<f64>,
    /// A low score is anomalous, as of scikit-learn's decision_function
    #[arg(long)]
    lower_is_anomalous: bool,
    /// The place of the anomaly among the classes, from 0
    #[arg(long, value_name = "PLACE")]
    class: Option<usize>,
    /// The label of an anomaly, a whole number or a word, such as -1
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    anomaly: Option<String>,
    /// The output that says the score
    #[arg(long, value_name = "NAME")]
    value: Option<String>,
    /// Another output whose numbers predictions are to carry; may be given again
    #[arg(long, value_name = "NAME")]
    also: Vec<String>,
    /// A prediction at or above it is an anomaly
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<f32>,
    /// The model's name; without it that of the file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl OnnxArgs {
    /// Converts, and prints what was written.
    pub fn run(&self, source: &Path, target: &Path, out: &mut impl Write) -> anyhow::Result<()> {
        let options = OnnxOptions {
            name: self.name.clone(),
            output: self.meaning()?,
            value: self.value.clone(),
            also: self.also.clone(),
            threshold: self.threshold,
        };
        let converted = convert_onnx(source, target, &options).map_err(super::status_of)?;
        super::output::written(print(&converted, source, out))
    }

    /// Whether a flag is given that only an ONNX file has a use for.
    pub fn given(&self) -> Option<&'static str> {
        [
            ("--output", self.output.is_some()),
            ("--midpoint", self.midpoint.is_some()),
            ("--scale", self.scale.is_some()),
            ("--lower-is-anomalous", self.lower_is_anomalous),
            ("--class", self.class.is_some()),
            ("--anomaly", self.anomaly.is_some()),
            ("--value", self.value.is_some()),
            ("--also", !self.also.is_empty()),
            ("--threshold", self.threshold.is_some()),
            ("--name", self.name.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }

    fn meaning(&self) -> anyhow::Result<Option<Output>> {
        let word = self.output.as_deref();
        let needs = |flag: &str, expected: &str| {
            anyhow::Error::from(Unusable(format!(
                "--output {} needs {flag}: {expected}",
                word.unwrap_or_default()
            )))
        };
        for (flag, given, words) in [
            ("--midpoint", self.midpoint.is_some(), &["score", "reconstruction"][..]),
            ("--scale", self.scale.is_some(), &["score", "reconstruction"]),
            ("--lower-is-anomalous", self.lower_is_anomalous, &["score"]),
            ("--class", self.class.is_some(), &["class"]),
            ("--anomaly", self.anomaly.is_some(), &["label"]),
        ] {
            if given && !word.is_some_and(|word| words.contains(&word)) {
                return Err(Unusable(format!("{flag} is for --output {} alone", words.join(" or "))).into());
            }
        }
        let calibration = || {
            let midpoint = self
                .midpoint
                .ok_or_else(|| needs("--midpoint", "the number that is as likely an anomaly as not"))?;
            let scale = self.scale.ok_or_else(|| {
                needs(
                    "--scale",
                    "how far the number must go for the odds of an anomaly to grow by a factor of e",
                )
            })?;
            anyhow::Ok((midpoint, scale))
        };
        Ok(match word {
            None => None,
            Some("probability") => Some(Output::Probability),
            Some("logit") => Some(Output::Logit),
            Some("score") => {
                let (midpoint, scale) = calibration()?;
                Some(Output::Score { higher_is_anomalous: !self.lower_is_anomalous, midpoint, scale })
            }
            Some("reconstruction") => {
                let (midpoint, scale) = calibration()?;
                Some(Output::Reconstruction { midpoint, scale })
            }
            Some("class") => {
                let index = self
                    .class
                    .ok_or_else(|| needs("--class", "the place of the anomaly among the classes, from 0"))?;
                Some(Output::Class { index })
            }
            Some(_) => {
                let label =
                    self.anomaly.clone().ok_or_else(|| needs("--anomaly", "the label of an anomaly"))?;
                let anomaly = label.parse().map_or(Label::Word(label), Label::Number);
                Some(Output::Label { anomaly })
            }
        })
    }
}

fn print(converted: &ConvertedGraph, source: &Path, out: &mut impl Write) -> io::Result<()> {
    let ConvertedGraph { config, tensors, files, nodes } = converted;
    writeln!(out, "{}: ONNX, {nodes} nodes, {} inputs", source.display(), config.inputs)?;
    let value =
        config.value.as_deref().map_or(String::new(), |value| format!(" \"{}\"", value.escape_debug()));
    writeln!(out, "output{value}: {}; anomaly from {}", config.output, config.threshold)?;
    writeln!(out, "{}: {} tensors", files[0].display(), tensors.len())?;
    writeln!(out, "{}", files[1].display())
}
