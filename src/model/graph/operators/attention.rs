//! `Attention`: what queries find among keys, of values, for many heads at once.

use pulp::Arch;

use super::Operator;
use crate::model::graph::context::{Context, Problem, expect_rank, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::tensor::{Data, Kind, TensorType};
use crate::model::kernel::blocks::{Once, max, sum};
use crate::model::kernel::functions::{exp, tanh};
use crate::model::kernel::product::{Raw, Rows, Start, Weights, arrange, space};

pub const OPERATORS: &[Operator] = &[Operator::onnx("Attention", 23, 3..=6, build)];

const MASK: usize = 3;

/// Heads of queries, keys or values: `(batch, heads, length, width)`, or `(batch, length, heads width)`.
#[derive(Debug, Clone, Copy)]
struct Heads {
    batch: usize,
    heads: usize,
    length: usize,
    width: usize,
    is_joined: bool,
}

impl Heads {
    fn read(context: &Context<'_>, at: usize, heads: &str) -> Result<Self, Problem> {
        let kind = context.kind(at)?;
        if kind != Kind::F32 {
            return Err(Problem(format!("its input {at} is {kind}, expected float32")));
        }
        let shape = context.shape(at)?;
        expect_rank(shape, 3..=4, &format!("input {at}"))?;
        if let [batch, heads, length, width] = *shape {
            return Ok(Self { batch, heads, length, width, is_joined: false });
        }
        let count = size(context.int_or(heads, 0)?, "number of heads")?;
        if count == 0 || shape[2] % count != 0 {
            return Err(Problem(format!(
                "its input {at} has the shape {shape:?}, and its attribute {heads} is {count}"
            )));
        }
        Ok(Self { batch: shape[0], heads: count, length: shape[1], width: shape[2] / count, is_joined: true })
    }

    /// Where a head of a sample starts, and how far it is from one row of it to the next.
    fn place(&self, sample: usize, head: usize) -> (usize, usize) {
        if self.is_joined {
            let row = self.heads * self.width;
            (sample * self.length * row + head * self.width, row)
        } else {
            ((sample * self.heads + head) * self.length * self.width, self.width)
        }
    }

    fn shape(&self) -> Vec<usize> {
        if self.is_joined {
            vec![self.batch, self.length, self.heads.saturating_mul(self.width)]
        } else {
            vec![self.batch, self.heads, self.length, self.width]
        }
    }
}

fn build(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["softmax_precision", "qk_matmul_output_mode"]);
    if context.wants(3) {
        return Err("its fourth output, the products of queries and keys, is not supported".into());
    }
    let queries = Heads::read(context, 0, "q_num_heads")?;
    let keys = Heads::read(context, 1, "kv_num_heads")?;
    let values = Heads::read(context, 2, "kv_num_heads")?;
    context.ignore(&["q_num_heads", "kv_num_heads"]);
    let misfit = || {
        let shapes = [0, 1, 2].map(|at| context.shape(at).unwrap_or_default());
        Problem(format!("its queries, keys and values have the shapes {shapes:?}, which do not fit together"))
    };
    let fits = queries.batch == keys.batch
        && (keys.batch, keys.heads, keys.length) == (values.batch, values.heads, values.length)
        && queries.width == keys.width
        && keys.heads > 0
        && queries.heads % keys.heads == 0;
    if !fits {
        return Err(misfit());
    }
    let past = if context.has(4) { context.shape(4)?.get(2).copied().unwrap_or(0) } else { 0 };
    if context.has(4) != context.has(5) {
        return Err("it has one of past_key and past_value, expected both or none".into());
    }
    let joined =
        |heads: Heads| Heads { length: heads.length.saturating_add(past), is_joined: false, ..heads };
    let (all_keys, all_values) = (joined(keys), joined(values));
    for (at, heads) in [(4, keys), (5, values)] {
        let expected = [heads.batch, heads.heads, past, heads.width];
        if context.has(at) && (*context.shape(at)? != expected || context.kind(at)? != Kind::F32) {
            return Err(Problem(format!(
                "its input {at} is {}, expected float32 {expected:?}",
                context.tensor_type(at)?
            )));
        }
    }
    let total = all_keys.length;
    let mask = if context.has(MASK) { Some(Mask::new(context, &queries, total)?) } else { None };
    let is_causal = context.flag("is_causal", false)?;
    if is_causal && queries.length > 1 && mask.is_some_and(|mask| mask.strides[2] == 0) {
        // ONNX Runtime and ONNX's own reference give all queries what the first one may see.
        return Err(
            "it is causal, and its mask has one row for all queries, on which implementations do not agree"
                .into(),
        );
    }
    let scale = context.float("scale")?.unwrap_or_else(|| 1.0 / (queries.width as f32).sqrt());
    let answer = Heads { width: values.width, ..queries };
    let copies = context.has(4) || context.wants(1) || context.wants(2);
    let room = |depth: usize, outputs: usize| space(depth, outputs).unwrap_or(usize::MAX);
    let kept = |heads: Heads| if copies { heads.shape() } else { vec![0] };
    let shapes = [
        answer.shape(),
        kept(all_keys),
        kept(all_values),
        vec![room(queries.width, total).max(room(total, values.width))],
        vec![queries.length, total],
        vec![queries.length, values.width],
    ];
    let kernel = Attention {
        queries,
        keys,
        values,
        all: if copies { [all_keys, all_values] } else { [keys, values] },
        answer,
        past,
        copies,
        mask,
        is_causal,
        scale,
        cap: context.float_or("softcap", 0.0)?,
    };
    Ok(Built::Kernel {
        outputs: shapes.into_iter().map(|shape| TensorType::new(Kind::F32, shape)).collect(),
        kernel: Box::new(kernel),
    })
}

/// What is added to the products: where it is for a sample, a head, a query and a key.
#[derive(Debug, Clone, Copy)]
struct Mask {
    strides: [usize; 4],
    is_bool: bool,
}

impl Mask {
    fn new(context: &Context<'_>, queries: &Heads, total: usize) -> Result<Self, Problem> {
        let shape = context.shape(MASK)?;
        expect_rank(shape, 1..=4, "mask")?;
        let is_bool = match context.kind(MASK)? {
            Kind::Bool => true,
            Kind::F32 => false,
            kind => return Err(Problem(format!("its mask is {kind}, expected float32 or bool"))),
        };
        let whole = [queries.batch, queries.heads, queries.length, total];
        let (mut strides, mut stride) = ([0; 4], 1);
        for (at, &size) in shape.iter().enumerate().rev() {
            let axis = at + 4 - shape.len();
            if size != 1 && size != whole[axis] {
                return Err(Problem(format!(
                    "its mask has the shape {shape:?}, which does not broadcast to {whole:?}"
                )));
            }
            strides[axis] = if size == 1 { 0 } else { stride };
            stride *= size;
        }
        Ok(Self { strides, is_bool })
    }
}

struct Attention {
    queries: Heads,
    keys: Heads,
    values: Heads,
    /// Keys and values with those of the past.
    all: [Heads; 2],
    answer: Heads,
    past: usize,
    /// Whether keys and values are put together first.
    copies: bool,
    mask: Option<Mask>,
    is_causal: bool,
    scale: f32,
    cap: f32,
}

impl Kernel for Attention {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let [
            Data::F32(y),
            Data::F32(keys),
            Data::F32(values),
            Data::F32(panels),
            Data::F32(scores),
            Data::F32(part),
        ] = outputs
        else {
            return Err(Fault("its outputs are not float32".into()));
        };
        let arch = Arch::new();
        let queries = inputs.values::<f32>(0)?;
        if self.copies {
            self.join(
                self.keys,
                inputs.values(1)?,
                if self.past > 0 { inputs.values(4)? } else { &[] },
                keys,
            );
            self.join(
                self.values,
                inputs.values(2)?,
                if self.past > 0 { inputs.values(5)? } else { &[] },
                values,
            );
        }
        let (keys, values): (&[f32], &[f32]) =
            if self.copies { (keys, values) } else { (inputs.values(1)?, inputs.values(2)?) };
        let [all_keys, all_values] = self.all;
        let (total, width) = (all_keys.length, self.values.width);
        let group = self.queries.heads / self.keys.heads;
        for sample in 0..self.queries.batch {
            for head in 0..self.queries.heads {
                let (start, stride) = all_keys.place(sample, head / group);
                let raw = Raw {
                    values: keys.get(start..).unwrap_or_default(),
                    across: stride,
                    down: 1,
                    scale: self.scale,
                };
                arrange(raw, self.queries.width, total, panels);
                let (start, stride) = self.queries.place(sample, head);
                let rows = Rows {
                    values: queries.get(start..).unwrap_or_default(),
                    stride,
                    count: self.queries.length,
                };
                Weights::new(self.queries.width, total, panels).multiply(
                    arch,
                    rows,
                    Start::Bias,
                    false,
                    scores,
                );
                self.weigh(inputs, [sample, head], scores)?;
                let (start, stride) = all_values.place(sample, head / group);
                let raw = Raw {
                    values: values.get(start..).unwrap_or_default(),
                    across: 1,
                    down: stride,
                    scale: 1.0,
                };
                arrange(raw, total, width, panels);
                let rows = Rows { values: scores, stride: total, count: self.queries.length };
                Weights::new(total, width, panels).multiply(arch, rows, Start::Bias, false, part);
                let (start, stride) = self.answer.place(sample, head);
                for (row, part) in part.chunks_exact(width.max(1)).enumerate() {
                    y[start + row * stride..][..width].copy_from_slice(part);
                }
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        let width = self.queries.width.saturating_add(self.values.width);
        let sizes = [self.queries.batch, self.queries.heads, self.queries.length, self.all[0].length, width];
        Some(sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64)))
    }
}

impl Attention {
    /// Puts the past and what is new one after the other, head by head.
    fn join(&self, heads: Heads, new: &[f32], past: &[f32], into: &mut [f32]) {
        let Heads { length, width, .. } = heads;
        let size = (self.past + length) * width;
        if size == 0 {
            return;
        }
        for (number, into) in into.chunks_exact_mut(size).enumerate() {
            let (old, rest) = into.split_at_mut(self.past * width);
            old.copy_from_slice(
                past.get(number * old.len()..).and_then(|past| past.get(..old.len())).unwrap_or_default(),
            );
            let (start, stride) = heads.place(number / heads.heads, number % heads.heads);
            for (row, rest) in rest.chunks_exact_mut(width.max(1)).enumerate() {
                rest.copy_from_slice(&new[start + row * stride..][..width]);
            }
        }
    }

    /// From products to weights that add up to 1, query by query.
    fn weigh(
        &self,
        inputs: &Inputs<'_>,
        [sample, head]: [usize; 2],
        scores: &mut [f32],
    ) -> Result<(), Fault> {
        let total = self.all[0].length.max(1);
        for (query, scores) in scores.chunks_exact_mut(total).enumerate() {
            if self.cap > 0.0 {
                scores.iter_mut().for_each(|score| *score = self.cap * tanh(*score / self.cap));
            }
            if let Some(Mask { strides, is_bool }) = self.mask {
                let start = sample * strides[0] + head * strides[1] + query * strides[2];
                let places = (0..).map(|key| start + key * strides[3]);
                if is_bool {
                    let mask = inputs.values::<bool>(MASK)?;
                    for (score, at) in scores.iter_mut().zip(places) {
                        *score = if mask[at] { *score } else { f32::NEG_INFINITY };
                    }
                } else {
                    let mask = inputs.values::<f32>(MASK)?;
                    scores.iter_mut().zip(places).for_each(|(score, at)| *score += mask[at]);
                }
            }
            if self.is_causal {
                let seen = (query + self.past + 1).min(scores.len());
                scores[seen..].fill(f32::NEG_INFINITY);
            }
        }
        let once = Once;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                for scores in scores.chunks_exact_mut(total) {
                    let most = max(scores);
                    for score in scores.iter_mut() {
                        *score = exp(*score - most);
                    }
                    let whole = 1.0 / sum(scores);
                    for score in scores.iter_mut() {
                        *score *= whole;
                    }
                }
            },
        );
        Ok(())
    }
}
