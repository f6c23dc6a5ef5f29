//! A model's inputs, and the columns that hold them by their names.

use std::path::Path;

use csv::StringRecord;

use super::error::{RecordingError, Suggestion};

/// One of a model's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name, which is a column's too.
    pub name: String,
    /// The unit in which the model takes it; a column may have it in brackets behind its name.
    pub unit: Option<String>,
    /// The column that holds it, where that has another name.
    pub column: Option<String>,
}

impl Input {
    /// An input in the column of its name.
    pub fn named(name: impl Into<String>, unit: Option<&str>) -> Self {
        Self { name: name.into(), unit: unit.map(str::to_owned), column: None }
    }

    /// Whether `column` holds it by its name; with a unit behind that, only in the right one.
    pub fn is_in(&self, column: &str) -> bool {
        let (name, unit) = name_and_unit(column);
        column == self.name || (name == self.name && self.unit_is(unit))
    }

    fn unit_is(&self, found: Option<&str>) -> bool {
        match (found, self.unit.as_deref()) {
            (None, _) | (_, None) => true,
            (Some(found), Some(expected)) => found == expected.trim(),
        }
    }
}

/// A column's name, and the unit in brackets behind it: `vib_x` and `g` of `vib_x [g]`.
pub fn name_and_unit(column: &str) -> (&str, Option<&str>) {
    let column = column.trim();
    for (open, close) in [('[', ']'), ('(', ')')] {
        let split = column.strip_suffix(close).and_then(|rest| rest.rsplit_once(open));
        if let Some((name, unit)) = split
            && !name.trim().is_empty()
        {
            return (name.trim_end(), Some(unit.trim()));
        }
    }
    (column, None)
}

/// The place of each of `inputs` in `header`.
pub fn places(inputs: &[Input], header: &StringRecord, path: &Path) -> Result<Vec<usize>, RecordingError> {
    inputs.iter().map(|input| place(input, inputs, header, path)).collect()
}

fn place(
    input: &Input,
    inputs: &[Input],
    header: &StringRecord,
    path: &Path,
) -> Result<usize, RecordingError> {
    if let Some(column) = &input.column {
        return super::columns::find(column, header, path);
    }
    let find = |is_it: &dyn Fn(&str) -> bool| {
        let places = header.iter().enumerate().filter(|(_, column)| is_it(column));
        places.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let mut found = find(&|column| column == input.name);
    if found.is_empty() {
        found = find(&|column| name_and_unit(column).0 == input.name);
    }
    let path = path.to_owned();
    match found[..] {
        [] => {
            // What holds another input is not what was meant by this one.
            let free = header.iter().filter(|column| !inputs.iter().any(|other| other.is_in(column)));
            let suggestion = Suggestion::of(&input.name, free, header);
            Err(RecordingError::UnknownInput { path, input: input.name.clone(), suggestion })
        }
        [place] => {
            let (_, unit) = name_and_unit(&header[place]);
            if header[place] == input.name || input.unit_is(unit) {
                return Ok(place);
            }
            let expected = input.unit.clone().unwrap_or_default();
            Err(RecordingError::Unit { path, column: header[place].to_owned(), expected })
        }
        [first, second, ..] => {
            let column = input.name.clone();
            Err(RecordingError::Ambiguous { path, column, first: first + 1, second: second + 1 })
        }
    }
}
