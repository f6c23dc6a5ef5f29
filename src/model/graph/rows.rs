//! Whose each number is: along which axis of a value the rows of a batch lie.
//!
//! A plan for several rows is used only if it is certain that no row's numbers meet another's, and that
//! nothing of an answer depends on how many rows there are. Where that cannot be told, rows are run one by
//! one, which is always right.

mod rules;

use super::tensor::{Data, Tensor, each_kind};

pub use self::rules::after;

/// How the rows of a batch lie in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// It is the same whatever the rows are, and however many.
    Same,
    /// Along `axis`, `each` places a row, row after row.
    Axis { axis: usize, each: usize },
    /// It is the same whatever the rows are, but depends on how many there are: a shape.
    Counted,
    /// That cannot be told, or they have met.
    Mixed,
}

/// How a constant that was computed for `rows` rows compares with `single`, what it is for one.
pub fn of_constant(constant: &Tensor, single: Option<&Tensor>, rows: usize) -> Rows {
    let Some(single) = single else { return Rows::Counted };
    if constant == single {
        return Rows::Same;
    }
    let (many, one) = (&constant.shape, &single.shape);
    if many.len() != one.len() || constant.data.kind() != single.data.kind() {
        return Rows::Counted;
    }
    let mut differ = (0..many.len()).filter(|&axis| many[axis] != one[axis]);
    let (Some(axis), None) = (differ.next(), differ.next()) else { return Rows::Counted };
    if many[axis] != one[axis] * rows || !repeats(&constant.data, &single.data, many, one, axis) {
        return Rows::Counted;
    }
    Rows::Axis { axis, each: one[axis] }
}

/// Whether `many` is `one` again and again along `axis`.
fn repeats(many: &Data, one: &Data, many_shape: &[usize], one_shape: &[usize], axis: usize) -> bool {
    fn of<T: PartialEq>(many: &[T], one: &[T], block: usize, single: usize) -> bool {
        block > 0
            && single > 0
            && many
                .chunks(block)
                .zip(one.chunks(single))
                .all(|(many, one)| many.chunks(single).all(|part| part == one))
    }
    let inner = |shape: &[usize]| shape[axis..].iter().product();
    let (block, single): (usize, usize) = (inner(many_shape), inner(one_shape));
    each_kind!(many, many => match super::tensor::Element::of(one) {
        Some(one) => of(many, one, block, single),
        None => false,
    })
}

/// How rows lie in a value that has the elements of another in another shape.
///
/// A row's numbers are a block of `each` times what is behind its axis, and blocks of all rows follow each
/// other: an axis of the new shape must begin and end where they do.
pub fn after_view(from: &[usize], axis: usize, each: usize, to: &[usize], rows: usize) -> Rows {
    let row: usize = each * from[axis + 1..].iter().product::<usize>();
    let all = row * rows;
    let mut behind = 1;
    for at in (0..to.len()).rev() {
        if to[at] * behind == all && behind > 0 && row.is_multiple_of(behind) {
            return Rows::Axis { axis: at, each: row / behind };
        }
        behind *= to[at];
    }
    Rows::Mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_rows_apart_where_an_axis_is_theirs() {
        let lie = |axis, each| Rows::Axis { axis, each };
        for (from, axis, each, to, expected) in [
            (&[4, 6][..], 0, 1, &[4, 2, 3][..], lie(0, 1)),
            (&[4, 2, 3], 0, 1, &[8, 3], lie(0, 2)),
            (&[8, 3], 0, 2, &[4, 6], lie(0, 1)),
            (&[8, 3], 0, 2, &[24], lie(0, 6)),
            (&[5, 4, 3], 1, 1, &[5, 4, 1, 3], lie(1, 1)),
            (&[5, 4, 3], 1, 1, &[20, 3], Rows::Mixed),
            (&[4, 6], 0, 1, &[6, 4], Rows::Mixed),
            (&[4, 6], 0, 1, &[3, 8], Rows::Mixed),
            (&[4, 6], 0, 1, &[1, 4, 6], lie(1, 1)),
            (&[4], 0, 1, &[4, 1], lie(0, 1)),
        ] {
            assert_eq!(after_view(from, axis, each, to, 4), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn a_constant_is_compared_with_what_it_is_for_one_row() {
        let floats = |shape: &[usize], values: &[f32]| Tensor::new(shape, values.to_vec());
        let one = floats(&[1, 1, 2], &[1.0, 2.0]);
        let many = floats(&[1, 3, 2], &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(of_constant(&one, Some(&one), 3), Rows::Same);
        assert_eq!(of_constant(&many, Some(&one), 3), Rows::Axis { axis: 1, each: 1 });
        let numbered = floats(&[1, 3, 2], &[1.0, 2.0, 1.0, 3.0, 1.0, 2.0]);
        assert_eq!(of_constant(&numbered, Some(&one), 3), Rows::Counted);
        assert_eq!(of_constant(&floats(&[1], &[3.0]), Some(&floats(&[1], &[1.0])), 3), Rows::Counted);
        assert_eq!(of_constant(&one, None, 3), Rows::Counted);
    }
}
