//! `Resize` and `Upsample`: axes with more places or fewer, by the nearest place or along straight lines.

mod place;

use self::place::{Coordinate, Nearest, Place};
use super::Operator;
use super::elementwise::unexpected;
use super::number::Real;
use super::walk::strides;
use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::tensor::{Data, Kind, TensorType, elements};

pub const OPERATORS: &[Operator] =
    &[Operator::onnx("Resize", 10, 2..=4, resize), Operator::onnx("Upsample", 7, 1..=2, upsample)];

/// The most axes whose places lie between others.
const AXES_MAX: usize = 3;

/// What becomes of one axis.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f32,
}

fn resize(context: &Context<'_>) -> Result<Built, Problem> {
    if context.opset() < 11 {
        if context.inputs() > 2 {
            return Err(format!("it has {} inputs, expected 2 before version 11", context.inputs()).into());
        }
        return scaled(context, 1, Coordinate::Asymmetric, Nearest::Simple);
    }
    context.ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value"]);
    if context.flag("antialias", false)? {
        return Err("its attribute antialias is 1, expected 0".into());
    }
    context.choice("keep_aspect_ratio_policy", &[("stretch", ())])?;
    let coordinates = [
        ("half_pixel", Coordinate::HalfPixel),
        ("pytorch_half_pixel", Coordinate::HalfPixelOrFirst),
        ("half_pixel_symmetric", Coordinate::HalfPixelSymmetric),
        ("align_corners", Coordinate::Corners),
        ("asymmetric", Coordinate::Asymmetric),
    ];
    let coordinate = context.choice("coordinate_transformation_mode", &coordinates)?;
    let nearest = [
        ("round_prefer_floor", Nearest::RoundDown),
        ("round_prefer_ceil", Nearest::RoundUp),
        ("floor", Nearest::Floor),
        ("ceil", Nearest::Ceil),
    ];
    let nearest = context.choice("nearest_mode", &nearest)?;
    // An input without elements is how exporters leave it out.
    let is_given =
        |at: usize| context.has(at) && context.shape(at).is_ok_and(|shape| elements(shape) != Some(0));
    match (is_given(2), is_given(3)) {
        (true, false) => scaled(context, 2, coordinate, nearest),
        (false, true) => sized(context, coordinate, nearest),
        _ => Err("it has both scales and sizes, or neither, expected one of them".into()),
    }
}

fn upsample(context: &Context<'_>) -> Result<Built, Problem> {
    if context.opset() >= 10 {
        return Err("it exists up to version 9 only, in favour of Resize".into());
    }
    if context.opset() >= 9 {
        return scaled(context, 1, Coordinate::Asymmetric, Nearest::Simple);
    }
    let scales = context.floats("scales")?.ok_or("its attribute scales is missing, expected numbers")?;
    let axes = all_scaled(context, scales)?;
    build(context, &axes, Coordinate::Asymmetric, Nearest::Simple)
}

/// The axes that are named, or all.
fn named(context: &Context<'_>) -> Result<Vec<usize>, Problem> {
    let rank = context.shape(0)?.len();
    match context.ints("axes")? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect(),
        None => Ok((0..rank).collect()),
    }
}

fn scaled(
    context: &Context<'_>,
    at: usize,
    coordinate: Coordinate,
    nearest: Nearest,
) -> Result<Built, Problem> {
    let scales = context.known_values::<f32>(at, "scales")?;
    let axes = all_scaled(context, scales)?;
    build(context, &axes, coordinate, nearest)
}

fn all_scaled(context: &Context<'_>, scales: &[f32]) -> Result<Vec<Axis>, Problem> {
    let mut axes = unchanged(context.shape(0)?);
    let named = named(context)?;
    expect_one_each("scales", scales.len(), named.len())?;
    for (&at, &scale) in named.iter().zip(scales) {
        let axis = &mut axes[at];
        let to = (axis.from as f32 * scale).floor();
        // 2^32: a plan could not hold as many.
        if !(scale > 0.0 && to < 4_294_967_296.0) {
            return Err(Problem(format!("it scales axis {at}, of {} places, by {scale}", axis.from)));
        }
        *axis = Axis { to: to as usize, scale, ..*axis };
    }
    Ok(axes)
}

fn sized(context: &Context<'_>, coordinate: Coordinate, nearest: Nearest) -> Result<Built, Problem> {
    let sizes = context.known_ints(3, "sizes")?;
    let mut axes = unchanged(context.shape(0)?);
    let named = named(context)?;
    expect_one_each("sizes", sizes.len(), named.len())?;
    for (&at, &to) in named.iter().zip(&sizes) {
        let from = axes[at].from;
        let to = size(to, "size")?;
        axes[at] = Axis { from, to, scale: to as f32 / from as f32 };
    }
    build(context, &axes, coordinate, nearest)
}

fn unchanged(shape: &[usize]) -> Vec<Axis> {
    shape.iter().map(|&size| Axis { from: size, to: size, scale: 1.0 }).collect()
}

fn expect_one_each(what: &str, found: usize, axes: usize) -> Result<(), Problem> {
    if found == axes {
        return Ok(());
    }
    Err(Problem(format!("it has {found} {what}, expected {axes}, one for each axis")))
}

fn build(
    context: &Context<'_>,
    axes: &[Axis],
    coordinate: Coordinate,
    nearest: Nearest,
) -> Result<Built, Problem> {
    let is_linear = context.choice("mode", &[("nearest", false), ("linear", true), ("bilinear", true)])?;
    let input = context.tensor_type(0)?;
    let shape: Vec<_> = axes.iter().map(|axis| axis.to).collect();
    if elements(&input.shape) == Some(0) && elements(&shape) != Some(0) {
        return Err(Problem(format!("its input has the shape {:?}, expected elements", input.shape)));
    }
    if axes.iter().all(|axis| axis.scale == 1.0 && axis.from == axis.to) {
        return Ok(Built::View { of: 0, shape });
    }
    let changed = axes.iter().filter(|axis| axis.scale != 1.0).count();
    if is_linear && changed > AXES_MAX {
        return Err(Problem(format!("it changes {changed} axes along lines, expected {AXES_MAX} at most")));
    }
    let table = Table {
        axes: axes.to_vec(),
        coordinate,
        nearest: if is_linear { None } else { Some(nearest) },
        strides: strides(&input.shape).iter().map(|&stride| stride as usize).collect(),
        places: Vec::new(),
        counters: vec![0; axes.len()],
    };
    let output = TensorType::new(input.kind, shape);
    if is_linear {
        return match input.kind {
            Kind::F32 => Ok(Built::kernel(output, Lines::<f32>::new(table))),
            Kind::F64 => Ok(Built::kernel(output, Lines::<f64>::new(table))),
            _ => Err(unexpected(context, 0, "float32 or float64 where it goes along lines")),
        };
    }
    Ok(moving(output, Copies { table }))
}

/// Where the places of each axis of an output come from.
struct Table {
    axes: Vec<Axis>,
    coordinate: Coordinate,
    /// `None` for lines between places.
    nearest: Option<Nearest>,
    strides: Vec<usize>,
    /// Of each axis, made in the first run: how much that is has then been looked at.
    places: Vec<Vec<Place>>,
    counters: Vec<usize>,
}

impl Table {
    fn fill(&mut self) {
        if self.places.is_empty() {
            let axes = self.axes.iter().zip(&self.strides);
            let places = axes.map(|(axis, &stride)| {
                (0..axis.to).map(|at| Place::new(axis, self.coordinate, self.nearest, at, stride)).collect()
            });
            self.places = places.collect();
        }
        self.counters.fill(0);
    }

    /// Goes on to the next row of the output.
    fn next(&mut self) {
        let outer = self.axes.len().saturating_sub(1);
        for (axis, counter) in self.axes[..outer].iter().zip(&mut self.counters).rev() {
            *counter += 1;
            if *counter < axis.to {
                return;
            }
            *counter = 0;
        }
    }

    /// The places of the axes before the last one, in this row.
    fn outer(&self) -> impl Iterator<Item = &Place> {
        let outer = self.axes.len().saturating_sub(1);
        self.places[..outer].iter().zip(&self.counters).map(|(places, &at)| &places[at])
    }
}

struct Copies {
    table: Table,
}

impl Mover for Copies {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (input_bits::<T>(inputs, 0)?, output_bits::<T>(outputs, 0)?);
        self.table.fill();
        let Some(width) = self.table.axes.last().map(|axis| axis.to).filter(|width| *width > 0) else {
            return Ok(());
        };
        for row in to.chunks_exact_mut(width) {
            let start: usize = self.table.outer().map(|place| place.low).sum();
            if let Some(last) = self.table.places.last() {
                for (to, place) in row.iter_mut().zip(last) {
                    to.clone_from(&from[start + place.low]);
                }
            }
            self.table.next();
        }
        Ok(())
    }
}

struct Lines<T> {
    table: Table,
    /// The rows of the input that one of the output lies between, and how much each counts.
    corners: Vec<(usize, T)>,
}

impl<T: Real> Lines<T> {
    fn new(table: Table) -> Self {
        Self { table, corners: Vec::with_capacity(1 << AXES_MAX) }
    }
}

impl<T: Real> Kernel for Lines<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let Self { table, corners } = self;
        table.fill();
        let Some(width) = table.axes.last().map(|axis| axis.to).filter(|width| *width > 0) else {
            return Ok(());
        };
        for row in to.chunks_exact_mut(width) {
            corners.clear();
            corners.push((0, T::rounded(1.0)));
            for place in table.outer() {
                for at in 0..corners.len() {
                    let (start, part) = corners[at];
                    corners[at].0 = start + place.low;
                    if place.high_part > 0.0 {
                        let high = part.double() * f64::from(place.high_part);
                        corners[at].1 = T::rounded(part.double() - high);
                        corners.push((start + place.high, T::rounded(high)));
                    }
                }
            }
            if let Some(last) = table.places.last() {
                for (to, place) in row.iter_mut().zip(last) {
                    let high = f64::from(place.high_part);
                    let sum: f64 = corners
                        .iter()
                        .map(|(start, part)| {
                            let (a, b) =
                                (from[start + place.low].double(), from[start + place.high].double());
                            // What is not between two places is the first alone, whatever the second is.
                            part.double() * if high > 0.0 { a * (1.0 - high) + b * high } else { a }
                        })
                        .sum();
                    *to = T::rounded(sum);
                }
            }
            table.next();
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        let all = self.table.axes.iter().fold(1_u64, |all, axis| all.saturating_mul(axis.to as u64));
        Some(all.saturating_mul(1 << (AXES_MAX + 1)))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::graph::testing::One;

    #[test]
    fn an_axis_has_more_places_or_fewer() {
        let one = |mode: &str, coordinate: &str, count: i64| {
            let one = One::new("Resize", 13).input(&[1, 1, 4], vec![0_f32, 1.0, 2.0, 3.0]).absent().absent();
            let one = one.constant(&[3], vec![1_i64, 1, count]).text("mode", mode);
            one.text("coordinate_transformation_mode", coordinate).first::<f32>().unwrap().1
        };
        assert_eq!(one("nearest", "asymmetric", 8), [0., 0., 1., 1., 2., 2., 3., 3.]);
        assert_eq!(one("nearest", "half_pixel", 2), [0., 2.]);
        assert_eq!(one("linear", "half_pixel", 8), [0., 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.]);
        assert_eq!(one("linear", "align_corners", 7), [0., 0.5, 1., 1.5, 2., 2.5, 3.]);
        assert_eq!(one("linear", "pytorch_half_pixel", 1), [0.]);
        let old =
            One::new("Upsample", 9).input(&[1, 1, 2], vec![1_i64, 2]).constant(&[3], vec![1_f32, 1.0, 2.0]);
        assert_eq!(old.first::<i64>().unwrap(), (vec![1, 1, 4], vec![1, 1, 2, 2]));
        let plane = One::new("Resize", 10)
            .input(&[2, 2], vec![0_f32, 2.0, 4.0, 6.0])
            .constant(&[2], vec![2_f32, 2.0]);
        let found = plane.text("mode", "linear").first::<f32>().unwrap();
        assert_eq!(found.1, [0., 1., 2., 2., 2., 3., 4., 4., 4., 5., 6., 6., 4., 5., 6., 6.]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let one = || One::new("Resize", 13).input(&[1, 1, 4], vec![0_f32; 4]).absent();
        let cubic = one().constant(&[3], vec![1_f32, 1.0, 2.0]).text("mode", "cubic").run().unwrap_err();
        assert!(cubic.contains("\"cubic\""), "{cubic}");
        let much = one().constant(&[3], vec![1_f32, 1.0, 1e20]).run().unwrap_err();
        assert!(much.contains("100000000000000000000"), "{much}");
        assert!(one().constant(&[3], vec![1_f32, 1.0, f32::NAN]).run().is_err());
        let neither = one().constant::<f32>(&[0], Vec::new()).run().unwrap_err();
        assert!(neither.contains("or neither"), "{neither}");
    }
}
