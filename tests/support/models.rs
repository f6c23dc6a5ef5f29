//! What the model tests share: fixtures, and model directories that a test may edit.

use std::fs;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A path under `tests/fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// The directory of a recorded network.
pub fn net(name: &str) -> PathBuf {
    fixture(&format!("pt/nets/{name}"))
}

/// The promise of the project: equal to PyTorch's to this absolute difference.
pub const TOLERANCE: f32 = 1e-6;

/// Asserts that predictions are those expected, row by row.
pub fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= TOLERANCE, "{what}, row {row}: {found}, expected {expected}");
    }
}

/// Little-endian f32 numbers from a file.
pub fn read(path: &Path) -> Vec<f32> {
    fs::read(path).unwrap().as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// `count` numbers in [-1, 1) from `seed`.
pub fn f32s(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A model directory of the test's own, removed at its end.
pub struct ModelDirectory(TempDir);

impl ModelDirectory {
    /// A copy of the files in `source`.
    pub fn with(source: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
        }
        Self(directory)
    }

    /// A network of linear layers with ReLU between them: `widths` features into each,
    /// one number out of the last.
    pub fn random(widths: &[usize], seed: u64) -> Self {
        let (mut layers, mut tensors) = (Vec::new(), Vec::new());
        for (at, &inputs) in widths.iter().enumerate() {
            let outputs = widths.get(at + 1).copied().unwrap_or(1);
            let name = format!("fc{at}");
            layers.push(json!({"type": "linear", "name": &name, "in": inputs, "out": outputs}));
            if at + 1 < widths.len() {
                layers.push(json!({"type": "relu"}));
            }
            tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
            tensors.push((format!("{name}.bias"), vec![outputs]));
        }
        let config = json!({"inputs": widths[0], "layers": layers, "output": "logit"});
        Self::random_weights(config, &tensors, seed)
    }

    /// A model with random numbers in `tensors`; `config` lacks what is the same for all.
    pub fn random_weights(mut config: Value, tensors: &[(String, Vec<usize>)], seed: u64) -> Self {
        config["format"] = 1.into();
        config["name"] = "random".into();
        config["weights"] = json!({"file": "model.safetensors", "sha256": ""});
        let mut before = 0;
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, shape)| {
                let values = f32s(seed.wrapping_add(before), shape.iter().product());
                before += 4 * values.len() as u64;
                (name.as_str(), shape.clone(), values)
            })
            .collect();
        Self::of(&config, &tensors)
    }

    /// A model of this `config` with these tensors: name, shape, numbers.
    pub fn of(config: &Value, tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        let (mut header, mut data) = (json!({}), Vec::new());
        for (name, shape, values) in tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            header[*name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        }
        let header = header.to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.bytes());
        file.extend(data);
        fs::write(directory.path().join("model.safetensors"), file).unwrap();
        fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        directory.seal();
        directory
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Changes `config.json`.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    }

    /// Writes the hash of the weights, as they are, into `config.json`.
    pub fn seal(&self) {
        let weights = fs::read(self.path().join("model.safetensors")).unwrap();
        let sha256: String = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect();
        self.edit(|config| config["weights"]["sha256"] = sha256.into());
    }
}
