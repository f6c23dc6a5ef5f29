//! For each operator, where rows lie in what it gives. What is not here mixes them, as far as is known.

use super::{Rows, after_view};
use crate::model::graph::context::{Context, axis};
use crate::model::graph::ir::{DOMAIN, ML_DOMAIN};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::TensorType;

/// Operators that work on each number alone.
const EACH: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
];

/// Operators that bring their inputs to one shape and work on each number alone.
const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// Operators whose first input has a row at each place of its first axis, and which use the others for all.
const FIRST_AXIS: &[&str] = &[
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LpPool",
    "MaxPool",
    "SpaceToDepth",
];

/// The same, of classical machine learning.
const FIRST_AXIS_ML: &[&str] = &[
    "Binarizer",
    "CategoryMapper",
    "FeatureVectorizer",
    "Imputer",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "ZipMap",
];

/// What a rule works with.
struct Case<'a, 'c> {
    context: &'a Context<'c>,
    inputs: &'a [Rows],
    outputs: &'a [TensorType],
    rows: usize,
}

/// How the rows lie in each output of `context`'s node, whose `outputs` are of these types, when they lie in
/// its inputs as `inputs` says.
pub fn after(
    context: &Context<'_>,
    inputs: &[Rows],
    built: &Built,
    outputs: &[TensorType],
    rows: usize,
) -> Vec<Rows> {
    let case = Case { context, inputs, outputs, rows };
    let one = if inputs.iter().all(|rows| *rows == Rows::Same) {
        Some(Rows::Same)
    } else if let Built::View { of, shape } = built {
        case.view(*of, shape)
    } else if let Some(many) = case.recurrent() {
        return many;
    } else {
        case.rule()
    };
    vec![one.unwrap_or(Rows::Mixed); outputs.len()]
}

impl Case<'_, '_> {
    fn rule(&self) -> Option<Rows> {
        let operator = self.context.operator();
        let listed = |list: &[&str]| list.contains(&operator);
        match self.context.domain() {
            DOMAIN if listed(EACH) => self.alone(0).map(|(axis, each)| Rows::Axis { axis, each }),
            DOMAIN if listed(BROADCAST) => self.broadcast(),
            DOMAIN if listed(FIRST_AXIS) => self.first_axis(),
            ML_DOMAIN if listed(FIRST_AXIS_ML) => self.first_axis(),
            DOMAIN => self.onnx(operator),
            ML_DOMAIN => match operator {
                "LabelEncoder" => self.kept(0),
                "ArrayFeatureExtractor" => self.extracted(),
                _ => None,
            },
            _ => None,
        }
    }

    fn onnx(&self, operator: &str) -> Option<Rows> {
        match operator {
            "Transpose" => self.transpose(),
            "Concat" => self.concat(),
            "Split" | "Hardmax" | "CumSum" | "TopK" | "LpNormalization" | "DFT" => {
                self.all_but_axis(self.axis_default(operator))
            }
            "Softmax" | "LogSoftmax" => self.softmax(),
            "LayerNormalization" | "RMSNormalization" => self.before(self.context.int_or("axis", -1).ok()?),
            "Gather" => self.gather(),
            "GatherElements" => self.gather_elements(),
            "MatMul" => self.matmul(),
            "Gemm" => self.gemm(),
            "Attention" => self.attention(),
            "QuantizeLinear" | "DequantizeLinear" => self.quantise(),
            "Slice" | "Pad" | "Tile" | "Expand" | "Resize" | "Trilu" => self.stretched(operator),
            "ArgMax" | "ArgMin" => self.reduced(&[self.context.int_or("axis", 0).ok()?]),
            reduction if reduction.starts_with("Reduce") => self.reduction(),
            _ => None,
        }
    }

    fn shape(&self, at: usize) -> Option<&[usize]> {
        self.context.shape(at).ok()
    }

    /// Where rows lie in input `at`, where they do along an axis.
    fn lie(&self, at: usize) -> Option<(usize, usize)> {
        match self.inputs.get(at) {
            Some(&Rows::Axis { axis, each }) => Some((axis, each)),
            _ => None,
        }
    }

    /// The same, where all other inputs are the same for all rows.
    fn alone(&self, at: usize) -> Option<(usize, usize)> {
        let others = self.inputs.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, rows)| *rows).all(|rows| rows == Rows::Same).then(|| self.lie(at))?
    }

    /// As in input `at`, which alone depends on the rows, and whose shape the output begins with.
    fn kept(&self, at: usize) -> Option<Rows> {
        self.alone(at).map(|(axis, each)| Rows::Axis { axis, each })
    }

    fn view(&self, of: usize, shape: &[usize]) -> Option<Rows> {
        let (axis, each) = self.lie(of)?;
        Some(after_view(self.shape(of)?, axis, each, shape, self.rows))
    }

    /// All inputs that depend on rows have them at the same axis, counted from the end.
    fn broadcast(&self) -> Option<Rows> {
        let rank = self.outputs.first()?.shape.len();
        let mut found: Option<(usize, usize)> = None;
        for (at, rows) in self.inputs.iter().enumerate() {
            let (axis, each) = match *rows {
                Rows::Same => continue,
                Rows::Axis { axis, each } => (axis + rank - self.shape(at)?.len(), each),
                Rows::Counted | Rows::Mixed => return None,
            };
            if *found.get_or_insert((axis, each)) != (axis, each) {
                return None;
            }
        }
        let (axis, each) = found?;
        // What is the same for all rows must not have a place for each.
        let fits = |(at, rows): (usize, &Rows)| {
            let shape = self.shape(at)?;
            let place = (axis + shape.len()).checked_sub(rank);
            Some(*rows != Rows::Same || place.is_none_or(|place| shape[place] == 1 || shape[place] == each))
        };
        let all = self
            .inputs
            .iter()
            .enumerate()
            .all(|input| !self.context.has(input.0) || fits(input) == Some(true));
        (all && self.outputs[0].shape[axis] == self.rows * each).then_some(Rows::Axis { axis, each })
    }

    fn first_axis(&self) -> Option<Rows> {
        let lie = self.inputs.iter().map(|rows| match rows {
            Rows::Same => None,
            Rows::Axis { axis: 0, each } => Some(Some(*each)),
            _ => Some(None),
        });
        let mut each = lie.flatten();
        let first = each.next()??;
        // An input with one axis may have been taken as a single row.
        let is_kept = self.outputs.first()?.shape.first() == Some(&(self.rows * first));
        (is_kept && each.all(|each| each == Some(first))).then_some(Rows::Axis { axis: 0, each: first })
    }

    fn transpose(&self) -> Option<Rows> {
        let (at, each) = self.lie(0)?;
        let rank = self.shape(0)?.len();
        let axis = match self.context.ints("perm").ok()? {
            Some(order) => order.iter().position(|&from| from == at as i64)?,
            None => rank - 1 - at,
        };
        Some(Rows::Axis { axis, each })
    }

    fn concat(&self) -> Option<Rows> {
        let joined = axis(self.context.int("axis").ok()??, self.shape(0)?.len()).ok()?;
        let first = self.inputs.first()?;
        let all = self.inputs.iter().all(|rows| rows == first);
        match *first {
            Rows::Axis { axis, .. } if all && axis != joined => Some(*first),
            _ => None,
        }
    }

    fn axis_default(&self, operator: &str) -> i64 {
        match operator {
            "Split" => 0,
            "Hardmax" if self.context.opset() < 13 => 1,
            "DFT" if self.context.opset() < 20 => 1,
            "DFT" => -2,
            _ => -1,
        }
    }

    /// The operator works along one axis, which must not be that of the rows.
    fn all_but_axis(&self, default: i64) -> Option<Rows> {
        let (at, each) = self.lie(0)?;
        let rank = self.shape(0)?.len();
        let along = match self.context.operator() {
            "CumSum" => self.context.known_ints(1, "axis").ok()?.first().copied()?,
            "DFT" if self.context.has(2) => self.context.known_ints(2, "axis").ok()?.first().copied()?,
            _ => self.context.int_or("axis", default).ok()?,
        };
        let flattens = self.context.operator() == "Hardmax" && self.context.opset() < 13;
        let along = axis(along, rank).ok()?;
        (along != at && !(flattens && at > along)).then_some(Rows::Axis { axis: at, each })
    }

    /// Before version 13 the axes from `axis` on are taken as one.
    fn softmax(&self) -> Option<Rows> {
        if self.context.opset() < 13 {
            return self.before(self.context.int_or("axis", 1).ok()?);
        }
        self.all_but_axis(-1)
    }

    /// The operator works along all axes from `first` on.
    fn before(&self, first: i64) -> Option<Rows> {
        let (at, each) = self.alone(0)?;
        (at < axis(first, self.shape(0)?.len()).ok()?).then_some(Rows::Axis { axis: at, each })
    }

    fn gather(&self) -> Option<Rows> {
        let along = axis(self.context.int_or("axis", 0).ok()?, self.shape(0)?.len()).ok()?;
        let indices = self.shape(1)?.len();
        match (self.inputs[0], self.inputs[1]) {
            (Rows::Axis { axis, each }, Rows::Same) if axis < along => Some(Rows::Axis { axis, each }),
            (Rows::Axis { axis, each }, Rows::Same) if axis > along => {
                Some(Rows::Axis { axis: axis + indices - 1, each })
            }
            (Rows::Same, Rows::Axis { axis, each }) => Some(Rows::Axis { axis: along + axis, each }),
            _ => None,
        }
    }

    fn gather_elements(&self) -> Option<Rows> {
        let along = axis(self.context.int_or("axis", 0).ok()?, self.shape(0)?.len()).ok()?;
        match (self.inputs[0], self.inputs[1]) {
            (Rows::Axis { axis, .. }, other) if other == self.inputs[0] && axis != along => Some(other),
            _ => None,
        }
    }

    /// Columns of the last axis, or places of a table that is the same for all rows.
    fn extracted(&self) -> Option<Rows> {
        let last = self.shape(0)?.len().checked_sub(1)?;
        match (self.inputs[0], self.inputs[1]) {
            (Rows::Axis { axis, each }, Rows::Same) if axis != last => Some(Rows::Axis { axis, each }),
            // The indices are taken as one list, whatever their shape.
            (Rows::Same, Rows::Axis { axis, each }) => {
                let indices = self.shape(1)?;
                let flat = [indices.iter().product()];
                match after_view(indices, axis, each, &flat, self.rows) {
                    Rows::Axis { each, .. } => {
                        Some(Rows::Axis { axis: self.outputs.first()?.shape.len() - 1, each })
                    }
                    other => Some(other),
                }
            }
            _ => None,
        }
    }

    fn matmul(&self) -> Option<Rows> {
        let (left, right) = (self.shape(0)?.len(), self.shape(1)?.len());
        let rank = self.outputs.first()?.shape.len();
        let of_left = |axis: usize| match left - 1 - axis {
            0 => None,
            1 => Some(rank - if right == 1 { 1 } else { 2 }),
            from_end if right == 1 => Some(rank - from_end),
            from_end => Some(rank - 1 - from_end),
        };
        let of_right = |axis: usize| match right - 1 - axis {
            0 if right > 1 => Some(rank - 1),
            0 | 1 => None,
            from_end if left == 1 => Some(rank - from_end),
            from_end => Some(rank - 1 - from_end),
        };
        match (self.inputs[0], self.inputs[1]) {
            (Rows::Axis { axis, each }, Rows::Same) => {
                let to = of_left(axis)?;
                (self.outputs[0].shape[to] == self.rows * each).then_some(Rows::Axis { axis: to, each })
            }
            (Rows::Same, Rows::Axis { axis, each }) => {
                let to = of_right(axis)?;
                (self.outputs[0].shape[to] == self.rows * each).then_some(Rows::Axis { axis: to, each })
            }
            (Rows::Axis { axis: a, each }, Rows::Axis { axis: b, each: other }) => {
                // Each row has its own matrix on both sides.
                let many = left > 2 && right > 2 && a < left - 2 && b < right - 2;
                let to = of_left(a)?;
                (many && of_right(b) == Some(to) && each == other).then_some(Rows::Axis { axis: to, each })
            }
            _ => None,
        }
    }

    fn gemm(&self) -> Option<Rows> {
        let (at, each) = self.alone(0)?;
        let along = usize::from(self.context.flag("transA", false).ok()?);
        let bias_is_for_all = !self.context.has(2)
            || match self.shape(2)? {
                [] | [_] => true,
                [rows, ..] => *rows == 1,
            };
        (at == along && bias_is_for_all).then_some(Rows::Axis { axis: 0, each })
    }

    /// Queries, keys, values and what else depends on rows, all along their first axis.
    fn attention(&self) -> Option<Rows> {
        self.first_axis()
    }

    fn quantise(&self) -> Option<Rows> {
        let (at, each) = self.alone(0)?;
        let shape = self.shape(1)?;
        let along = axis(self.context.int_or("axis", 1).ok()?, self.shape(0)?.len()).ok();
        let is_for_all = shape.iter().product::<usize>() == 1;
        (is_for_all || (shape.len() == 1 && along != Some(at))).then_some(Rows::Axis { axis: at, each })
    }

    /// Along the rows' axis nothing may be taken away, added or turned round.
    fn stretched(&self, operator: &str) -> Option<Rows> {
        let (at, each) = self.lie(0)?;
        let (input, output) = (self.shape(0)?, &self.outputs.first()?.shape);
        let to = at + output.len() - input.len();
        if input[at] != output[to]
            || self.inputs.get(1..)?.iter().any(|rows| matches!(rows, Rows::Mixed | Rows::Axis { .. }))
        {
            return None;
        }
        let fits = match operator {
            "Slice" => self.slices_all_but(at)?,
            "Pad" => self.pads_all_but(at)?,
            "Trilu" => at + 2 < input.len(),
            _ => true,
        };
        fits.then_some(Rows::Axis { axis: to, each })
    }

    /// Whether a `Slice` leaves the axis `at` as it is: its size is, and it does not run backwards.
    fn slices_all_but(&self, at: usize) -> Option<bool> {
        let rank = self.shape(0)?.len();
        let (axes, steps) = if self.context.opset() < 10 {
            (self.context.ints("axes").ok()?.map(<[i64]>::to_vec), None)
        } else {
            let optional =
                |at, what| self.context.has(at).then(|| self.context.known_ints(at, what).ok()).flatten();
            (optional(3, "axes"), optional(4, "steps"))
        };
        let place = match &axes {
            None => Some(at),
            Some(axes) => axes.iter().position(|&named| axis(named, rank) == Ok(at)),
        };
        let step = place.and_then(|place| steps.as_ref().and_then(|steps| steps.get(place).copied()));
        Some(step.is_none_or(|step| step == 1))
    }

    fn pads_all_but(&self, at: usize) -> Option<bool> {
        let rank = self.shape(0)?.len();
        let pads = if self.context.opset() < 11 {
            self.context.ints("pads").ok()??.to_vec()
        } else {
            self.context.known_ints(1, "pads").ok()?
        };
        if self.context.has(3) {
            // The size is as it was; only a shift along the axis would hide.
            let axes = self.context.known_ints(3, "axes").ok()?;
            let Some(place) = axes.iter().position(|&named| axis(named, rank) == Ok(at)) else {
                return Some(true);
            };
            return Some(pads.get(place) == Some(&0) && pads.get(place + axes.len()) == Some(&0));
        }
        Some(pads.get(at) == Some(&0) && pads.get(at + rank) == Some(&0))
    }

    fn reduction(&self) -> Option<Rows> {
        let axes = match self.context.ints("axes").ok()? {
            Some(axes) => axes.to_vec(),
            None if self.context.has(1) => self.context.known_ints(1, "axes").ok()?,
            None => Vec::new(),
        };
        if axes.is_empty() {
            let is_unchanged = self.context.flag("noop_with_empty_axes", false).ok()?;
            return is_unchanged.then(|| self.inputs[0]);
        }
        self.reduced(&axes)
    }

    fn reduced(&self, axes: &[i64]) -> Option<Rows> {
        let (at, each) = self.lie(0)?;
        let rank = self.shape(0)?.len();
        let axes: Vec<_> = axes.iter().map(|&named| axis(named, rank).ok()).collect::<Option<_>>()?;
        if axes.contains(&at) {
            return None;
        }
        let keeps = self.context.flag("keepdims", true).ok()?;
        let before = if keeps { 0 } else { axes.iter().filter(|&&axis| axis < at).count() };
        Some(Rows::Axis { axis: at - before, each })
    }

    /// Sequences are along another axis than rows, and so are directions.
    fn recurrent(&self) -> Option<Vec<Rows>> {
        let is_one =
            self.context.domain() == DOMAIN && ["LSTM", "GRU", "RNN"].contains(&self.context.operator());
        if !is_one {
            return None;
        }
        let is_batch_first = self.context.flag("layout", false).ok()?;
        let along = if is_batch_first { 0 } else { 1 };
        let Rows::Axis { axis, each } = self.inputs[0] else { return None };
        let fits = self.inputs.iter().enumerate().all(|(at, rows)| match (at, *rows) {
            (0, _) => axis == along,
            (5 | 6, Rows::Axis { axis: at, each: other }) => at == along && other == each,
            (5 | 6, Rows::Same) => !self.context.has(at),
            (4, Rows::Axis { axis: 0, each: other }) => other == each,
            (4, Rows::Same) => !self.context.has(at),
            (_, rows) => rows == Rows::Same,
        });
        if !fits {
            return None;
        }
        let lies =
            |at: usize| Rows::Axis { axis: if is_batch_first { 0 } else { [2, 1, 1][at.min(2)] }, each };
        Some((0..self.outputs.len()).map(lies).collect())
    }
}
