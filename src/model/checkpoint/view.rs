//! Tensors as PyTorch pickles them: a storage, an offset into it, a shape and strides. Copied out contiguous.

use std::collections::HashMap;

use super::limits::Limits;
use super::value::{Arena, Id, Shortened, Value};
use super::{Checkpoint, CheckpointError};
use crate::model::tensors::{Dtype, RawTensor, TensorInfo};

/// A tensor of which the storage is not read yet.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The storage's name in the file.
    pub storage: &'a str,
    pub dtype: Dtype,
    /// In elements, from the start of the storage.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In elements, one for each dimension.
    pub strides: Vec<usize>,
}

/// What a persistent id says of a storage.
#[derive(Debug, Clone, Copy)]
pub struct StorageId<'a> {
    pub key: &'a str,
    /// `FloatStorage` and so on; `UntypedStorage` where the tensor itself names its dtype.
    pub class: &'a str,
    /// In elements, from the start of the storage: non-zero for the views that PyTorch saved before 0.4.
    pub offset: usize,
}

/// Wrappers around a tensor, and around the call that rebuilds it, are looked through to this depth.
const WRAPPERS_MAX: usize = 8;

/// Whether `id` is a tensor, of whatever kind: one that cannot be read is an error later, with its name.
pub fn is_tensor(arena: &Arena<'_>, id: Id) -> bool {
    let Value::Object(object) = arena.get(id) else { return false };
    let Some((module, name)) = arena.global(object.callee) else { return false };
    match module {
        "torch._utils" => name.starts_with("_rebuild_") && !name.ends_with("_hook"),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => matches!(name, "Parameter" | "Buffer"),
        _ => false,
    }
}

/// Reads the description of the tensor `id`; an error is a sentence without its name.
pub fn view<'a>(arena: &Arena<'a>, id: Id, limits: &Limits) -> Result<View<'a>, Problem> {
    let (mut callee, mut args) = match arena.get(id) {
        Value::Object(object) => (object.callee, object.args),
        _ => return Err(Problem::Said("it is no tensor".to_owned())),
    };
    for _ in 0..WRAPPERS_MAX {
        let (module, name) = arena.global(callee).unwrap_or(("", "?"));
        let inner = arena.elements(args).unwrap_or_default();
        match (name, inner) {
            ("_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3", inner) => {
                return strided(arena, inner, name == "_rebuild_tensor_v3", limits);
            }
            ("_rebuild_from_type_v2", &[function, _, arguments, ..]) => {
                (callee, args) = (function, arguments)
            }
            (
                "_rebuild_parameter" | "_rebuild_parameter_with_state" | "Parameter" | "Buffer",
                &[data, ..],
            ) => match arena.get(data) {
                Value::Object(object) => (callee, args) = (object.callee, object.args),
                _ => return Err(Problem::Said("its parameter holds no tensor".to_owned())),
            },
            _ => {
                let name = Shortened(name);
                return Err(Problem::Said(format!(
                    "it is rebuilt by {}.{name} from {} values: only plain strided tensors are supported",
                    Shortened(module),
                    inner.len()
                )));
            }
        }
    }
    Err(Problem::Said(format!("it is wrapped more than {WRAPPERS_MAX} times")))
}

/// Why a tensor cannot be read, before its name is known.
#[derive(Debug)]
pub enum Problem {
    Said(String),
    Whole(CheckpointError),
}

impl Problem {
    pub fn of(self, name: &str) -> CheckpointError {
        match self {
            Self::Said(problem) => CheckpointError::Tensor { name: Shortened(name).to_string(), problem },
            Self::Whole(error) => error,
        }
    }
}

impl From<super::limits::Over> for Problem {
    fn from(over: super::limits::Over) -> Self {
        Self::Whole(over.into())
    }
}

fn said<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Said(problem.into()))
}

fn strided<'a>(
    arena: &Arena<'a>,
    args: &[Id],
    names_dtype: bool,
    limits: &Limits,
) -> Result<View<'a>, Problem> {
    // What follows (requires_grad, hooks, metadata) is of no use to a model that is only asked.
    let &[storage, offset, shape, strides, ref more @ ..] = args else {
        return said(format!("its description has {} values, expected 4 or more", args.len()));
    };
    let Some(storage) = storage_id(arena, storage) else {
        return said("its storage is not named as PyTorch names one");
    };
    let dtype = if names_dtype {
        let name = more.get(2).and_then(|&dtype| arena.global(dtype)).map_or("?", |(_, name)| name);
        dtype_of_name(name).ok_or_else(|| unsupported_dtype(name))?
    } else {
        dtype_of_storage(storage.class).ok_or_else(|| unsupported_dtype(storage.class))?
    };
    let Some(offset) = size(arena, offset).and_then(|offset| offset.checked_add(storage.offset)) else {
        return said("its offset is no count");
    };
    let (shape, strides) = (sizes(arena, shape, limits)?, sizes(arena, strides, limits)?);
    if shape.len() != strides.len() {
        return said(format!("it has {} dimensions and {} strides", shape.len(), strides.len()));
    }
    let view = View { storage: storage.key, dtype, offset, shape, strides };
    let bytes = view.bytes().ok_or_else(|| Problem::Said("its size overflows".to_owned()))?;
    limits.check("the bytes of a tensor", "tensor_bytes_max", bytes, limits.tensor_bytes_max)?;
    Ok(view)
}

fn unsupported_dtype(name: &str) -> Problem {
    Problem::Said(format!("its elements are {}, which is not supported", Shortened(name)))
}

/// What the persistent id at `id` says: `("storage", class, key, location, elements, [view])`.
pub fn storage_id<'a>(arena: &Arena<'a>, id: Id) -> Option<StorageId<'a>> {
    let Value::Persistent(id) = arena.get(id) else { return None };
    let &[kind, class, key, _location, _elements, ref view @ ..] = arena.elements(*id)? else { return None };
    if arena.str(kind) != Some("storage") {
        return None;
    }
    let (_, class) = arena.global(class)?;
    let offset = match view.first().map(|&view| (view, arena.get(view))) {
        None | Some((_, Value::None)) => 0,
        Some((view, _)) => size(arena, *arena.elements(view)?.get(1)?)?,
    };
    Some(StorageId { key: arena.str(key)?, class, offset })
}

fn size(arena: &Arena<'_>, id: Id) -> Option<usize> {
    arena.int(id).and_then(|number| usize::try_from(number).ok())
}

/// The counts of a shape or of strides, each of which must be one.
fn sizes(arena: &Arena<'_>, id: Id, limits: &Limits) -> Result<Vec<usize>, Problem> {
    let elements = match arena.get(id) {
        // torch.Size, pickled as a call with one tuple.
        Value::Object(object) => {
            let first = arena.elements(object.args).and_then(|args| args.first().copied());
            first.and_then(|tuple| arena.elements(tuple))
        }
        _ => arena.elements(id),
    };
    let Some(elements) = elements else { return said("its shape or its strides are no tuples") };
    // Before anything is copied: many tensors may share one absurd tuple.
    let dimensions = elements.len() as u64;
    limits.check("the number of dimensions", "dimensions_max", dimensions, limits.dimensions_max)?;
    let sizes = elements.iter().map(|&element| size(arena, element)).collect::<Option<_>>();
    sizes.ok_or_else(|| Problem::Said("its shape or its strides are no counts".to_owned()))
}

/// The dtype of the elements of a typed storage.
pub fn dtype_of_storage(class: &str) -> Option<Dtype> {
    Some(match class {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        _ => return None,
    })
}

fn dtype_of_name(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        _ => return None,
    })
}

impl View<'_> {
    fn elements(&self) -> Option<usize> {
        // A dimension of 0 makes a tensor empty, however large the others are.
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1usize, |all, &dimension| all.checked_mul(dimension))
    }

    /// The bytes of a contiguous copy.
    pub fn bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(self.dtype.bytes()).map(|bytes| bytes as u64)
    }

    /// The elements of the storage up to the last one that the tensor touches.
    fn reach(&self) -> Option<usize> {
        if self.elements()? == 0 {
            return Some(0);
        }
        let last =
            self.shape.iter().zip(&self.strides).try_fold(self.offset, |reach, (&dimension, &stride)| {
                reach.checked_add((dimension - 1).checked_mul(stride)?)
            })?;
        last.checked_add(1)
    }

    /// Copies the elements out of `storage`, row-major.
    fn copy(&self, storage: &[u8]) -> Result<Vec<u8>, Problem> {
        let size = self.dtype.bytes();
        let held = storage.len() / size;
        let (Some(reach), Some(elements)) = (self.reach(), self.elements()) else {
            return said("its strides overflow");
        };
        if reach > held {
            let key = Shortened(self.storage);
            return said(format!("it needs {reach} elements of storage {key}, which holds {held}"));
        }
        if elements == 0 {
            return Ok(Vec::new());
        }
        // Nearly every weight is; a transposed one, or a part of a larger one, is pickled with the strides
        // that it had.
        if self.is_contiguous() {
            return Ok(storage[self.offset * size..(self.offset + elements) * size].to_vec());
        }
        let mut bytes = Vec::with_capacity(elements * size);
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        loop {
            bytes.extend_from_slice(&storage[at * size..(at + 1) * size]);
            // Counts as an odometer does: the innermost dimension first.
            let mut dimension = self.shape.len();
            loop {
                if dimension == 0 {
                    return Ok(bytes);
                }
                dimension -= 1;
                index[dimension] += 1;
                at += self.strides[dimension];
                if index[dimension] < self.shape[dimension] {
                    break;
                }
                at -= self.strides[dimension] * self.shape[dimension];
                index[dimension] = 0;
            }
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&dimension, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if dimension != 1 && stride != expected {
                return false;
            }
            expected *= dimension;
        }
        true
    }
}

/// Copies every view out of its storage, each of which `read` gives once.
pub fn copy_all<'s>(
    views: Vec<(String, View<'_>)>,
    format: String,
    file_bytes: u64,
    limits: &Limits,
    mut read: impl FnMut(&str) -> Result<std::borrow::Cow<'s, [u8]>, CheckpointError>,
) -> Result<Checkpoint, CheckpointError> {
    let total =
        views.iter().fold(0u64, |all, (_, view)| all.saturating_add(view.bytes().unwrap_or(u64::MAX)));
    limits.check_total(total, file_bytes)?;
    let mut by_storage: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, (_, view)) in views.iter().enumerate() {
        by_storage.entry(view.storage).or_default().push(at);
    }
    let mut copies: Vec<Vec<u8>> = vec![Vec::new(); views.len()];
    for (key, users) in by_storage {
        let storage = read(key)?;
        for at in users {
            let (name, view) = &views[at];
            copies[at] = view.copy(&storage).map_err(|problem| problem.of(name))?;
        }
    }
    let tensors = views.into_iter().zip(copies).map(|((name, view), bytes)| {
        let info = TensorInfo { name, dtype: view.dtype, shape: view.shape };
        RawTensor { info, bytes }
    });
    Ok(Checkpoint { tensors: tensors.collect(), format, is_script: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: usize, shape: &[usize], strides: &[usize]) -> View<'static> {
        View { storage: "0", dtype: Dtype::U8, offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn strided_views_are_copied_row_major() {
        let storage: Vec<u8> = (0..12).collect();
        let cases: [(View<'_>, &[u8]); 6] = [
            (view(0, &[3, 4], &[4, 1]), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
            (view(0, &[4, 3], &[1, 4]), &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
            (view(1, &[3], &[4]), &[1, 5, 9]),
            (view(2, &[2, 2], &[0, 1]), &[2, 3, 2, 3]),
            (view(5, &[], &[]), &[5]),
            (view(99, &[0, 7], &[7, 1]), &[]),
        ];
        for (view, expected) in cases {
            assert_eq!(view.copy(&storage).unwrap(), expected, "{view:?}");
        }
    }

    #[test]
    fn what_reaches_beyond_its_storage_is_refused() {
        let storage = [0; 12];
        for view in [
            view(0, &[13], &[1]),
            view(12, &[1], &[1]),
            view(0, &[2], &[12]),
            view(usize::MAX, &[2], &[1]),
            view(0, &[3, 3], &[usize::MAX, usize::MAX]),
        ] {
            assert!(view.copy(&storage).is_err(), "{view:?}");
        }
        assert_eq!(view(0, &[usize::MAX, 3], &[1, 1]).bytes(), None);
    }
}
