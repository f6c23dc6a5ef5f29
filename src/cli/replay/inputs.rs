//! Which columns hold the model's inputs: found by name, or as `--features` says, and never in another order.

use anyhow::bail;

use crate::cli::Unusable;
use crate::config::ConfigError;
use crate::sensors::recorded::{Columns, Input, Recording};
use crate::suggestion;

/// What is known of the inputs of the model that will answer.
pub struct Inputs {
    /// The model's name.
    pub model: String,
    /// How many it has; `None` where it is not known which model answers.
    pub count: Option<usize>,
    /// The names by which columns are found; empty where there are none.
    pub named: Vec<Input>,
    /// The model says these names itself.
    pub are_its_own: bool,
}

impl Inputs {
    /// The columns that `--features`, or nobody, asks for.
    ///
    /// # Errors
    /// When it names inputs that the model does not have, or nothing says what the inputs are called.
    pub fn columns(&self, flag: Option<&str>) -> anyhow::Result<Columns> {
        match flag {
            Some(pairs) if pairs.contains('=') && !self.named.is_empty() => Ok(self.mapped(pairs)?),
            Some(columns) => Ok(Columns::parse(columns)),
            None if self.named.is_empty() => {
                bail!(Unusable("the model does not name its features: say --features".to_owned()))
            }
            None => Ok(Columns::inputs(self.named.clone())),
        }
    }

    /// `INPUT=COLUMN`, for those whose column has another name.
    fn mapped(&self, pairs: &str) -> Result<Columns, ConfigError> {
        let mut inputs = self.named.clone();
        for pair in pairs.split(',') {
            let Some((name, column)) = pair.split_once('=') else {
                return Err(wrong(format!("found {pair:?} among others with '=', expected INPUT=COLUMN")));
            };
            let (name, column) = (name.trim(), column.trim());
            let Some(input) = inputs.iter_mut().find(|input| input.name == name) else {
                let meant = suggestion::meant(name, self.named.iter().map(|input| input.name.as_str()));
                let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
                return Err(wrong(format!("model {:?} has no input {name:?}{meant}", self.model)));
            };
            if input.column.replace(column.to_owned()).is_some() {
                return Err(wrong(format!("input {name:?} is there twice")));
            }
        }
        Ok(Columns::inputs(inputs))
    }

    /// Checks the columns that `flag` names in an order against the order of the model.
    ///
    /// # Errors
    /// When there are more or fewer, or one stands where the model takes another, before anything is asked.
    pub fn check(&self, flag: Option<&str>, recording: &Recording) -> Result<(), ConfigError> {
        let Some(inputs) = self.count.filter(|_| flag.is_some()) else { return Ok(()) };
        let columns: Vec<_> = recording.feature_columns().collect();
        if columns.len() != inputs {
            let found = columns.len();
            let problem =
                format!("found {found} columns, expected {inputs}, as model {:?} has inputs", self.model);
            return Err(wrong(problem));
        }
        if !self.are_its_own || flag.is_some_and(|flag| flag.contains('=')) {
            return Ok(());
        }
        match self.named.iter().zip(&columns).find(|(input, column)| !input.is_in(column)) {
            Some((input, column)) => Err(wrong(self.misplaced(input, column, &columns, recording))),
            None => Ok(()),
        }
    }

    /// That `column` is not `input`, and what would fit.
    fn misplaced(&self, input: &Input, column: &str, columns: &[&str], recording: &Recording) -> String {
        let unit = input.unit.as_ref().map(|unit| format!(" [{unit}]")).unwrap_or_default();
        let wrong =
            format!("found column {column:?} where model {:?} takes {}{unit}", self.model, input.name);
        let own = |input: &Input| recording.header().iter().find(|column| input.is_in(column));
        let by_name: Vec<_> = self.named.iter().filter_map(own).collect();
        let as_given: Vec<_> = self.named.iter().zip(columns).collect();
        let pairs = |pairs: &[(&Input, &str)]| {
            let pairs = pairs.iter().map(|(input, column)| format!("{}={column}", input.name));
            pairs.collect::<Vec<_>>().join(",")
        };
        if by_name.len() == self.named.len() {
            return format!(
                "{wrong}; these fit by their names: --features {:?}, or none at all. Where the columns' names are \
                 wrong, say so: --features {:?}",
                by_name.join(","),
                pairs(&as_given.into_iter().map(|(input, column)| (input, *column)).collect::<Vec<_>>())
            );
        }
        // Those without a column of their name, in turn with the columns that are no input's.
        let nameless = self.named.iter().filter(|input| own(input).is_none());
        let free = columns.iter().filter(|column| !self.named.iter().any(|input| input.is_in(column)));
        let fit: Vec<_> = nameless.zip(free).map(|(input, column)| (input, *column)).collect();
        format!("{wrong}; if the columns hold that, say so: --features {:?}", pairs(&fit))
    }
}

fn wrong(problem: String) -> ConfigError {
    ConfigError::Override { origin: "--features".to_owned(), problem }
}
