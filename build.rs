//! Tells the program which commit it is built from, where that is known: `NEARFAR_COMMIT`, the repository
//! that it stands in, or what `cargo package` noted. Anywhere else it is built all the same, and says no
//! commit.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "NEARFAR_COMMIT";
/// Digits of a commit that are told.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let told = std::env::var(VARIABLE).ok();
    let commit = told.or_else(from_repository).or_else(from_package).map(|commit| commit.trim().to_owned());
    if let Some(commit) = commit.filter(|commit| is_commit(commit)) {
        println!("cargo:rustc-env={VARIABLE}={}", &commit[..commit.len().min(DIGITS)]);
    }
}

fn is_commit(text: &str) -> bool {
    text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that is checked out. Not that of a repository further up, which has this one's sources among
/// others.
fn from_repository() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // What names the commit: HEAD, and the branch that it names.
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD".to_owned(), "packed-refs".to_owned()].into_iter().chain(branch) {
        let file = git(&["rev-parse", "--git-path", &name]).filter(|file| Path::new(file).exists());
        file.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The commit that `cargo package` wrote into a crate: `{"git": {"sha1": "..."}}`.
fn from_package() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}
