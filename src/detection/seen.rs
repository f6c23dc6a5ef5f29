//! What is said of a row, and the numbers that stand for it in a prediction.

use super::CONTRIBUTIONS;

/// What a device is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Too little was seen of it.
    #[default]
    Learning,
    /// Nothing is wrong as far as anybody knows.
    Normal,
    /// Something is.
    Alarm,
    /// The machine stands still, or the row has a value that is no number: it was not judged, and all is as
    /// it was before.
    Stopped,
}

/// What is said of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    /// From 0 to 1; 0.5 is the threshold in force.
    pub score: f32,
    /// How probable it is that a normal row is as unusual as this one, or more so.
    pub tail_probability: f32,
    /// `-ln` of it, which still tells rows apart whose probability is 0 as a number.
    pub surprisal: f32,
    /// Whether that is beyond what was seen, and so extrapolated.
    pub is_extrapolated: bool,
    /// The tail probability at and below which a row counts.
    pub threshold: f32,
    /// What the device is in, this row included.
    pub state: State,
    /// Whether its alarm began with this row.
    pub begins: bool,
    /// The features that contributed most and their shares, the largest first; a share of 0 is none. Named
    /// for rows in an alarm, and ones that come near the threshold.
    pub contributions: [(u16, f32); CONTRIBUTIONS],
}

/// What a state is added to in a prediction's numbers.
const EXTRAPOLATED: f32 = 4.0;
const BEGINS: f32 = 8.0;

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Learning, Self::Normal, Self::Alarm, Self::Stopped];

    /// The word for it, on the wire and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Normal => "normal",
            Self::Alarm => "alarm",
            Self::Stopped => "stopped",
        }
    }
}

impl Seen {
    /// How many numbers of a prediction stand for it.
    pub const NUMBERS: usize = 5 + 2 * CONTRIBUTIONS;

    /// Those numbers: score, tail probability, surprisal, threshold, state, and each contribution's feature
    /// and share.
    pub fn numbers(&self) -> [f32; Self::NUMBERS] {
        let mut numbers = [0.0; Self::NUMBERS];
        let state = State::ALL.iter().position(|state| *state == self.state).unwrap_or_default() as f32;
        let marks = f32::from(u8::from(self.is_extrapolated)) * EXTRAPOLATED
            + f32::from(u8::from(self.begins)) * BEGINS;
        let Self { score, tail_probability, surprisal, threshold, .. } = *self;
        numbers[..5].copy_from_slice(&[score, tail_probability, surprisal, threshold, state + marks]);
        for (pair, (feature, share)) in numbers[5..].chunks_exact_mut(2).zip(self.contributions) {
            pair.copy_from_slice(&[f32::from(feature), share]);
        }
        numbers
    }

    /// What such numbers stand for; `None` for those of a prediction that is no detection.
    pub fn of_numbers(numbers: &[f32]) -> Option<Self> {
        let numbers: &[f32; Self::NUMBERS] = numbers.try_into().ok()?;
        let marks = numbers[4] as u8;
        let mut seen = Self {
            score: numbers[0],
            tail_probability: numbers[1],
            surprisal: numbers[2],
            threshold: numbers[3],
            state: *State::ALL.get(usize::from(marks & 3))?,
            is_extrapolated: marks & EXTRAPOLATED as u8 != 0,
            begins: marks & BEGINS as u8 != 0,
            ..Self::default()
        };
        for (into, pair) in seen.contributions.iter_mut().zip(numbers[5..].chunks_exact(2)) {
            *into = (pair[0] as u16, pair[1]);
        }
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_row_survives_as_numbers() {
        for state in State::ALL {
            for (is_extrapolated, begins) in [(false, false), (true, false), (false, true), (true, true)] {
                let seen = Seen {
                    score: 0.75,
                    tail_probability: 1e-9,
                    surprisal: 20.7,
                    is_extrapolated,
                    threshold: 1e-4,
                    state,
                    begins,
                    contributions: [(65_535, 0.5), (1, 0.25), (0, 0.125)],
                };
                assert_eq!(Seen::of_numbers(&seen.numbers()), Some(seen));
            }
        }
        assert_eq!(Seen::of_numbers(&[0.5]), None);
    }
}
