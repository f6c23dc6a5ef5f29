//! Where a place of an output's axis lies in the input's.

use super::Axis;

/// How places are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinate {
    HalfPixel,
    /// The same, and the first place where there is one alone.
    HalfPixelOrFirst,
    HalfPixelSymmetric,
    Corners,
    Asymmetric,
}

/// Which place is the nearest to what lies between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    RoundDown,
    RoundUp,
    Floor,
    Ceil,
    /// As before version 11: upwards where there are fewer places, else downwards.
    Simple,
}

/// A place between two of the input.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where the elements of the two are.
    pub low: usize,
    pub high: usize,
    /// How much the second one counts, from 0 to 1.
    pub high_part: f32,
}

impl Place {
    pub fn new(
        axis: &Axis,
        coordinate: Coordinate,
        nearest: Option<Nearest>,
        at: usize,
        stride: usize,
    ) -> Self {
        let last = axis.from.saturating_sub(1);
        let x = position(axis, coordinate, at);
        if let Some(nearest) = nearest {
            let place = nearest.of(x, axis.scale < 1.0).clamp(0.0, last as f32) as usize;
            let place = place.min(last) * stride;
            return Self { low: place, high: place, high_part: 0.0 };
        }
        let x = x.clamp(0.0, last as f32);
        let low = (x as usize).min(last);
        let high = (low + 1).min(last);
        let high_part = if high > low { x - low as f32 } else { 0.0 };
        Self { low: low * stride, high: high * stride, high_part }
    }
}

/// In the arithmetic of f32, as ONNX Runtime has it: it decides which of two places is nearer.
fn position(axis: &Axis, coordinate: Coordinate, at: usize) -> f32 {
    let (x, from, to, scale) = (at as f32, axis.from as f32, axis.to as f32, axis.scale);
    if scale == 1.0 {
        return x;
    }
    match coordinate {
        Coordinate::HalfPixelOrFirst if axis.to <= 1 => 0.0,
        Coordinate::HalfPixel | Coordinate::HalfPixelOrFirst => (x + 0.5) / scale - 0.5,
        Coordinate::HalfPixelSymmetric => {
            let adjustment = to / (scale * from);
            from / 2.0 * (1.0 - adjustment) + (x + 0.5) / scale - 0.5
        }
        Coordinate::Corners if axis.to <= 1 => 0.0,
        Coordinate::Corners => x * (from - 1.0) / (to - 1.0),
        Coordinate::Asymmetric => x / scale,
    }
}

impl Nearest {
    fn of(self, x: f32, is_smaller: bool) -> f32 {
        match self {
            Self::RoundDown if x == x.trunc() + 0.5 => x.floor(),
            Self::RoundDown | Self::RoundUp => x.round(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Simple if is_smaller => x.ceil(),
            Self::Simple => x.trunc(),
        }
    }
}
