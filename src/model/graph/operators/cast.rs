//! `Cast` and `CastLike`: elements as another kind.
//!
//! Kinds that [`Kind`] has not are kept as one that holds them, in numbers that such a kind could have: half
//! precision as float32 that is rounded to it, small integers as int64 that are cut off to their size.
//! Numbers that do not fit become what x86 makes of them, as in ONNX Runtime.

mod text;

use std::sync::Arc;

use half::{bf16, f16};

use super::Operator;
use super::number::integer;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

pub const OPERATORS: &[Operator] =
    &[Operator::onnx("Cast", 1, 1..=1, cast), Operator::onnx("CastLike", 15, 2..=2, cast_like)];

/// What numbers of a kind that [`Kind`] has not are cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    Half,
    Brain,
    I16,
    U16,
    U32,
    U64,
}

/// The kinds of files, by their number and name.
const TARGETS: &[(i64, &str, (Kind, Cut))] = &[
    (1, "FLOAT", (Kind::F32, Cut::Nothing)),
    (2, "UINT8", (Kind::U8, Cut::Nothing)),
    (3, "INT8", (Kind::I8, Cut::Nothing)),
    (4, "UINT16", (Kind::I64, Cut::U16)),
    (5, "INT16", (Kind::I64, Cut::I16)),
    (6, "INT32", (Kind::I32, Cut::Nothing)),
    (7, "INT64", (Kind::I64, Cut::Nothing)),
    (8, "STRING", (Kind::Text, Cut::Nothing)),
    (9, "BOOL", (Kind::Bool, Cut::Nothing)),
    (10, "FLOAT16", (Kind::F32, Cut::Half)),
    (11, "DOUBLE", (Kind::F64, Cut::Nothing)),
    (12, "UINT32", (Kind::I64, Cut::U32)),
    (13, "UINT64", (Kind::I64, Cut::U64)),
    (16, "BFLOAT16", (Kind::F32, Cut::Brain)),
];

/// The kind that a file names by number, in an attribute of this name.
pub fn target(number: i64, attribute: &str) -> Result<(Kind, Cut), Problem> {
    let found = TARGETS.iter().find(|(known, ..)| *known == number).map(|(.., target)| *target);
    found.ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|(number, name, _)| format!("{number} ({name})")).collect();
        Problem(format!("its attribute {attribute} is {number}, expected one of {}", names.join(", ")))
    })
}

fn cast(context: &Context<'_>) -> Result<Built, Problem> {
    // They are about kinds of 8 bits and fewer with a point, which there are not here.
    context.ignore(&["saturate", "round_mode"]);
    let Some(to) = context.int("to")? else {
        return Err("its attribute to is missing, expected a kind of elements".into());
    };
    build(context, target(to, "to")?)
}

fn cast_like(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["saturate", "round_mode"]);
    build(context, (context.kind(1)?, Cut::Nothing))
}

fn build(context: &Context<'_>, (to, cut): (Kind, Cut)) -> Result<Built, Problem> {
    let (from, shape) = (context.kind(0)?, context.shape(0)?.to_vec());
    if from == to && cut == Cut::Nothing {
        return Ok(Built::View { of: 0, shape });
    }
    Ok(Built::kernel(TensorType::new(to, shape), Cast { to, cut }))
}

/// So many elements are made wider at a time.
const BLOCK: usize = 128;

struct Cast {
    to: Kind,
    cut: Cut,
}

impl Kernel for Cast {
    // Elements of small kinds are cast as those of the wide one that has all of them: a loop for each kind to
    // each other would be many.
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        match inputs.data(0)? {
            Data::F32(from) => self.widened(from, outputs, f64::from),
            Data::F64(from) => self.cast(from, outputs, 0),
            Data::I64(from) => self.cast(from, outputs, 0),
            Data::I32(from) => self.widened(from, outputs, i64::from),
            Data::I8(from) => self.widened(from, outputs, i64::from),
            Data::U8(from) => self.widened(from, outputs, i64::from),
            Data::Bool(from) => self.widened(from, outputs, i64::from),
            Data::Text(from) => self.cast(from, outputs, 0),
        }
    }
}

impl Cast {
    fn widened<T: Copy, W: Castable + Copy + Default>(
        &self,
        from: &[T],
        outputs: &mut [Data],
        widen: impl Fn(T) -> W,
    ) -> Result<(), Fault> {
        let mut wide = [W::default(); BLOCK];
        for (at, from) in from.chunks(BLOCK).enumerate() {
            let wide = &mut wide[..from.len()];
            wide.iter_mut().zip(from).for_each(|(wide, from)| *wide = widen(*from));
            self.cast(wide, outputs, at * BLOCK)?;
        }
        Ok(())
    }

    /// Writes `from` to the output, from place `start` on.
    #[inline(never)]
    fn cast<T: Castable>(&self, from: &[T], outputs: &mut [Data], start: usize) -> Result<(), Fault> {
        let to = (outputs, start);
        match (self.to, self.cut) {
            (Kind::F32, Cut::Half) => each(from, to, |x| Ok(f16::from_f64(x.real()?).to_f32())),
            (Kind::F32, Cut::Brain) => each(from, to, |x| Ok(bf16::from_f32(x.real()? as f32).to_f32())),
            (Kind::F32, _) => each(from, to, |x| Ok(x.real()? as f32)),
            (Kind::F64, _) => each(from, to, Castable::real),
            (Kind::I64, Cut::I16) => each(from, to, |x| Ok(i64::from(x.word()? as i16))),
            (Kind::I64, Cut::U16) => each(from, to, |x| Ok(i64::from(x.word()? as u16))),
            (Kind::I64, Cut::U32) => each(from, to, |x| Ok(i64::from(x.whole()? as u32))),
            (Kind::I64, Cut::U64) => each(from, to, |x| match x.whole()? {
                value @ 0.. => Ok(value),
                value => Err(Fault(format!("it would make uint64 of {value}, expected 0 to 2^63 - 1"))),
            }),
            (Kind::I64, _) => each(from, to, Castable::whole),
            (Kind::I32, _) => each(from, to, Castable::word),
            (Kind::I8, _) => each(from, to, |x| Ok(x.word()? as i8)),
            (Kind::U8, _) => each(from, to, |x| Ok(x.word()? as u8)),
            (Kind::Bool, _) => each(from, to, |x| Ok(x.real()? != 0.0)),
            (Kind::Text, _) => each(from, to, |x| Ok(x.text())),
        }
    }
}

#[inline(always)]
fn each<T, O: Element>(
    from: &[T],
    (outputs, start): (&mut [Data], usize),
    convert: impl Fn(&T) -> Result<O, Fault>,
) -> Result<(), Fault> {
    for (to, from) in output::<O>(outputs, 0)?[start..].iter_mut().zip(from) {
        *to = convert(from)?;
    }
    Ok(())
}

/// What an element of a wide kind is as a number, or a word.
trait Castable {
    fn real(&self) -> Result<f64, Fault>;
    /// With 64 bits.
    fn whole(&self) -> Result<i64, Fault>;
    /// With 32 bits, of which smaller kinds are made.
    fn word(&self) -> Result<i32, Fault>;
    fn text(&self) -> Arc<str>;
}

macro_rules! castable {
    ($type:ty, $self:ident => $real:expr, $whole:expr, $word:expr, $text:expr) => {
        impl Castable for $type {
            #[inline(always)]
            fn real(&$self) -> Result<f64, Fault> {
                $real
            }

            #[inline(always)]
            fn whole(&$self) -> Result<i64, Fault> {
                $whole
            }

            #[inline(always)]
            fn word(&$self) -> Result<i32, Fault> {
                $word
            }

            fn text(&$self) -> Arc<str> {
                $text
            }
        }
    };
}

/// As x86 converts to 32 bits: the smallest there is where it does not fit.
fn word(value: f64) -> i32 {
    i32::try_from(integer(value)).unwrap_or(i32::MIN)
}

castable!(f64, self => Ok(*self), Ok(integer(*self)), Ok(word(*self)), text::of_real(*self));
castable!(i64, self => Ok(*self as f64), Ok(*self), Ok(*self as i32), self.to_string().into());
castable!(Arc<str>, self => text::real(self), text::whole(self), Ok(text::whole(self)? as i32),
    Arc::clone(self));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::testing::One;

    #[test]
    fn numbers_that_do_not_fit_become_what_x86_makes_of_them() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let from = [nan, infinity, -infinity, 300.7, -1.5, 3e9, -3e9, 1e20, -0.4, 65536.9];
        let cast = |to| One::new("Cast", 13).input(&[10], from.to_vec()).int("to", to);
        let (low, lowest) = (i64::from(i32::MIN), i64::MIN);
        let found = cast(6).first::<i32>().unwrap().1.into_iter().map(i64::from).collect::<Vec<_>>();
        assert_eq!(found, [low, low, low, 300, -1, low, low, low, 0, 65536]);
        let found = cast(7).first::<i64>().unwrap().1;
        assert_eq!(found, [lowest, lowest, lowest, 300, -1, 3_000_000_000, -3_000_000_000, lowest, 0, 65536]);
        assert_eq!(cast(3).first::<i8>().unwrap().1, [0, 0, 0, 44, -1, 0, 0, 0, 0, 0]);
        assert_eq!(cast(2).first::<u8>().unwrap().1, [0, 0, 0, 44, 255, 0, 0, 0, 0, 0]);
        assert_eq!(cast(5).first::<i64>().unwrap().1, [0, 0, 0, 300, -1, 0, 0, 0, 0, 0]);
        assert_eq!(cast(4).first::<i64>().unwrap().1, [0, 0, 0, 300, 65535, 0, 0, 0, 0, 0]);
        assert_eq!(cast(9).first::<bool>().unwrap().1, [true; 10]);
        let half = cast(10).first::<f32>().unwrap().1;
        assert!(half[0].is_nan());
        assert_eq!(
            half[1..],
            [infinity, -infinity, 300.75, -1.5, infinity, -infinity, infinity, -0.399_902_34, infinity]
        );
        let (_, brain) =
            One::new("Cast", 13).input(&[2], vec![300.7_f32, 1.003]).int("to", 16).first::<f32>().unwrap();
        assert_eq!(brain, [300.0, 1.0]);
        let (_, cut) = One::new("Cast", 13)
            .input(&[3], vec![300_i64, -200, 1 << 40])
            .int("to", 3)
            .first::<i8>()
            .unwrap();
        assert_eq!(cut, [44, 56, 0]);
    }

    #[test]
    fn words_become_numbers_and_the_other_way() {
        let words = |words: &[&str]| words.iter().map(|word| Arc::from(*word)).collect::<Vec<Arc<str>>>();
        let (_, found) =
            One::new("Cast", 13).input(&[2], words(&["3.5", "-1e3"])).int("to", 1).first::<f32>().unwrap();
        assert_eq!(found, [3.5, -1000.0]);
        let fault = One::new("Cast", 13).input(&[1], words(&["ab"])).int("to", 7).run().unwrap_err();
        assert_eq!(fault, "found the word \"ab\", expected a number");
        let (_, found) =
            One::new("Cast", 13).input(&[2], vec![true, false]).int("to", 8).first::<Arc<str>>().unwrap();
        assert_eq!(found, words(&["1", "0"]));
        let (_, found) =
            One::new("Cast", 13).input(&[1], vec![-7_i32]).int("to", 8).first::<Arc<str>>().unwrap();
        assert_eq!(found, words(&["-7"]));
        let wrong = One::new("Cast", 13).input(&[1], vec![1_f32]).int("to", 17).run().unwrap_err();
        assert!(wrong.starts_with("its attribute to is 17, expected one of 1 (FLOAT)"), "{wrong}");
        let like = One::new("CastLike", 15).input(&[1], vec![1.5_f32]).input(&[], vec![0_i64]);
        assert_eq!(like.first::<i64>().unwrap().1, [1]);
    }
}
