//! PyTorch checkpoints: however the weights were saved, the same tensors come out;
//! hostile files end in one clear error.

use std::fs;
use std::path::Path;

use nearfar::model::{ConvertOptions, Converted, Detector, Dtype, TensorInfo, convert, inspect};
use safetensors::SafeTensors;

use crate::support::models::{fixture, read};

/// Name, shape, and values as f32.
type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// Converts a fixture, keeping its dtypes unless `options` say otherwise.
fn converted(path: &Path, options: &ConvertOptions) -> Result<(Converted, Tensors), String> {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("new/model.safetensors");
    let converted = convert(path, &target, options).map_err(|error| error.to_string())?;
    Ok((converted, tensors(&target)))
}

fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.shape().to_vec(), floats(view.dtype(), view.data())))
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

fn floats(dtype: safetensors::Dtype, data: &[u8]) -> Vec<f32> {
    use safetensors::Dtype::*;
    match dtype {
        F64 => data.as_chunks().0.iter().map(|&word| f64::from_le_bytes(word) as f32).collect(),
        F32 => data.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect(),
        F16 => data.as_chunks().0.iter().map(|&word| half::f16::from_le_bytes(word).to_f32()).collect(),
        BF16 => data.as_chunks().0.iter().map(|&word| half::bf16::from_le_bytes(word).to_f32()).collect(),
        I64 => data.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word) as f32).collect(),
        I32 => data.as_chunks().0.iter().map(|&word| i32::from_le_bytes(word) as f32).collect(),
        I16 => data.as_chunks().0.iter().map(|&word| i16::from_le_bytes(word) as f32).collect(),
        I8 => data.iter().map(|&byte| f32::from(byte as i8)).collect(),
        U8 | BOOL => data.iter().map(|&byte| f32::from(byte)).collect(),
        other => panic!("{other}"),
    }
}

fn assert_same(found: &Tensors, expected: &Tensors, tolerance: f32, what: &str) {
    let names = |tensors: &Tensors| {
        tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(found), names(expected), "{what}");
    for ((name, _, found), (_, _, expected)) in found.iter().zip(expected) {
        for (found, expected) in found.iter().zip(expected) {
            let near = (found - expected).abs() <= tolerance * expected.abs();
            assert!(near, "{what}, {name}: {found}, expected {expected}");
        }
    }
}

fn plain(name: &str) -> Result<(Converted, Tensors), String> {
    converted(&fixture(&format!("pt/more/{name}.pt")), &ConvertOptions::default())
}

fn at_key(name: &str, key: &str) -> Result<(Converted, Tensors), String> {
    let options = ConvertOptions { keys: vec![key.into()], ..ConvertOptions::default() };
    converted(&fixture(&format!("pt/more/{name}.pt")), &options)
}

#[test]
fn every_way_to_save_gives_the_same_tensors_and_predictions() {
    let reference = tensors(&fixture("pt/reference.safetensors"));
    let inputs = read(&fixture("pt/inputs_32x32.f32"));
    let outputs = read(&fixture("pt/outputs_32x1.f32"));
    for (name, tolerance) in [
        ("a_state_dict", 0.0),
        ("b_ckpt", 0.0),
        ("c_whole_module", 0.0),
        ("d_torchscript_trace", 0.0),
        ("e_legacy", 0.0),
        ("f_f16", 1e-3),
        ("f_f64", 1e-7),
    ] {
        let path = fixture(&format!("pt/good/{name}.pt"));
        let (_, tensors) = converted(&path, &ConvertOptions::default()).unwrap();
        assert_same(&tensors, &reference, tolerance, name);
        let mut predictions = Vec::new();
        Detector::load(&path).unwrap().predict_batch(&inputs, &mut predictions).unwrap();
        for (found, expected) in predictions.iter().zip(&outputs) {
            assert!((found - expected).abs() <= 1e-6 + tolerance, "{name}: {found}, expected {expected}");
        }
    }
}

#[test]
fn nested_networks_are_found_wherever_they_are() {
    let expected = tensors(&fixture("pt/more/nested.safetensors"));
    for name in [
        "whole_module",
        "protocol_2",
        "protocol_3",
        "protocol_4",
        "protocol_5",
        "legacy_2",
        "legacy_3",
        "legacy_4",
        "legacy_5",
        "legacy_whole_module",
        "under_state_dict",
        "under_model_state_dict",
        "under_model",
        "under_module",
        "under_net_weights",
        "under_two_keys",
        "data_parallel",
        "plain_dict",
        "parameters",
    ] {
        let (_, tensors) = plain(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(&tensors, &expected, 0.0, name);
    }
}

#[test]
fn torchscript_archives_are_read() {
    let expected = tensors(&fixture("pt/more/nested_now.safetensors"));
    for name in ["torchscript_script", "torchscript_trace"] {
        let (converted, mut tensors) = plain(name).unwrap();
        assert!(converted.format.starts_with("TorchScript archive"), "{}", converted.format);
        // TorchScript saves buffers that a state dict leaves out, and does not say which those are.
        tensors.retain(|(name, ..)| !name.ends_with("scratch"));
        assert_same(&tensors, &expected, 0.0, name);
    }
}

#[test]
fn lightning_checkpoints_give_the_model_and_not_the_optimizer() {
    let (converted, tensors) = plain("lightning").unwrap();
    let mut expected = self::tensors(&fixture("pt/more/nested_now.safetensors"));
    expected.iter_mut().for_each(|(name, ..)| name.insert_str(0, "model."));
    assert_same(&tensors, &expected, 0.0, "lightning");
    assert_eq!(converted.format, "PyTorch zip archive, state dict at state_dict");
}

#[test]
fn what_python_2_pickled_is_read_in_either_format() {
    let [zip, legacy] =
        ["python2_ordered_dict_zip", "python2_ordered_dict_legacy"].map(|name| plain(name).unwrap());
    let names: Vec<_> =
        zip.0.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    assert_eq!(names, [("0.weight", &[4, 8][..]), ("0.bias", &[4]), ("2.weight", &[1, 4]), ("2.bias", &[1])]);
    assert_same(&zip.1, &legacy.1, 0.0, "both formats");
    assert!(zip.1.iter().all(|(_, _, values)| values.iter().all(|value| value.is_finite() && *value != 0.0)));
}

#[test]
fn a_checkpoint_may_be_called_pth_tar_and_what_is_none_is_called_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let state_dict = fs::read(fixture("pt/good/a_state_dict.pt")).unwrap();
    let named = place("model_best.pth.tar", &state_dict);
    assert!(Detector::load(&named).is_ok() && inspect(&named).is_ok());
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 4749\n";
    let html = b"<!DOCTYPE html><html><head><title>Sign in</title></head>";
    let pickled =
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x14sklearn.linear_model\x94\x8c\x01L\x94\x93\x94)\x81.";
    let safetensors = fs::read(fixture("pt/reference.safetensors")).unwrap();
    for (content, parts) in [
        (&lfs[..], &["Git LFS pointer", "git lfs pull"][..]),
        (html, &["HTML page", "Sign in"]),
        (b"{\"message\": \"Not Found\"}", &["JSON"]),
        (b"", &["an empty file"]),
        (b"\x1f\x8b\x08\0\0", &["gzip"]),
        (pickled, &["scikit-learn"]),
    ] {
        for name in ["model.pt", "model.pth.tar", "model.safetensors", "pytorch_model.bin", "model.ckpt"] {
            let path = place(name, content);
            let target = directory.path().join("out.safetensors");
            let from_convert =
                convert(&path, &target, &ConvertOptions::default()).err().map(|error| error.to_string());
            let from_load = Detector::load(&path).err().map(|error| error.to_string());
            let from_inspect = inspect(&path).err().map(|error| error.to_string());
            if name.ends_with(".safetensors") && content == pickled {
                assert!(from_load.unwrap().contains("nearfar convert"));
                continue;
            }
            for error in [from_convert, from_load, from_inspect] {
                let error = error.expect("it is refused");
                assert!(error.contains(name), "{error}");
                assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error}");
            }
        }
    }
    // By any other name too, where it begins as a checkpoint does.
    assert!(Detector::load(place("model.weights", &state_dict)).is_ok());
    let error = Detector::load(place("model.joblib", pickled)).err().unwrap().to_string();
    assert!(error.contains("scikit-learn") && error.contains("skl2onnx.to_onnx"), "{error}");
    let misnamed = Detector::load(place("reference.pt", &safetensors)).err().unwrap().to_string();
    assert!(misnamed.contains("found safetensors") && misnamed.contains(".safetensors"), "{misnamed}");
    let misnamed = Detector::load(place("state.safetensors", &state_dict)).err().unwrap().to_string();
    assert!(misnamed.contains("`nearfar convert"), "{misnamed}");
    // The description beside the weights.
    place("model.safetensors", &safetensors);
    for (content, part) in [(&lfs[..], "Git LFS pointer"), (html, "HTML page")] {
        place("config.json", content);
        let error = Detector::load(directory.path()).err().unwrap().to_string();
        assert!(error.contains("config.json") && error.contains(part), "{error}");
    }
}

#[test]
fn several_models_are_listed_with_how_to_choose() {
    let error = plain("ambiguous").unwrap_err();
    for part in ["ema (state dict, ", "student (state dict, ", "tensors: ", "--key"] {
        assert!(error.contains(part), "{error}");
    }
    let expected = tensors(&fixture("pt/more/nested_now.safetensors"));
    for key in ["ema", "student"] {
        assert_same(&at_key("ambiguous", key).unwrap().1, &expected, 0.0, key);
    }
    let error = at_key("ambiguous", "teacher").unwrap_err();
    assert!(error.contains("\"teacher\"") && error.contains("student"), "{error}");
}

#[test]
fn strided_and_shared_tensors_are_made_contiguous() {
    let expected = tensors(&fixture("pt/more/views.safetensors"));
    for name in ["views", "views_legacy"] {
        assert_same(&plain(name).unwrap().1, &expected, 0.0, name);
    }
}

#[test]
fn every_dtype_is_kept_or_made_f32() {
    let expected = tensors(&fixture("pt/more/nested_now.safetensors"));
    for (name, dtype, tolerance) in
        [("dtype_bf16", Dtype::Bf16, 1e-2), ("dtype_f16", Dtype::F16, 1e-3), ("dtype_f64", Dtype::F64, 1e-7)]
    {
        let (kept, tensors) = plain(name).unwrap();
        assert_same(&tensors, &expected, tolerance, name);
        assert_eq!(kept.tensors[0].dtype, dtype);
        let options = ConvertOptions { dtype: Some(Dtype::F32), ..ConvertOptions::default() };
        let (cast, tensors) = converted(&fixture(&format!("pt/more/{name}.pt")), &options).unwrap();
        assert_same(&tensors, &expected, tolerance, name);
        let dtypes = |tensors: &[TensorInfo]| tensors.iter().map(|tensor| tensor.dtype).collect::<Vec<_>>();
        assert!(dtypes(&cast.tensors).iter().all(|dtype| matches!(dtype, Dtype::F32 | Dtype::I64)));
    }
    let (integers, values) = plain("dtype_integers").unwrap();
    let names: Vec<_> = integers.tensors.iter().map(|tensor| tensor.dtype.as_str()).collect();
    assert_eq!(names, ["I64", "I32", "I16", "I8", "U8", "BOOL"]);
    for (name, _, values) in values {
        let expected = if name == "bool" { [0.0, 1.0, 1.0, 1.0] } else { [0.0, 1.0, 2.0, 100.0] };
        assert_eq!(values, expected, "{name}");
    }
}

#[test]
fn hostile_files_end_in_one_clear_error() {
    for (name, part) in [
        ("empty_args", "tensor w: its description has 0 values"),
        ("laughs40", "no tensors found: the file holds a tuple of 2"),
        ("rce_os_system", "no tensors found: the file holds an object of posix.system (not called)"),
        ("shape_huge", "tensor_bytes_max"),
        ("short_storage", "tensor w: it needs 512 elements of storage 0, which holds 25"),
        ("trunc_2375", "the file is damaged or incomplete"),
    ] {
        let error = converted(&fixture(&format!("pt/hostile/{name}.pt")), &ConvertOptions::default());
        let error = error.unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    assert!(!Path::new("nearfar-was-here").exists());
}

#[test]
fn a_converted_model_loads_and_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    let source = fixture("pt/good/c_whole_module.pt");
    let written = convert(&source, &target, &ConvertOptions::default()).unwrap();
    let inspection = inspect(&target).unwrap();
    assert_eq!(inspection.sha256, written.sha256);
    assert_eq!(inspection.tensors, written.tensors);
    let text = inspection.to_string();
    for part in ["inferred from tensor names", "parameters     545", "linear fc1 (32 to 16)", &written.sha256]
    {
        assert!(text.contains(part), "{part:?} not in\n{text}");
    }
    let pt = inspect(&source).unwrap().to_string();
    assert!(pt.contains("PyTorch zip archive, whole module"), "{pt}");
}

#[test]
fn nothing_is_written_over_the_source_or_under_a_misleading_name() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("model.safetensors");
    fs::copy(fixture("pt/reference.safetensors"), &source).unwrap();
    let before = fs::read(&source).unwrap();
    let same = directory.path().join("./model.safetensors");
    let error = convert(&source, &same, &ConvertOptions::default()).unwrap_err().to_string();
    assert!(error.contains("is the source itself"), "{error}");
    let error = convert(&source, &directory.path().join("model.pt"), &ConvertOptions::default()).unwrap_err();
    assert!(error.to_string().contains("ends in .safetensors"), "{error}");
    assert_eq!(fs::read(&source).unwrap(), before);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn a_failed_conversion_leaves_the_target_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    fs::write(&target, b"precious").unwrap();
    convert(&fixture("pt/hostile/trunc_2375.pt"), &target, &ConvertOptions::default()).unwrap_err();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_flipped_bit_in_a_storage_is_noticed() {
    let mut bytes = fs::read(fixture("pt/good/a_state_dict.pt")).unwrap();
    let weight: Vec<u8> = tensors(&fixture("pt/reference.safetensors"))[1].2[..8]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let at = bytes.windows(weight.len()).position(|window| window == weight).unwrap();
    bytes[at] ^= 1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flipped.pt");
    fs::write(&path, bytes).unwrap();
    let error = converted(&path, &ConvertOptions::default()).unwrap_err();
    assert!(error.contains("hecksum"), "{error}");
}
