//! An argon2 hash as it is written down, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`: the whole range of RFC
//! 9106, within a bound on its work.
//!
//! The form is the one of the reference implementation and of the PHC string format. What programs write
//! differs in small things that do not change the hash (padding, the order of parameters), and in one that
//! does: without a version it is the first one.

use std::fmt;

use argon2::{Algorithm, Argon2, AssociatedData, Params, ParamsBuilder, Version};
use base64ct::{Base64Unpadded, Encoding};
use subtle::ConstantTimeEq;

use super::hash_fields::{base64, decimal};

/// The most memory that checking one password may take, in KiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1_024;
/// Memory times passes, in KiB: beyond, one login would take more than a second.
const ARGON2_WORK_KIB_MAX: u64 = 1_024 * 1_024;
/// The shortest salt and hash that RFC 9106 knows, in bytes.
const SALT_BYTES_LEAST: usize = argon2::MIN_SALT_LEN;
const HASH_BYTES_LEAST: usize = Params::MIN_OUTPUT_LEN;

/// A stored hash.
#[derive(Clone)]
pub struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// Hashes `password` with argon2id at the crate's defaults, which are OWASP's: 19 MiB, 2 passes, 1 lane.
    pub fn new(password: &[u8]) -> Result<Self, String> {
        let salt: [u8; 16] = rand::random();
        let mut hashed = Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params: Params::DEFAULT,
            salt: salt.to_vec(),
            hash: vec![0; Params::DEFAULT_OUTPUT_LEN],
        };
        hashed.hash =
            hashed.derive(password).map_err(|error| format!("the password cannot be hashed: {error}"))?;
        Ok(hashed)
    }

    /// Whether `text` says to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("$argon2")
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = text.split('$').skip(1).peekable();
        let algorithm = algorithm(fields.next().unwrap_or_default())?;
        // The first version was never written down.
        let version = match fields.next_if(|field| field.starts_with("v=")) {
            Some(field) => version(field)?,
            None => Version::V0x10,
        };
        let (Some(parameters), Some(salt), Some(hash), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(format!(
                "not a whole argon2 hash: found {} fields, expected $argon2id$v=19$m=...,t=...,p=...$salt$hash",
                text.split('$').skip(1).count()
            ));
        };
        let params = Parameters::parse(parameters)?.params()?;
        let (salt, hash) = (base64("salt", salt, SALT_BYTES_LEAST)?, base64("hash", hash, HASH_BYTES_LEAST)?);
        Ok(Self { algorithm, version, params, salt, hash })
    }

    /// Whether this is `password`. Takes as long for a wrong one as for the right one.
    pub fn is(&self, password: &[u8]) -> bool {
        self.derive(password).is_ok_and(|derived| derived.ct_eq(&self.hash).into())
    }

    fn derive(&self, password: &[u8]) -> argon2::Result<Vec<u8>> {
        let mut derived = vec![0; self.hash.len()];
        Argon2::new(self.algorithm, self.version, self.params.clone()).hash_password_into(
            password,
            &self.salt,
            &mut derived,
        )?;
        Ok(derived)
    }
}

impl fmt::Display for Argon2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, version, params, salt, hash } = self;
        let (name, version) = (algorithm.as_str(), u32::from(*version));
        write!(f, "${name}$v={version}$m={},t={},p={}", params.m_cost(), params.t_cost(), params.p_cost())?;
        if !params.data().is_empty() {
            write!(f, ",data={}", Base64Unpadded::encode_string(params.data()))?;
        }
        write!(f, "${}${}", Base64Unpadded::encode_string(salt), Base64Unpadded::encode_string(hash))
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    [Algorithm::Argon2id, Algorithm::Argon2i, Algorithm::Argon2d]
        .into_iter()
        .find(|algorithm| algorithm.as_str() == name)
        .ok_or_else(|| format!("found the algorithm {name:?}, expected argon2id, argon2i or argon2d"))
}

fn version(field: &str) -> Result<Version, String> {
    match field {
        "v=19" => Ok(Version::V0x13),
        "v=16" => Ok(Version::V0x10),
        _ => Err(format!("found {field:?}, expected v=19 or v=16, the versions of argon2 that there are")),
    }
}

/// What stands between the version and the salt.
#[derive(Default)]
struct Parameters {
    memory_kib: Option<u32>,
    passes: Option<u32>,
    lanes: Option<u32>,
    data: Option<AssociatedData>,
}

impl Parameters {
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for parameter in text.split(',') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let repeated = match name {
                "m" => found.memory_kib.replace(number(name, value)?).is_some(),
                "t" => found.passes.replace(number(name, value)?).is_some(),
                "p" => found.lanes.replace(number(name, value)?).is_some(),
                "data" => found.data.replace(associated_data(value)?).is_some(),
                "keyid" => {
                    return Err(
                        "found argon2 with a secret key (keyid=), which this node does not have: set the \
                         password anew with `nearfar passwd`"
                            .to_owned(),
                    );
                }
                _ => return Err(format!("found argon2 with {parameter:?}, expected m=...,t=...,p=...")),
            };
            if repeated {
                return Err(format!("found argon2 with {name}= twice, expected m=...,t=...,p=..."));
            }
        }
        Ok(found)
    }

    /// The parameters, complete and within the bounds.
    fn params(self) -> Result<Params, String> {
        let missing = |name| format!("found argon2 without {name}=, expected m=...,t=...,p=...");
        let memory_kib = self.memory_kib.ok_or_else(|| missing("m"))?;
        let passes = self.passes.ok_or_else(|| missing("t"))?;
        let lanes = self.lanes.ok_or_else(|| missing("p"))?;
        let work_kib = u64::from(memory_kib) * u64::from(passes);
        if memory_kib > ARGON2_MEMORY_KIB_MAX || work_kib > ARGON2_WORK_KIB_MAX {
            return Err(format!(
                "found argon2 with m={memory_kib}, t={passes}, expected m at most {ARGON2_MEMORY_KIB_MAX} and m times t at \
                 most {ARGON2_WORK_KIB_MAX}: set the password anew with `nearfar passwd`"
            ));
        }
        let mut params = ParamsBuilder::new();
        params.m_cost(memory_kib).t_cost(passes).p_cost(lanes);
        if let Some(data) = self.data {
            params.data(data);
        }
        params.build().map_err(|_| {
            format!(
                "found argon2 with m={memory_kib}, t={passes}, p={lanes}, expected t and p of at least 1 and m of at least \
                 8 times p"
            )
        })
    }
}

fn number(name: &str, value: &str) -> Result<u32, String> {
    decimal(value).ok_or_else(|| format!("found argon2 with {name}={value}, expected a whole number"))
}

fn associated_data(value: &str) -> Result<AssociatedData, String> {
    let bytes = base64("associated data", value, 0)?;
    AssociatedData::new(&bytes).map_err(|_| {
        format!(
            "the associated data (data=) has {} bytes, at most {} are allowed",
            bytes.len(),
            AssociatedData::MAX_LEN
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the reference implementation (argon2's test.c), all for the password "password" and the
    /// salt "somesalt".
    const REFERENCE: [&str; 8] = [
        "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        "$argon2i$m=256,t=2,p=2$c29tZXNhbHQ$tsEVYKap1h6scGt5ovl9aLRGOqOth+AMB+KwHpDFZPs",
        "$argon2i$v=16$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        // The order of parameters and padding mean nothing.
        "$argon2id$v=19$p=2,t=2,m=256$c29tZXNhbHQ=$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc=",
    ];

    #[test]
    fn every_algorithm_version_and_form_of_the_reference_is_read() {
        for text in REFERENCE {
            let read = Argon2Hash::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert!(read.is(b"password") && !read.is(b"passwort"), "{text}");
            let again = Argon2Hash::parse(&read.to_string()).unwrap();
            assert!(again.is(b"password"), "{read}");
        }
    }

    /// A hash of those lengths, of `algorithm` and `version`.
    fn made(
        algorithm: Algorithm,
        version: Version,
        lanes: u32,
        salt: usize,
        hash: usize,
        data: &[u8],
    ) -> Argon2Hash {
        let mut params = ParamsBuilder::new();
        params.m_cost(8 * lanes).t_cost(1).p_cost(lanes).data(AssociatedData::new(data).unwrap());
        let params = params.build().unwrap();
        let mut made = Argon2Hash { algorithm, version, params, salt: vec![7; salt], hash: vec![0; hash] };
        made.hash = made.derive(b"secret").unwrap();
        made
    }

    #[test]
    fn the_whole_range_of_lengths_and_lanes_is_read() {
        for algorithm in [Algorithm::Argon2id, Algorithm::Argon2i, Algorithm::Argon2d] {
            for version in [Version::V0x10, Version::V0x13] {
                for (lanes, salt, hash, data) in [
                    (1, 8, 4, &b""[..]),
                    (1, 9, 5, b"x"),
                    (3, 16, 32, &[0xff; 32]),
                    (4, 48, 65, b""),
                    (255, 64, 64, b""),
                    (1, 1_024, 1_024, b""),
                ] {
                    let written = made(algorithm, version, lanes, salt, hash, data).to_string();
                    let read =
                        Argon2Hash::parse(&written).unwrap_or_else(|problem| panic!("{written}: {problem}"));
                    assert!(
                        read.to_string() == written && read.is(b"secret") && !read.is(b"Secret"),
                        "{written}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_it_is_refused_in_words() {
        let refused = |text: &str, part: &str| {
            let problem = Argon2Hash::parse(text).err().unwrap_or_else(|| panic!("{text} is read"));
            assert!(problem.contains(part), "{text}: {problem}");
        };
        let hash = "c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY";
        for (head, part) in [
            ("$argon2x$v=19$m=256,t=2,p=1$", "\"argon2x\""),
            ("$argon2id$v=20$m=256,t=2,p=1$", "\"v=20\""),
            ("$argon2id$v=19$m=256,t=2$", "without p="),
            ("$argon2id$v=19$m=256,t=2,p=1,p=1$", "p= twice"),
            ("$argon2id$v=19$m=256,t=2,p=1,x=1$", "\"x=1\""),
            ("$argon2id$v=19$m=256,t=2,p=1,keyid=AAAA$", "secret key"),
            ("$argon2id$v=19$m=256,t=2,p=+1$", "p=+1"),
            ("$argon2id$v=19$m=256,t=,p=1$", "t="),
            ("$argon2id$v=19$m=256,t=0,p=1$", "at least 1"),
            ("$argon2id$v=19$m=256,t=1,p=33$", "8 times p"),
            ("$argon2id$v=19$m=256,t=1,p=4294967295$", "8 times p"),
            ("$argon2id$v=19$m=262145,t=1,p=1$", "at most 262144"),
            ("$argon2id$v=19$m=262144,t=5,p=1$", "most 1048576"),
            ("$argon2id$v=19$", "found 4 fields"),
        ] {
            refused(&format!("{head}{hash}"), part);
        }
        refused("$argon2id$v=19$m=256,t=2,p=1$c29tZXM$/U3YPXYsSb3q9XxHvc0MLw", "the salt has 5 bytes");
        refused("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$/U3Y", "the hash has 3 bytes");
        refused("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$!", "the hash is not base64");
        let long = "A".repeat(1_368);
        refused(&format!("$argon2id$v=19$m=256,t=2,p=1${long}$/U3YPXYsSb3q9XxHvc0MLw"), "1026 bytes");
    }
}
