//! Weights in other files: those beside the model, and no others.

use std::path::Path;

use super::{all, int, model, part, relu, tensor, x, y};
use crate::model::graph::Data;
use crate::model::onnx;

/// A weight of two numbers in another file.
fn outside(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().map(|(key, value)| part(13, all(&[part(1, key), part(2, value)])));
    let entries: Vec<_> = entries.collect();
    model(&[x(), y(), relu(), part(5, tensor("w", 1, &[2], &[entries.concat(), int(14, 1)]))], &[])
}

#[test]
fn weights_in_files_beside_the_model_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let numbers =
        [9.0_f32, 1.5, -2.0, 9.0].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    std::fs::write(directory.path().join("w.bin"), &numbers).unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::fs::write(directory.path().join("sub/w.bin"), &numbers[4..12]).unwrap();
    for entries in [
        &[("location", "w.bin"), ("offset", "4"), ("length", "8"), ("checksum", "of no use")][..],
        &[("location", "./sub/w.bin")],
    ] {
        let graph = onnx::read(&outside(entries), Some(directory.path())).unwrap();
        assert_eq!(graph.constants["w"].data, Data::F32(vec![1.5, -2.0]));
    }
}

#[test]
fn a_model_that_is_named_without_a_directory_is_in_this_one() {
    let file = outside(&[("location", "Cargo.toml"), ("length", "8")]);
    assert!(onnx::read(&file, Path::new("model.onnx").parent()).is_ok());
}

#[test]
fn weights_elsewhere_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("model");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(root.path().join("secret"), [0; 8]).unwrap();
    std::fs::write(directory.join("w.bin"), [0; 8]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", directory.join("link")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("..", directory.join("up")).unwrap();
    let read = |entries: &[(&str, &str)], directory: Option<&Path>| {
        onnx::read(&outside(entries), directory).expect_err("it was read").to_string()
    };
    for (entries, part) in [
        (&[("location", "../secret")][..], "no plain file's name"),
        (&[("location", "/etc/passwd")], "no plain file's name"),
        (&[("location", "a/../w.bin")], "no plain file's name"),
        (&[("location", "")], "no plain file's name"),
        (&[("location", ".")], "no plain file"),
        (&[("location", "c:w.bin")], "no plain file's name"),
        #[cfg(unix)]
        (&[("location", "link")], "leads out of"),
        #[cfg(unix)]
        (&[("location", "up/secret")], "leads out of"),
        (&[("location", "missing.bin")], "no such file"),
        (&[("location", "w.bin"), ("offset", "4"), ("length", "8")], "8 bytes from byte 4"),
        (&[("location", "w.bin"), ("offset", "9")], "from byte 9"),
        (&[("location", "w.bin"), ("offset", "18446744073709551615")], "from byte 18446744073709551615"),
        (&[("location", "w.bin"), ("length", "-1")], "its length is \"-1\""),
        (&[("location", "w.bin"), ("length", "4")], "1 are there"),
        (&[], "no location"),
    ] {
        let error = read(entries, Some(&directory));
        assert!(error.contains(part) && error.contains("\"w\""), "{error}");
    }
    assert!(read(&[("location", "w.bin")], None).contains("without its directory"));
}
