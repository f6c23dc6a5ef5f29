//! How near a row is to each support vector: the kernel of a support vector machine.

use std::sync::Arc;

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::operators::ml::{Table, expect_length};
use crate::model::kernel::product::{Product, Rows, Start};

/// A function of a row `x` and a support vector `v`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// `x v`
    Linear,
    /// `(gamma x v + coef0) ^ degree`
    Polynomial,
    /// `e ^ (-gamma |x - v|^2)`
    Gaussian,
    /// `tanh(gamma x v + coef0)`
    Sigmoid,
}

/// `kernel_params`.
#[derive(Debug, Clone, Copy)]
struct Settings {
    gamma: f32,
    coef0: f32,
    degree: f32,
}

/// Support vectors, arranged for one form.
pub struct Similarity {
    form: Form,
    settings: Settings,
    vectors: usize,
    columns: usize,
    arranged: Arranged,
}

enum Arranged {
    Product(Product),
    /// A row for each feature, with the vectors beside each other.
    Columns(Vec<f32>),
}

const FORMS: &[(&str, Form)] = &[
    ("LINEAR", Form::Linear),
    ("POLY", Form::Polynomial),
    ("RBF", Form::Gaussian),
    ("SIGMOID", Form::Sigmoid),
];

/// The form and the settings that the attributes say.
fn stated(context: &Context<'_>) -> Result<(Form, Settings), Problem> {
    let form = context.choice("kernel_type", FORMS)?;
    let settings = match *context.floats("kernel_params")?.unwrap_or_default() {
        [] => Settings { gamma: 0.0, coef0: 0.0, degree: 0.0 },
        [gamma, coef0, degree] => Settings { gamma, coef0, degree },
        ref other => {
            return Err(format!(
                "its attribute kernel_params has {} values, expected gamma, coef0 and degree",
                other.len()
            )
            .into());
        }
    };
    Ok((form, settings))
}

impl Similarity {
    /// The similarity to `vectors` support vectors, whose numbers are `values`.
    pub fn of(
        context: &Context<'_>,
        table: Table,
        vectors: usize,
        values: &[f32],
    ) -> Result<Arc<Self>, Problem> {
        let (form, settings) = stated(context)?;
        let expected =
            vectors.checked_mul(table.columns).ok_or("it has more support vectors than can be counted")?;
        let why = format!("{vectors} support vectors of {} features", table.columns);
        expect_length("support_vectors", values.len(), expected, &why)?;
        context.prepared(|| Ok(Self::arrange(form, settings, table.columns, values)))
    }

    /// The product with `weights`, a row for each score, whatever form the attributes say.
    pub fn linear(context: &Context<'_>, table: Table, weights: &[f32]) -> Result<Arc<Self>, Problem> {
        let (_, settings) = stated(context)?;
        context.prepared(|| Ok(Self::arrange(Form::Linear, settings, table.columns, weights)))
    }

    fn arrange(form: Form, settings: Settings, columns: usize, values: &[f32]) -> Self {
        let vectors = values.len() / columns;
        let arranged = if form == Form::Gaussian {
            let mut arranged = vec![0.0; values.len()];
            for (vector, values) in values.chunks_exact(columns).enumerate() {
                for (column, value) in values.iter().enumerate() {
                    arranged[column * vectors + vector] = *value;
                }
            }
            Arranged::Columns(arranged)
        } else {
            Arranged::Product(Product::new(values, &vec![0.0; vectors]))
        };
        Self { form, settings, vectors, columns, arranged }
    }

    pub fn vectors(&self) -> usize {
        self.vectors
    }

    pub fn multiply_adds(&self, rows: usize) -> u64 {
        (rows as u64).saturating_mul(self.vectors as u64).saturating_mul(self.columns as u64 + 1)
    }

    /// Writes how similar each of `rows` is to each vector.
    pub fn compute(&self, rows: &[f32], similar: &mut [f32]) {
        let Settings { gamma, coef0, degree } = self.settings;
        match &self.arranged {
            Arranged::Product(product) => {
                product.multiply(Rows::packed(rows, self.columns), Start::Bias, false, similar);
            }
            Arranged::Columns(vectors) => {
                let each = rows.chunks_exact(self.columns).zip(similar.chunks_exact_mut(self.vectors));
                pulp::Arch::new()
                    .dispatch(|| each.for_each(|(row, similar)| distances(row, vectors, similar)));
            }
        }
        let each = similar.iter_mut();
        match self.form {
            Form::Linear => {}
            Form::Gaussian => each.for_each(|value| *value = (-gamma * *value).exp()),
            Form::Sigmoid => each.for_each(|value| *value = (gamma * *value + coef0).tanh()),
            Form::Polynomial if degree == 2.0 => each.for_each(|value| {
                let inner = gamma * *value + coef0;
                *value = inner * inner;
            }),
            Form::Polynomial if degree == 3.0 => each.for_each(|value| {
                let inner = gamma * *value + coef0;
                *value = inner * inner * inner;
            }),
            Form::Polynomial => each.for_each(|value| *value = (gamma * *value + coef0).powf(degree)),
        }
    }
}

/// The squared distances of `row` to all `vectors`, feature after feature.
#[inline(always)]
fn distances(row: &[f32], vectors: &[f32], distances: &mut [f32]) {
    distances.fill(0.0);
    for (x, vectors) in row.iter().zip(vectors.chunks_exact(distances.len())) {
        for (distance, vector) in distances.iter_mut().zip(vectors) {
            let difference = x - vector;
            *distance += difference * difference;
        }
    }
}
