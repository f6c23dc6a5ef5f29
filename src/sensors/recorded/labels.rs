//! What a label says of a row: the truth, in whichever words.

/// Words for what is in order, and for what is not, in lower case.
const NORMAL: &[&str] = &["0", "0.0", "false", "no", "normal", "healthy", "sound", "good", "ok", "nominal"];
const ANOMALOUS: &[&str] = &[
    "1",
    "1.0",
    "true",
    "yes",
    "anomaly",
    "anomalous",
    "abnormal",
    "faulty",
    "fault",
    "failing",
    "failed",
    "failure",
    "bad",
    "broken",
    "defective",
    "damaged",
];

/// Which labels mean an anomaly: those that are named or, where none is, the model's own words and others
/// that are usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The labels that mean an anomaly; every other one means that there is none. Empty where nobody says so.
    pub anomalies: Vec<String>,
    /// The model's words for what is in order, and for what is not.
    pub model: Option<[String; 2]>,
}

/// A label that is none of the known words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownLabel;

impl Labels {
    /// What `label` says of its row; nothing where it is empty. Capitals do not matter.
    ///
    /// # Errors
    /// [`UnknownLabel`] where nothing says what it means.
    pub fn truth(&self, label: &str) -> Result<Option<bool>, UnknownLabel> {
        let label = label.trim();
        let is = |word: &str| word.trim().to_lowercase() == label.to_lowercase();
        if label.is_empty() {
            return Ok(None);
        }
        if !self.anomalies.is_empty() {
            return Ok(Some(self.anomalies.iter().any(|word| is(word))));
        }
        if let Some(own) = &self.model
            && let Some(at) = own.iter().position(|word| is(word))
        {
            return Ok(Some(at == 1));
        }
        match (NORMAL.iter().any(|word| is(word)), ANOMALOUS.iter().any(|word| is(word))) {
            (true, _) => Ok(Some(false)),
            (_, true) => Ok(Some(true)),
            _ => Err(UnknownLabel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_are_said_to_mean_then_what_the_model_means_then_what_is_usual() {
        let mut labels = Labels::default();
        let truths = |labels: &Labels| ["Faulty", "0", "", "outer"].map(|label| labels.truth(label));
        let unknown = Err(UnknownLabel);
        assert_eq!(truths(&labels), [Ok(Some(true)), Ok(Some(false)), Ok(None), unknown.clone()]);
        labels.model = Some(["faulty".to_owned(), "OUTER".to_owned()]);
        assert_eq!(truths(&labels), [Ok(Some(false)), Ok(Some(false)), Ok(None), Ok(Some(true))]);
        labels.anomalies = vec!["0".to_owned()];
        assert_eq!(truths(&labels), [Ok(Some(false)), Ok(Some(true)), Ok(None), Ok(Some(false))]);
    }
}
