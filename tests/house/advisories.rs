//! Keeps crates with a known security advisory out of Cargo.lock, as far as
//! tests/fixtures/advisories.toml knows them.

use std::collections::BTreeMap;
use std::path::Path;

use semver::{Version, VersionReq};
use serde::Deserialize;

#[derive(Deserialize)]
struct Known {
    date: String,
    advisories: Vec<Advisory>,
    /// Why we live with an advisory, by its id.
    accepted: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Advisory {
    id: String,
    package: String,
    /// Versions that one of these allows are safe.
    safe: Vec<VersionReq>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
}

fn read<T: serde::de::DeserializeOwned>(path: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn known() -> Known {
    read("tests/fixtures/advisories.toml")
}

/// The packages that an advisory speaks of, in versions that it does not call safe.
fn affected<'a>(advisory: &Advisory, packages: &'a [Package]) -> Vec<&'a Package> {
    let is_safe = |version: &Version| advisory.safe.iter().any(|safe| safe.matches(version));
    packages.iter().filter(|package| package.name == advisory.package && !is_safe(&package.version)).collect()
}

#[test]
fn no_locked_crate_has_an_advisory_that_is_not_accepted() {
    let (known, lock) = (known(), read::<Lock>("Cargo.lock"));
    let mut faults = Vec::new();
    for advisory in known.advisories.iter().filter(|advisory| !known.accepted.contains_key(&advisory.id)) {
        for package in affected(advisory, &lock.package) {
            let (id, safe) = (&advisory.id, advisory.safe.iter().map(VersionReq::to_string));
            let safe: Vec<_> = safe.collect();
            faults.push(format!("{} {}: {id}, safe: {}", package.name, package.version, safe.join("; or ")));
        }
    }
    let date = &known.date;
    assert!(faults.is_empty(), "advisories as of {date}; run `cargo update -p`:\n{}", faults.join("\n"));
}

#[test]
fn what_is_accepted_still_has_to_be() {
    let (known, lock) = (known(), read::<Lock>("Cargo.lock"));
    for (id, reason) in &known.accepted {
        let advisory = known.advisories.iter().find(|advisory| advisory.id == *id).unwrap();
        assert!(!affected(advisory, &lock.package).is_empty(), "{id} no longer concerns us; remove it");
        assert!(!reason.is_empty(), "{id} is accepted without a reason");
    }
}

#[test]
fn every_advisory_speaks_of_a_locked_crate() {
    let (known, lock) = (known(), read::<Lock>("Cargo.lock"));
    for Advisory { id, package, .. } in &known.advisories {
        let is_locked = lock.package.iter().any(|locked| locked.name == *package);
        assert!(is_locked, "{id}: {package} is not in Cargo.lock; is it misspelt, or gone?");
    }
}

#[test]
fn a_version_is_affected_unless_one_of_the_ranges_holds_it() {
    let advisory = |safe: &[&str]| Advisory {
        id: "X".to_owned(),
        package: "a".to_owned(),
        safe: safe.iter().map(|safe| safe.parse().unwrap()).collect(),
    };
    let packages = |version: &str| {
        ["a", "b"].map(|name| Package { name: name.to_owned(), version: version.parse().unwrap() })
    };
    let ranges = advisory(&["< 1.2.0", ">= 1.2.5"]);
    for (version, count) in [("1.1.9", 0), ("1.2.0", 1), ("1.2.4", 1), ("1.2.5", 0), ("2.0.0", 0)] {
        assert_eq!(affected(&ranges, &packages(version)).len(), count, "{version}");
    }
    assert_eq!(affected(&advisory(&[]), &packages("9.9.9")).len(), 1);
}
