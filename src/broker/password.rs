//! Passwords as they are stored: argon2id, which we write, and mosquitto's PBKDF2, which we read.
//!
//! A stored password says how much work it is to check, and the file may come from anywhere, so that work has a bound.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64ct::{Base64, Encoding};
use sha2::Sha512;
use std::fmt;
use subtle::ConstantTimeEq;

/// The longest password that is stored, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// PBKDF2 iterations that are accepted: beyond, one login would take more than a second.
const PBKDF2_ITERATIONS_MAX: u32 = 1_000_000;
/// The most memory that checking one password may take, in KiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1_024;
/// Memory times passes, in KiB, for the same reason as the iterations.
const ARGON2_WORK_KIB_MAX: u64 = 1_024 * 1_024;
/// Salts and hashes in mosquitto's form that are accepted, in bytes.
const PBKDF2_BYTES_MAX: usize = 64;
const PBKDF2_BYTES_LEAST: usize = 8;
/// What mosquitto puts in front of PBKDF2-SHA512.
const PBKDF2_PREFIX: &str = "$7$";

/// A stored password.
#[derive(Clone)]
pub(super) enum StoredPassword {
    Argon2id(Box<PasswordHash>),
    Pbkdf2 { iterations: u32, salt: Vec<u8>, hash: Vec<u8> },
}

impl StoredPassword {
    /// Hashes `password` with argon2id at the crate's defaults, which are OWASP's: 19 MiB, 2 passes, 1 lane.
    pub fn new(password: &str) -> Result<Self, String> {
        if password.is_empty() {
            return Err("the password is empty".to_owned());
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(format!(
                "the password has {} bytes, at most {PASSWORD_BYTES_MAX} are allowed",
                password.len()
            ));
        }
        Self::derive(password.as_bytes(), Params::default())
    }

    fn derive(password: &[u8], params: Params) -> Result<Self, String> {
        let salt: [u8; 16] = rand::random();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(password, &salt)
            .map(|hash| Self::Argon2id(Box::new(hash)))
            .map_err(|error| format!("the password cannot be hashed: {error}"))
    }

    /// Reads what stands behind `user:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix(PBKDF2_PREFIX) {
            Some(rest) => parse_pbkdf2(rest),
            None if text.starts_with("$argon2id$") => parse_argon2id(text),
            None => Err("found no password hash that is known, expected $argon2id$... (written by `nearfar passwd`) or \
                 mosquitto's $7$iterations$salt$hash"
                .to_owned()),
        }
    }

    /// Whether this is `password`. Takes as long for a wrong one as for the right one: tens of milliseconds.
    pub fn is(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2id(hash) => Argon2::default().verify_password(password, hash.as_ref()).is_ok(),
            Self::Pbkdf2 { iterations, salt, hash } => {
                let mut derived = vec![0; hash.len()];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut derived);
                derived.ct_eq(hash).into()
            }
        }
    }
}

impl fmt::Display for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2id(hash) => write!(f, "{hash}"),
            Self::Pbkdf2 { iterations, salt, hash } => {
                let (salt, hash) = (Base64::encode_string(salt), Base64::encode_string(hash));
                write!(f, "{PBKDF2_PREFIX}{iterations}${salt}${hash}")
            }
        }
    }
}

fn parse_argon2id(text: &str) -> Result<StoredPassword, String> {
    let hash = PasswordHash::new(text).map_err(|error| format!("not a whole argon2id hash: {error}"))?;
    let params =
        Params::try_from(&hash).map_err(|error| format!("argon2id with wrong parameters: {error}"))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("not a whole argon2id hash: salt or hash is missing".to_owned());
    }
    let (memory_kib, passes) = (params.m_cost(), params.t_cost());
    let work_kib = u64::from(memory_kib) * u64::from(passes);
    if memory_kib > ARGON2_MEMORY_KIB_MAX || work_kib > ARGON2_WORK_KIB_MAX {
        return Err(format!(
            "found argon2id with m={memory_kib}, t={passes}, expected m at most {ARGON2_MEMORY_KIB_MAX} and m times t at \
             most {ARGON2_WORK_KIB_MAX}"
        ));
    }
    Ok(StoredPassword::Argon2id(Box::new(hash)))
}

fn parse_pbkdf2(rest: &str) -> Result<StoredPassword, String> {
    let mut parts = rest.split('$');
    let (Some(iterations), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("found another number of fields, expected $7$iterations$salt$hash".to_owned());
    };
    let expected = format!("expected 1 to {PBKDF2_ITERATIONS_MAX}");
    let iterations = iterations
        .parse()
        .ok()
        .filter(|iterations| (1..=PBKDF2_ITERATIONS_MAX).contains(iterations))
        .ok_or_else(|| format!("found {iterations:?} iterations, {expected}"))?;
    Ok(StoredPassword::Pbkdf2 { iterations, salt: base64("salt", salt)?, hash: base64("hash", hash)? })
}

fn base64(name: &str, text: &str) -> Result<Vec<u8>, String> {
    let bytes = Base64::decode_vec(text).map_err(|_| format!("the {name} is not base64"))?;
    if (PBKDF2_BYTES_LEAST..=PBKDF2_BYTES_MAX).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(format!("the {name} has {} bytes, expected {PBKDF2_BYTES_LEAST} to {PBKDF2_BYTES_MAX}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_is_that_password_alone() {
        let written = StoredPassword::new("correct horse").unwrap().to_string();
        assert!(written.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{written}");
        let read = StoredPassword::parse(&written).unwrap();
        assert_eq!(read.to_string(), written);
        assert!(read.is(b"correct horse"));
        assert!(!read.is(b"correct horsf") && !read.is(b"") && !read.is(b"correct horse "));
    }

    #[test]
    fn the_same_password_is_never_stored_the_same_way() {
        let [one, other] = [1, 2].map(|_| StoredPassword::new("same").unwrap().to_string());
        assert_ne!(one, other);
    }

    #[test]
    fn what_mosquitto_wrote_is_read() {
        // Written by mosquitto_passwd 2.0.11 for the password "press-secret".
        let text = MOSQUITTO;
        let read = StoredPassword::parse(text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.is(b"press-secret") && !read.is(b"press-secres"));
    }

    const MOSQUITTO: &str = "$7$101$gT5Tvpuz72kIjmZJ$eZiBMiY5dA9sk1ktzYN04IODEfmkfNy+MfNdoXzzkzGnfg1/ZGSZCgkeFLJ0z7lfy1GbHmJS+Ch/5uEXfB42aw==";

    #[test]
    fn hostile_work_is_refused_before_it_is_done() {
        for (text, found) in [
            ("$7$4294967295$c2FsdHNhbHQ=$aGFzaGhhc2g=", "\"4294967295\" iterations"),
            ("$7$0$c2FsdHNhbHQ=$aGFzaGhhc2g=", "\"0\" iterations"),
            ("$7$-1$c2FsdHNhbHQ=$aGFzaGhhc2g=", "\"-1\" iterations"),
            ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "m=4194304"),
            ("$argon2id$v=19$m=65536,t=100000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "t=100000"),
        ] {
            let problem = StoredPassword::parse(text).err().unwrap();
            assert!(problem.contains(found), "{problem}");
        }
    }

    #[test]
    fn what_is_not_a_hash_is_refused() {
        for text in [
            "",
            "secret",
            "$6$salt$hash",
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=19456,t=2,p=0$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$7$101",
            "$7$101$c2FsdHNhbHQ=",
            "$7$101$c2FsdHNhbHQ=$aGFzaGhhc2g=$more",
            "$7$101$!$aGFzaGhhc2g=",
            "$7$101$$aGFzaGhhc2g=",
            "$7$101$c2FsdHNhbHQ=$",
        ] {
            assert!(StoredPassword::parse(text).is_err(), "{text}");
        }
    }
}
