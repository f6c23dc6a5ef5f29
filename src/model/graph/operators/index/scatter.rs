//! `ScatterElements` and `ScatterND`: a copy with other elements at places that indices name.

use std::marker::PhantomData;
use std::sync::Arc;

use super::gather::{Tuples, beside};
use super::{Indices, expect_indices};
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::number::each_element;
use crate::model::graph::operators::walk::{Walk, around};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

/// What is done with what is at a place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Replace,
    Add,
    Multiply,
    Max,
    Min,
}

trait Joined: Element {
    fn join(&mut self, other: &Self, join: Join);
}

macro_rules! joined {
    ($($type:ty: |$a:ident, $b:ident| $sum:expr, $product:expr;)+) => {
        $(impl Joined for $type {
            fn join(&mut self, $b: &Self, join: Join) {
                let ($a, $b) = (*self, *$b);
                *self = match join {
                    Join::Replace => $b,
                    Join::Add => $sum,
                    Join::Multiply => $product,
                    // Of what is not a number the result is none either: only then neither is larger.
                    Join::Max if $a >= $b => $a,
                    Join::Min if $a <= $b => $a,
                    Join::Max | Join::Min if $a != $a => $a,
                    Join::Max | Join::Min => $b,
                };
            }
        })+
    };
}

joined! {
    f32: |a, b| a + b, a * b;
    f64: |a, b| a + b, a * b;
    i64: |a, b| a.wrapping_add(b), a.wrapping_mul(b);
    i32: |a, b| a.wrapping_add(b), a.wrapping_mul(b);
    i8: |a, b| a.wrapping_add(b), a.wrapping_mul(b);
    u8: |a, b| a.wrapping_add(b), a.wrapping_mul(b);
    bool: |a, b| a | b, a & b;
}

impl Joined for Arc<str> {
    fn join(&mut self, other: &Self, _: Join) {
        self.clone_from(other);
    }
}

/// The kind of data and of what is written, which must be the same, and how they are joined.
fn joins(context: &Context<'_>) -> Result<(Kind, Join), Problem> {
    expect_indices(context, 1)?;
    let (kind, updates) = (context.kind(0)?, context.kind(2)?);
    if kind != updates {
        return Err(Problem(format!(
            "its inputs 0 and 2 are {kind} and {updates}, expected the same for both"
        )));
    }
    let choices = [
        ("none", Join::Replace),
        ("add", Join::Add),
        ("mul", Join::Multiply),
        ("max", Join::Max),
        ("min", Join::Min),
    ];
    let join = context.choice("reduction", &choices)?;
    if join != Join::Replace && matches!(kind, Kind::Bool | Kind::Text) {
        return Err(Problem(format!("its input 0 is {kind}, expected numbers where reduction is not none")));
    }
    Ok((kind, join))
}

pub fn scatter_elements(context: &Context<'_>) -> Result<Built, Problem> {
    let (kind, join) = joins(context)?;
    let (data, indices, updates) = (context.shape(0)?, context.shape(1)?, context.shape(2)?);
    let at = axis(context.int_or("axis", 0)?, data.len())?;
    if indices != updates {
        return Err(Problem(format!(
            "its indices have the shape {indices:?} and its updates {updates:?}, expected the same"
        )));
    }
    let walk = beside(data, indices, at)?;
    let (_, size, inner) = around(data, at);
    super::check_known(context, 1, size)?;
    built(context, kind, Where::Axis { walk, size, inner }, join)
}

pub fn scatter_nd(context: &Context<'_>) -> Result<Built, Problem> {
    let (kind, join) = joins(context)?;
    let (data, indices, updates) = (context.shape(0)?, context.shape(1)?, context.shape(2)?);
    let tuples = Tuples::new(data, indices, 0)?;
    tuples.check_known(context)?;
    let (width, outer) = indices.split_last().ok_or("its indices have no axes, expected 1 or more")?;
    let expected = [outer, &data[*width..]].concat();
    if updates != expected {
        return Err(Problem(format!("its updates have the shape {updates:?}, expected {expected:?}")));
    }
    built(context, kind, Where::Tuples(tuples), join)
}

fn built(context: &Context<'_>, kind: Kind, places: Where, join: Join) -> Result<Built, Problem> {
    let output: TensorType = context.tensor_type(0)?.clone();
    Ok(each_element!(
        kind,
        T => Built::kernel(output, Scatter::<T> { places, join, of: PhantomData })
    ))
}

enum Where {
    Axis { walk: Walk, size: usize, inner: usize },
    Tuples(Tuples),
}

struct Scatter<T> {
    places: Where,
    join: Join,
    of: PhantomData<T>,
}

impl<T: Joined> Kernel for Scatter<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, indices, updates) =
            (inputs.values::<T>(0)?, Indices::of(inputs, 1)?, inputs.values::<T>(2)?);
        let (to, join) = (output::<T>(outputs, 0)?, self.join);
        to.clone_from_slice(from);
        match &mut self.places {
            Where::Axis { walk, size, inner } => {
                let (mut at, mut fault) = (0, None);
                walk.each(0, |beside| {
                    match indices.place(at, *size) {
                        Ok(place) => to[beside + place * *inner].join(&updates[at], join),
                        Err(wrong) => fault = fault.take().or(Some(wrong)),
                    }
                    at += 1;
                });
                fault.map_or(Ok(()), Err)
            }
            Where::Tuples(tuples) => tuples.each(indices, |tuple, at| {
                let updates = &updates[tuple * tuples.block..][..tuples.block];
                for (to, update) in to[at..].iter_mut().zip(updates) {
                    to.join(update, join);
                }
            }),
        }
    }
}
