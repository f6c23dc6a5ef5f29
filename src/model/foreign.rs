//! Files that are no model, and what people took for one: each is called what it is, with what to do.
//!
//! A download that brought a pointer or a web page in place of the weights, an archive around them, and
//! models of other tools.

use super::advice;

/// How much of a file is looked at.
pub const BEGINNING_BYTES: usize = 4_096;
/// How much of a text an error shows, in characters.
const EXCERPT_CHARACTERS: usize = 60;
/// Where a tar archive says what it is.
const TAR_MAGIC_AT: usize = 257;
/// A tar archive's record, and where the size of what follows stands in it.
const TAR_RECORD_BYTES: u64 = 512;
const TAR_SIZE_AT: std::ops::Range<usize> = 124..136;
/// The most members of an archive that an error lists.
const MEMBERS_TOLD_MAX: usize = 4;

/// What files begin with, what that is, and what to do.
const BEGINNINGS: [(&[u8], &str); 18] = [
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file that it stands for: fetch that with `git lfs pull`",
    ),
    (
        b"version https://hawser",
        "a Git LFS pointer, not the file that it stands for: fetch that with `git lfs pull`",
    ),
    (
        b"\x1f\x8b",
        "a file compressed with gzip: unpack it with `gunzip` (or `tar xzf`) and name what was in it",
    ),
    (
        b"\xfd7zXZ\0",
        "a file compressed with xz: unpack it with `unxz` (or `tar xJf`) and name what was in it",
    ),
    (b"BZh", "a file compressed with bzip2: unpack it with `bunzip2` (or `tar xjf`) and name what was in it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd: unpack it with `unzstd` and name what was in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and name what was in it"),
    (b"Rar!", "a RAR archive: unpack it and name what was in it"),
    (
        b"\x93NUMPY",
        "a NumPy array: put arrays into a dict of torch.from_numpy(...) by the layers' names, and torch.save that",
    ),
    (b"GGUF", "a GGUF model of a language model's runtime, which is not read here"),
    (b"%PDF", "a PDF document, not a model"),
    (b"\x7fELF", "a program, not a model"),
    (b"\xca\xfe\xba\xbe", "a program, not a model"),
    (b"\xfe\xed\xfe\xed", "a Java key store, not a model"),
    (b"PAR1", "a Parquet table, not a model"),
    (b"SQLite format 3", "an SQLite database, not a model"),
    (b"\x89PNG", "a picture, not a model"),
    (b"\xff\xd8\xff", "a picture, not a model"),
];

/// What `file`, of which nobody knows the format, is; nothing where it looks like no kind that is known here.
pub fn name(file: &[u8]) -> Option<String> {
    if file.is_empty() {
        return Some("an empty file: fetch it again".to_owned());
    }
    let known = BEGINNINGS.iter().find(|(beginning, _)| file.starts_with(beginning));
    if let Some((_, what)) = known {
        return Some((*what).to_owned());
    }
    if file.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return Some(tar(file));
    }
    if is_safetensors(file) {
        return Some("safetensors: let its name end in .safetensors".to_owned());
    }
    if is_onnx(file) {
        return Some("an ONNX model: let its name end in .onnx, and it is read as one".to_owned());
    }
    tool(file).map(|(what, advice)| format!("{what}: {advice}")).or_else(|| text(file))
}

/// What another tool's model is, and how it is exported.
fn tool(file: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |word: &[u8]| {
        let beginning = &file[..file.len().min(BEGINNING_BYTES)];
        beginning.windows(word.len()).any(|window| window == word)
    };
    if file.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Some(("HDF5, a Keras or TensorFlow model perhaps", advice::KERAS));
    }
    if file.get(4..8) == Some(b"TFL3") {
        return Some(("a TensorFlow Lite model", advice::KERAS));
    }
    if file.get(4..6) == Some(b"ET")
        && file.get(6..8).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    {
        return Some(("a program for ExecuTorch", advice::PYTORCH));
    }
    if file.starts_with(b"CBM1") {
        return Some(("a model of CatBoost", advice::CATBOOST));
    }
    // XGBoost's binary, its UBJSON, and its JSON; LightGBM's text.
    if file.starts_with(b"binf") || (file.starts_with(b"{") && has(b"learner") && has(b"gradient_booster")) {
        return Some(("a model of XGBoost", advice::XGBOOST));
    }
    if file.starts_with(b"tree\n") && has(b"num_class") {
        return Some(("a model of LightGBM", advice::LIGHTGBM));
    }
    if has(b"saved_model_schema_version") || (has(b"serve") && has(b"tensorflow")) {
        return Some(("a SavedModel of TensorFlow", advice::KERAS));
    }
    None
}

/// What a text is that stands where a file should: a pointer, a page, a server's word.
pub fn text(file: &[u8]) -> Option<String> {
    let beginning = &file[..file.len().min(BEGINNING_BYTES)];
    let beginning = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // It may end in the middle of a letter.
        Err(error) if beginning.len() < file.len() && error.error_len().is_none() => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let trimmed = beginning.trim_start_matches('\u{feff}').trim_start();
    if trimmed.chars().any(|letter| letter.is_control() && !letter.is_whitespace()) {
        return None;
    }
    let lower = trimmed.to_ascii_lowercase();
    if lower.starts_with("version https://git-lfs") {
        return Some(BEGINNINGS[0].1.to_owned());
    }
    if lower.starts_with("<!doctype html")
        || lower.starts_with("<html")
        || lower.contains("<head")
        || lower.contains("<body")
    {
        let title =
            tag(trimmed, &lower, "title").map(|title| format!(" ({:?})", excerpt(title))).unwrap_or_default();
        return Some(format!(
            "an HTML page{title}, such as a login or an error: fetch the file itself, as a browser that is logged in does"
        ));
    }
    let what = match trimmed.chars().next()? {
        '<' => "XML, such as a storage's error",
        '{' | '[' => "JSON, such as a server's error, or a description",
        _ => "a text",
    };
    Some(format!("{what} ({:?}), not a model: look at it, and fetch the file again", excerpt(trimmed)))
}

/// The content of the first such tag.
fn tag<'a>(text: &'a str, lower: &str, name: &str) -> Option<&'a str> {
    let start = lower.find(&format!("<{name}"))?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</")?;
    text.get(start..end).map(str::trim)
}

fn excerpt(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default().trim();
    match first.char_indices().nth(EXCERPT_CHARACTERS) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first.to_owned(),
    }
}

fn is_safetensors(file: &[u8]) -> bool {
    let Some((length, rest)) = file.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.trim_ascii_start().starts_with(b"{\"")
}

/// A protocol buffer whose first field is a small version, and that has a producer or a graph with names of
/// ONNX in it.
fn is_onnx(file: &[u8]) -> bool {
    let beginning = &file[..file.len().min(BEGINNING_BYTES)];
    let has = |word: &[u8]| beginning.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    matches!(file, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..])
        && [&b"onnx"[..], b"pytorch", b"keras", b"Gemm", b"MatMul", b"Conv"].iter().any(|word| has(word))
}

/// PyTorch wrote such archives until 0.1.11; other people put files into them.
fn tar(file: &[u8]) -> String {
    let members = tar_members(file);
    if members.iter().any(|member| member == "pickle") && members.iter().any(|member| member == "storages") {
        return "the tar format that PyTorch wrote until 0.1.11: load it with a current PyTorch (`torch.load(..., weights_only=False)`, of a file \
                that you trust) and save its state_dict() again"
            .to_owned();
    }
    let mut what = "a tar archive".to_owned();
    let listed: Vec<_> = members.iter().take(MEMBERS_TOLD_MAX).map(|member| excerpt(member)).collect();
    if !listed.is_empty() {
        let more = if members.len() > listed.len() { ", ..." } else { "" };
        what.push_str(&format!(" (with {}{more})", listed.join(", ")));
    }
    what + ": unpack it with `tar xf` and name the file of weights in it"
}

/// The names in a tar archive, without its directories.
fn tar_members(file: &[u8]) -> Vec<String> {
    const MEMBERS_MAX: usize = 64;
    let mut members = Vec::new();
    let mut at = 0u64;
    while members.len() < MEMBERS_MAX
        && let Some(record) =
            usize::try_from(at).ok().and_then(|at| file.get(at..)).and_then(|rest| rest.get(..512))
        && record[0] != 0
    {
        let name = record[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        members.push(
            String::from_utf8_lossy(name)
                .trim_start_matches("./")
                .chars()
                .filter(|letter| !letter.is_control())
                .collect(),
        );
        let digits = String::from_utf8_lossy(&record[TAR_SIZE_AT]);
        let Ok(bytes) = u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8) else { break };
        at = at.saturating_add(TAR_RECORD_BYTES).saturating_add(bytes.next_multiple_of(TAR_RECORD_BYTES));
    }
    members
}

/// What a pickle is that PyTorch did not write, by the classes that it names, with `found`, what it holds.
pub fn pickle(file: &[u8], found: &str) -> String {
    const ARRAYS: &str =
        "put arrays into a dict of torch.from_numpy(...) by the layers' names, and torch.save that";
    // What holds another: scikit-learn's pipelines hold boosters, and all of them hold arrays.
    const TOOLS: [(&[u8], &str, &str); 8] = [
        (b"xgboost", "a model of XGBoost", advice::XGBOOST),
        (b"lightgbm", "a model of LightGBM", advice::LIGHTGBM),
        (b"catboost", "a model of CatBoost", advice::CATBOOST),
        (b"sklearn", "a model of scikit-learn", advice::SKLEARN),
        (b"pyod", "a detector of PyOD", advice::SKLEARN),
        (b"keras", "a model of Keras", advice::KERAS),
        (b"pandas", "a table of pandas", "it holds no model"),
        (b"numpy", "arrays of NumPy", ARRAYS),
    ];
    let beginning = &file[..file.len().min(BEGINNING_BYTES)];
    let tool = TOOLS.iter().find(|(word, ..)| beginning.windows(word.len()).any(|window| window == *word));
    match tool {
        Some((_, tool, advice)) => {
            format!("a plain pickle with {tool} ({found}), which is not read: {advice}")
        }
        None => format!(
            "a plain pickle ({found}), not what torch.save writes: load it where it was made and save its state_dict() with torch.save, or {}",
            advice::PYTORCH
        ),
    }
}

/// What a zip archive without PyTorch's `data.pkl` is, by the names in it.
pub fn zip(names: &[String]) -> Option<String> {
    let ends = |end: &str| names.iter().find(|name| name.to_ascii_lowercase().ends_with(end));
    // What `torch.export.save` writes (.pt2), and what `torch.package` does.
    if ends("archive_format").is_some() || ends("serialized_exported_program.json").is_some() {
        return Some(String::from(
            "a program of torch.export, which is code and not read: `torch.onnx.export(torch.export.load(\"model.pt2\"), f=\"model.onnx\")`, \
             then `nearfar convert model.onnx DIR`",
        ));
    }
    if let Some(inner) =
        [".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar"].iter().find_map(|end| ends(end))
    {
        return Some(format!("a zip archive with {} in it: unpack it and name that file", excerpt(inner)));
    }
    if ends("model.weights.h5").is_some() || ends(".h5").is_some() {
        return Some(format!("a Keras model: {}", advice::KERAS));
    }
    if ends("saved_model.pb").is_some() {
        return Some(format!("a zip archive with a SavedModel of TensorFlow in it: {}", advice::KERAS));
    }
    if ends(".data/extern_modules").is_some() {
        return Some(format!("a torch.package, which holds code and is not read: {}", advice::PYTORCH));
    }
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        return Some("NumPy arrays (.npz): put them into a dict of torch.from_numpy(...) by the layers' names, and torch.save that".to_owned());
    }
    if ends(".onnx").is_some() {
        return Some("a zip archive with an ONNX model in it: unpack it and name the .onnx".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(names: &[&str]) -> Vec<u8> {
        let mut file = Vec::new();
        for name in names {
            let mut record = [0; 512];
            record[..name.len()].copy_from_slice(name.as_bytes());
            record[124..136].copy_from_slice(b"00000000003\0");
            record[257..262].copy_from_slice(b"ustar");
            file.extend_from_slice(&record);
            let mut content = [0; 512];
            content[..3].copy_from_slice(b"abc");
            file.extend_from_slice(&content);
        }
        file.resize(file.len() + 1_024, 0);
        file
    }

    #[test]
    fn what_stands_in_place_of_a_model_is_called_what_it_is() {
        for (file, parts) in [
            (b"".to_vec(), &["an empty file"][..]),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4749\n".to_vec(),
                &["Git LFS pointer", "git lfs pull"],
            ),
            (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>".to_vec(), &["HTML page", "\"Sign in\""]),
            (b"\xef\xbb\xbf\r\n  <HTML lang=en><body>404".to_vec(), &["HTML page"]),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>".to_vec(), &["XML", "AccessDenied"]),
            (b"{\"error\": \"not found\"}".to_vec(), &["JSON", "not found"]),
            (b"Not Found".to_vec(), &["a text (\"Not Found\")"]),
            (b"\x1f\x8b\x08\0".to_vec(), &["gzip", "gunzip"]),
            (b"\xfd7zXZ\0\0".to_vec(), &["xz"]),
            (
                b"\x89HDF\r\n\x1a\n\0".to_vec(),
                &["HDF5", "Keras", "tf2onnx", "`nearfar convert model.onnx DIR`"],
            ),
            (b"\x18\0\0\0ET12".to_vec(), &["ExecuTorch", "torch.onnx.export"]),
            (b"CBM1\0\0".to_vec(), &["CatBoost", "format=\"onnx\""]),
            (
                b"{\"learner\":{\"attributes\":{},\"gradient_booster\":{".to_vec(),
                &["XGBoost", "onnxmltools.convert_xgboost"],
            ),
            (b"tree\nversion=v4\nnum_class=1\n".to_vec(), &["LightGBM", "onnxmltools.convert_lightgbm"]),
            (b"\x93NUMPY\x01\0".to_vec(), &["NumPy"]),
            (b"\x08\x08\x12\x07pytorch\x1a\x032.1".to_vec(), &["ONNX", "end in .onnx"]),
            (b"\x1c\0\0\0TFL3\x14".to_vec(), &["TensorFlow Lite", "tf2onnx"]),
            ([&14u64.to_le_bytes()[..], b"{\"a\":{}}      "].concat(), &[".safetensors"]),
            (tar_of(&["sys_info", "pickle", "tensors", "storages"]), &["until 0.1.11", "state_dict()"]),
            (
                tar_of(&["./model/weights.pt", "README"]),
                &["a tar archive (with model/weights.pt, README)", "tar xf"],
            ),
        ] {
            let found = name(&file).unwrap_or_else(|| panic!("{file:?} has no name"));
            assert!(parts.iter().all(|part| found.contains(part)), "{found}");
        }
        for unknown in [&b"\x01\x02\x03\x04"[..], b"\x00", &[0xff; 600]] {
            assert_eq!(name(unknown), None);
        }
    }

    #[test]
    fn archives_and_pickles_of_other_tools_come_with_their_export() {
        let zip = |name: &str| zip(&["m/version".to_owned(), name.to_owned()]).unwrap();
        for (found, parts) in [
            (zip("m/archive_format"), ["torch.export", "torch.export.load("]),
            (zip("m/.data/extern_modules"), ["torch.package", "torch.onnx.export(model"]),
            (zip("model.weights.h5"), ["Keras", "tf2onnx"]),
            (zip("m/saved_model.pb"), ["SavedModel", "--saved-model"]),
            (
                pickle(b"\x80\x04csklearn.ensemble._iforest\nIsolationForest", "x"),
                ["scikit-learn", "skl2onnx"],
            ),
            (pickle(b"\x80\x04clightgbm.sklearn\nLGBMClassifier", "x"), ["LightGBM", "convert_lightgbm"]),
            (pickle(b"\x80\x04c__main__\nNet", "an object"), ["(an object)", "torch.onnx.export"]),
        ] {
            assert!(parts.iter().all(|part| found.contains(part)), "{found}");
        }
    }

    #[test]
    fn a_damaged_tar_archive_ends() {
        let mut file = tar_of(&["a", "b"]);
        file[124..136].copy_from_slice(b"77777777777\0");
        assert_eq!(tar_members(&file), ["a"]);
        file[124..136].copy_from_slice(b"xxxxxxxxxxx\0");
        assert_eq!(tar_members(&file), ["a"]);
    }
}
