//! How windows go over one or two axes, as convolutions and pools say it.

use crate::model::graph::context::{Context, Problem, expect_rank};

/// What a node says of its windows. Where there is one axis, the first of both has size 1.
#[derive(Debug, Clone)]
pub struct Windows {
    /// How many axes there are: 1 or 2.
    pub axes: usize,
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub before: [usize; 2],
    pub after: [usize; 2],
    pub padding: Padding,
}

/// `auto_pad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Stated,
    SameUpper,
    SameLower,
    Valid,
}

/// What a window may reach, or a step be, at most: it keeps sums of sizes from overflowing.
const REACH_MAX: i64 = 1 << 31;

impl Windows {
    /// Reads the attributes of a node over an input `(batch, channels, axes)`, with `kernel` where the
    /// weights say it.
    pub fn read(context: &Context<'_>, input: &[usize], kernel: Option<&[usize]>) -> Result<Self, Problem> {
        expect_rank(input, 3..=4, "input")?;
        let axes = input.len() - 2;
        let stated = numbers(context, "kernel_shape", axes, 1)?;
        let kernel = match (kernel, stated) {
            (Some(kernel), Some(stated)) if kernel != stated => {
                return Err(Problem(format!(
                    "its attribute kernel_shape is {stated:?}, and its weights are for {kernel:?}"
                )));
            }
            (Some(kernel), _) => kernel.to_vec(),
            (None, Some(stated)) => stated,
            (None, None) => return Err("its attribute kernel_shape is missing".into()),
        };
        if let Some(large) = kernel.iter().find(|&&size| size as i64 > REACH_MAX || size == 0) {
            return Err(Problem(format!(
                "its windows have {large} numbers along an axis, expected 1 to {REACH_MAX}"
            )));
        }
        let stride = numbers(context, "strides", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
        let dilation = numbers(context, "dilations", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
        let padding = context.choice(
            "auto_pad",
            &[
                ("NOTSET", Padding::Stated),
                ("SAME_UPPER", Padding::SameUpper),
                ("SAME_LOWER", Padding::SameLower),
                ("VALID", Padding::Valid),
            ],
        )?;
        let pads = numbers(context, "pads", 2 * axes, 0)?;
        let pads = pads.filter(|_| padding == Padding::Stated).unwrap_or_else(|| vec![0; 2 * axes]);
        let both =
            |sizes: &[usize], other: usize| if axes == 1 { [other, sizes[0]] } else { [sizes[0], sizes[1]] };
        Ok(Self {
            axes,
            input: both(&input[2..], 1),
            kernel: both(&kernel, 1),
            stride: both(&stride, 1),
            dilation: both(&dilation, 1),
            before: both(&pads[..axes], 0),
            after: both(&pads[axes..], 0),
            padding,
        })
    }

    /// How far a window reaches along `axis`, from its first number to behind its last one.
    pub fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilation[axis]).saturating_add(1)
    }

    /// How many windows there are along each axis; sets the padding that `auto_pad` asks for.
    pub fn outputs(&mut self, ceil: bool) -> Result<[usize; 2], Problem> {
        let mut outputs = [0; 2];
        for (axis, output) in outputs.iter_mut().enumerate() {
            let (size, stride, reach) = (self.input[axis], self.stride[axis], self.reach(axis));
            if matches!(self.padding, Padding::SameUpper | Padding::SameLower) {
                *output = size.div_ceil(stride);
                let end = output.saturating_sub(1).saturating_mul(stride).saturating_add(reach);
                let total = end.saturating_sub(size);
                let less = total / 2;
                let is_upper = self.padding == Padding::SameUpper;
                self.before[axis] = if is_upper { less } else { total - less };
                self.after[axis] = total - self.before[axis];
                continue;
            }
            let padded = size.saturating_add(self.before[axis]).saturating_add(self.after[axis]);
            let Some(room) = padded.checked_sub(reach) else {
                return Err(Problem(format!(
                    "its windows reach over {reach} numbers, and its input has {padded} with the padding"
                )));
            };
            *output = room / stride + 1;
            // A last window that is not full counts if it starts within the input or the padding before it.
            if ceil && room % stride > 0 && output.saturating_mul(stride) < size + self.before[axis] {
                *output += 1;
            }
        }
        Ok(outputs)
    }
}

/// `count` numbers of an attribute, each of which is at least `least`.
pub fn numbers(
    context: &Context<'_>,
    name: &str,
    count: usize,
    least: i64,
) -> Result<Option<Vec<usize>>, Problem> {
    let Some(values) = context.ints(name)? else { return Ok(None) };
    if values.is_empty() {
        return Ok(None);
    }
    if values.len() != count || !values.iter().all(|value| (least..=REACH_MAX).contains(value)) {
        return Err(Problem(format!(
            "its attribute {name} is {values:?}, expected {count} numbers of {least} to {REACH_MAX}"
        )));
    }
    Ok(Some(values.iter().map(|&value| value as usize).collect()))
}
