//! The safetensors format: read through the crate's safe, buffered interface (never
//! mapped), written in the model's order.

use ::safetensors::{SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use super::tensors::{Dtype, RawTensor, TensorInfo};
use crate::text;

/// The largest header that is parsed: it is JSON, and takes several times its size in memory.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// The most tensors that a file may hold.
const TENSORS_MAX: usize = 65_536;

/// The tensors of a safetensors file, in the order of their bytes in it.
///
/// # Errors
/// A sentence saying what is wrong with the file.
pub fn parse(file: &[u8]) -> Result<Vec<RawTensor>, String> {
    let prefix = file.first_chunk::<8>().ok_or("it ends before its header")?;
    let header_bytes = u64::from_le_bytes(*prefix);
    if header_bytes > HEADER_BYTES_MAX as u64 {
        return Err(format!(
            "its header would have {header_bytes} bytes, more than {HEADER_BYTES_MAX} (header_bytes_max)"
        ));
    }
    let plain = |error: SafeTensorError| text::in_plain_words(&error.to_string());
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(plain)?;
    let views = SafeTensors::deserialize(file).map_err(plain)?;
    if views.len() > TENSORS_MAX {
        return Err(format!("it holds {} tensors, more than {TENSORS_MAX} (tensors_max)", views.len()));
    }
    let mut tensors = Vec::with_capacity(views.len());
    for name in metadata.offset_keys() {
        let view = views.tensor(&name).map_err(plain)?;
        let dtype = Dtype::from_name(&view.dtype().to_string())
            .ok_or_else(|| format!("tensor {name} has dtype {}, which is not supported", view.dtype()))?;
        let info = TensorInfo { name, dtype, shape: view.shape().to_vec() };
        tensors.push(RawTensor { info, bytes: view.data().to_vec() });
    }
    Ok(tensors)
}

/// A safetensors file with `tensors`.
///
/// Wider elements come first, so that every tensor is aligned; among those of one
/// width the order stays, which lets a reader without a `config.json` see the layers
/// in the model's own order. (The crate's writer sorts by name.)
pub fn serialise(tensors: &[RawTensor]) -> Vec<u8> {
    let mut ordered: Vec<&RawTensor> = tensors.iter().collect();
    ordered.sort_by_key(|tensor| std::cmp::Reverse(tensor.info.dtype.bytes()));
    let mut header = Map::new();
    let mut end = 0;
    for tensor in &ordered {
        let start = end;
        end += tensor.bytes.len();
        let RawTensor { info: TensorInfo { name, dtype, shape }, .. } = tensor;
        let entry = json!({ "dtype": dtype.as_str(), "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    // The format asks that the data start at a multiple of eight; spaces are its padding.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(8 + text.len() + end);
    file.extend_from_slice(&(text.len() as u64).to_le_bytes());
    file.extend_from_slice(&text);
    for tensor in ordered {
        file.extend_from_slice(&tensor.bytes);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> RawTensor {
        let elements: usize = shape.iter().product();
        let info = TensorInfo { name: name.into(), dtype, shape: shape.to_vec() };
        RawTensor { info, bytes: vec![1; elements * dtype.bytes()] }
    }

    #[test]
    fn what_is_written_is_read_back_in_the_models_order() {
        let tensors = [
            tensor("out.weight", Dtype::F32, &[1, 3]),
            tensor("in.weight", Dtype::F32, &[3, 2]),
            tensor("flag", Dtype::Bool, &[]),
            tensor("steps", Dtype::I64, &[]),
            tensor("empty", Dtype::F16, &[0, 4]),
        ];
        let read = parse(&serialise(&tensors)).unwrap();
        let names: Vec<_> = read.iter().map(|tensor| tensor.info.name.as_str()).collect();
        assert_eq!(names, ["steps", "out.weight", "in.weight", "empty", "flag"]);
        for tensor in &tensors {
            assert!(read.contains(tensor), "{}", tensor.info);
        }
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let good = serialise(&[tensor("a", Dtype::F32, &[2])]);
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_err(), "{length}");
        }
        let huge = parse(&[0xff; 64]).unwrap_err();
        assert!(huge.contains("header_bytes_max"), "{huge}");
    }
}
