//! Layers of ours as candle operations: plain numbers in, plain numbers out.
//!
//! Between layers a tensor is `(batch, values of a row)`. A sequence is kept with
//! its channels side by side, sample after sample, whatever the order in which it
//! came: the windows of a convolution are then one piece of memory each.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// A layer that is loaded and can be run.
pub trait Step: Send + Sync {
    /// What it makes of a batch of rows.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor>;

    /// Takes over the ReLU that comes next, if it can do that while it writes its numbers, which
    /// spares a pass over them. False, the default, where it cannot.
    fn rectify(&mut self) -> bool {
        false
    }
}

/// A layer that scores each row alone.
pub trait RowsLayer: Send + Sync {
    /// The name, for errors of candle's.
    const NAME: &'static str;

    /// The numbers of one row that go in.
    fn inputs(&self) -> usize;

    /// The numbers of one row that come out.
    fn outputs(&self) -> usize;

    /// Computes `output`, zeros so far, row by row from `input`.
    fn forward(&self, input: &[f32], output: &mut [f32]);

    /// What [`Step::rectify`] does.
    fn rectify(&mut self) -> bool {
        false
    }
}

/// A layer as a candle operation.
#[derive(Clone, Copy)]
pub struct Operation<L>(pub L);

impl<L: RowsLayer> Step for Operation<L> {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.apply_op1_no_bwd(self)
    }

    fn rectify(&mut self) -> bool {
        self.0.rectify()
    }
}

impl<L: RowsLayer> CustomOp1 for Operation<L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("{} of {layout:?}, which is not contiguous", L::NAME);
        };
        let input = &storage.as_slice::<f32>()?[start..end];
        let batch = input.len() / self.0.inputs();
        let mut output = vec![0.0; batch * self.0.outputs()];
        self.0.forward(input, &mut output);
        Ok((CpuStorage::F32(output), Shape::from((batch, self.0.outputs()))))
    }
}
