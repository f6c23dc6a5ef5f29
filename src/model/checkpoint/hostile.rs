//! Tests: whatever the bytes, the reader ends with tensors or one error, within its bounds, and never panics.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{CheckpointError, Limits, choice, pickle, read};

/// How many files each fuzz test tries; `NEARFAR_FUZZ_ITERATIONS` overrides it.
const ITERATIONS_DEFAULT: u64 = 2_000;

fn iterations() -> u64 {
    let stated = std::env::var("NEARFAR_FUZZ_ITERATIONS").ok();
    stated.map_or(ITERATIONS_DEFAULT, |count| count.parse().expect("NEARFAR_FUZZ_ITERATIONS is a number"))
}

fn tight() -> Limits {
    Limits {
        opcodes_max: 20_000,
        value_bytes_max: 1 << 20,
        walk_steps_max: 20_000,
        tensor_bytes_max: 1 << 20,
        total_bytes_max: 4 << 20,
        ..Limits::default()
    }
}

/// Reads `file`, and checks that the bounds held.
fn try_to_read(file: &[u8]) {
    let limits = tight();
    if let Ok(checkpoint) = read(file, &[], &limits) {
        let bytes: usize = checkpoint.tensors.iter().map(|tensor| tensor.bytes.len()).sum();
        assert!(bytes as u64 <= limits.total_bytes_max);
        for tensor in &checkpoint.tensors {
            assert_eq!(tensor.bytes.len(), tensor.info.elements() * tensor.info.dtype.bytes());
        }
    }
}

fn try_to_unpickle(bytes: &[u8]) {
    let limits = tight();
    if let Ok(pickle) = pickle::read(bytes, &limits) {
        assert!(pickle.value_bytes <= limits.value_bytes_max);
        assert!(pickle.end <= bytes.len());
        pickle.arena.describe(pickle.root);
        if let Ok(chosen) = choice::find(&pickle, &[], &limits) {
            assert!(chosen.tensors.len() as u64 <= limits.tensors_max);
        }
    }
}

fn fixtures() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pt");
    let mut paths: Vec<_> = ["good", "hostile", "more"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = (at + rng.random_range(1..64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let word: [u8; 4] = [[0xff; 4], [0; 4], [0xff, 0xff, 0xff, 0x7f]][rng.random_range(0..3)];
                for (byte, new) in bytes[at..].iter_mut().zip(word) {
                    *byte = new;
                }
            }
        }
    }
}

/// A zip archive with `entries`, their checksums right.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn entries(file: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut zip = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut entries = Vec::new();
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).ok()?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        entries.push((entry.name().ok()?.into_owned(), content));
    }
    Some(entries)
}

#[test]
fn mutated_files_never_panic() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 30);
    for seed in 0..iterations() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut file = fixtures[rng.random_range(0..fixtures.len())].clone();
        mutate(&mut file, &mut rng);
        try_to_read(&file);
    }
}

#[test]
fn mutated_pickles_in_sound_archives_never_panic() {
    let archives: Vec<_> = fixtures().iter().filter_map(|file| entries(file)).collect();
    assert!(archives.len() > 20);
    for seed in 0..iterations() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut entries = archives[rng.random_range(0..archives.len())].clone();
        let (_, pickled) = entries.iter_mut().find(|(name, _)| name.ends_with("/data.pkl")).unwrap();
        mutate(pickled, &mut rng);
        try_to_read(&archive(&entries));
    }
}

#[test]
fn random_pickles_never_panic() {
    const OPCODES: &[u8] = b"(012NJKMGXTUBC)t]}aesucRbQqrhj\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96";
    const NAMES: [&[u8]; 4] = [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
        b"c__torch__\nM\n",
    ];
    for seed in 0..iterations() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = vec![pickle::PROTO, 4];
        for _ in 0..rng.random_range(1..200) {
            match rng.random_range(0..10) {
                0 => bytes.extend_from_slice(NAMES[rng.random_range(0..NAMES.len())]),
                1 => bytes.extend_from_slice(b"\x8c\x07storage"),
                // Pushing outweighs popping, so that streams get far.
                2..=5 => bytes
                    .extend_from_slice([&b"N"[..], b"K\x02", b"]", b"}", b"(", b")"][rng.random_range(0..6)]),
                _ => {
                    bytes.push(OPCODES[rng.random_range(0..OPCODES.len())]);
                    bytes.resize(bytes.len() + rng.random_range(0..2), 0);
                }
            }
        }
        bytes.push(b'.');
        try_to_unpickle(&bytes);
    }
}

#[test]
fn every_fixture_cut_anywhere_never_panics() {
    for file in fixtures() {
        let step = (file.len() / 40).max(1);
        for length in (0..file.len()).step_by(step) {
            try_to_read(&file[..length]);
        }
    }
}

/// A text opcode.
fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
}

fn find(pickled: &[u8], limits: &Limits) -> CheckpointError {
    let pickle = pickle::read(pickled, limits).unwrap();
    choice::find(&pickle, &[], limits).unwrap_err()
}

#[test]
fn modules_that_double_at_each_level_are_bounded() {
    let module = |inner: &[u8]| {
        let parts = [text("_parameters"), b"}".to_vec(), text("_modules"), b"}(".to_vec(), inner.to_vec()];
        [&b"cm\nM\n)\x81}("[..], &parts.concat(), b"uub"].concat()
    };
    let mut pickled = vec![pickle::PROTO, 2];
    pickled.extend(module(b""));
    for _ in 0..40 {
        pickled.extend(b"q\x000");
        let inner = [text("a"), b"h\x00".to_vec(), text("b"), b"h\x00".to_vec()].concat();
        pickled.extend(module(&inner));
    }
    pickled.push(b'.');
    let error = find(&pickled, &Limits::default());
    assert!(matches!(&error, CheckpointError::Limit { bound: "walk_steps_max", .. }), "{error}");
}

#[test]
fn a_dict_that_holds_itself_is_walked_once() {
    let pickled = [&b"\x80\x02}q\x00"[..], &text("me"), b"h\x00s."].concat();
    assert_eq!(
        find(&pickled, &Limits::default()).to_string(),
        "no tensors found: the file holds a dict with keys me; \
         expected a state dict, a checkpoint with one, or a module"
    );
}

#[test]
fn deep_nesting_is_bounded() {
    let mut pickled = vec![pickle::PROTO, 2];
    pickled.push(b'N');
    pickled.resize(100_000, 0x85);
    pickled.push(b'.');
    let error = find(&pickled, &Limits::default());
    assert!(matches!(&error, CheckpointError::Limit { bound: "nesting_max", .. }), "{error}");
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    // 30 names for one storage of 4 bytes, each repeated to 2^26 elements by a stride of 0.
    let tensor = [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x01tQK\x00J\x00\x00\x00\x04\x85K\x00\x85\x89NtR",
    ]
    .concat();
    let mut pickled = vec![pickle::PROTO, 2, b'}'];
    for at in 0..30 {
        pickled.extend([&text(&format!("t{at}"))[..], &tensor, b"s"].concat());
    }
    pickled.push(b'.');
    let file = archive(&[("a/data.pkl".into(), pickled), ("a/data/0".into(), vec![0; 4])]);
    let error = read(&file, &[], &Limits::default()).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::Limit { bound: "total_bytes_max" | "sharing_factor_max", .. }),
        "{error}"
    );
}

#[test]
fn big_endian_files_are_refused() {
    let file =
        archive(&[("a/data.pkl".into(), b"\x80\x02}.".to_vec()), ("a/byteorder".into(), b"big".to_vec())]);
    assert_eq!(read(&file, &[], &Limits::default()).unwrap_err(), CheckpointError::BigEndian);
}

#[test]
fn an_archive_of_something_else_says_what_it_holds() {
    let file = archive(&[("word/document.xml".into(), b"<x/>".to_vec())]);
    let error = read(&file, &[], &Limits::default()).unwrap_err().to_string();
    assert_eq!(error, "zip archive: it has no data.pkl, it holds word/document.xml");
}
