//! What is judged: rows of a device with what was said of them, and the truth.

/// A device, or a file, with its rows in the order in which they were answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub device: String,
    /// Its rows, those of the warm-up too.
    pub rows: Vec<Judged>,
}

impl Series {
    /// Whether an alarm began with a row: an alarm after a row without one did, whether that was said or not;
    /// one after a stop may be that which was on before.
    pub(crate) fn begins(&self, number: usize) -> bool {
        let before = number.checked_sub(1).map(|before| self.rows[before].state);
        let follows_quiet = matches!(before, None | Some(State::Normal | State::Learning));
        let row = &self.rows[number];
        row.state == State::Alarm && (row.begins || follows_quiet)
    }
}

/// A row with what was said of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Microseconds on the device's own clock, where it says so.
    pub at_us: Option<i64>,
    /// How unusual it is, on any scale, higher for what is less normal; surprisal is a good one. What is not
    /// a number counts as the least unusual of all.
    pub score: f64,
    /// The threshold in force, on the same scale, for the drawing.
    pub threshold: Option<f64>,
    /// What the device is in, this row included.
    pub state: State,
    /// Whether its alarm began with this row.
    pub begins: bool,
    /// Whether something was wrong; nothing where nobody knows.
    pub truth: Option<bool>,
}

/// What was said of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Too little was seen of it: such rows count nowhere.
    #[default]
    Learning,
    /// Nothing is wrong.
    Normal,
    /// Something is.
    Alarm,
    /// The machine does not run: such rows count as quiet.
    Stopped,
}
