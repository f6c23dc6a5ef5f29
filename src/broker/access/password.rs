//! Passwords as they are stored: argon2, which we write, and what Mosquitto writes
//! or wrote: PBKDF2 and SHA-512.
//!
//! A stored password says how much work it is to check, and the file may come from
//! anywhere, so that work has a bound.

use std::fmt;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use super::argon2_hash::Argon2Hash;
use super::hash_fields::{base64, decimal};

/// The longest password that is stored, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// PBKDF2 iterations that are accepted: beyond, one login would take more than a second.
const PBKDF2_ITERATIONS_MAX: u32 = 1_000_000;
/// The shortest salt and hash in Mosquitto's form that are accepted, in bytes.
const SALT_BYTES_LEAST: usize = 8;
const HASH_BYTES_LEAST: usize = 8;
/// What Mosquitto puts in front of PBKDF2-SHA512.
const PBKDF2_PREFIX: &str = "$7$";
/// What Mosquitto puts in front of SHA-512: before 1.6.10 it wrote nothing else.
const SHA512_PREFIX: &str = "$6$";
/// The bytes of a SHA-512 hash.
const SHA512_BYTES: usize = 64;

/// A stored password.
#[derive(Clone)]
pub enum StoredPassword {
    Argon2(Box<Argon2Hash>),
    Pbkdf2 {
        iterations: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// SHA-512 of password and salt.
    Sha512 {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl StoredPassword {
    /// Hashes `password`.
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
        Argon2Hash::new(password.as_bytes()).map(|hash| Self::Argon2(Box::new(hash)))
    }

    /// Reads what stands behind `user:`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if Argon2Hash::is_meant(text) {
            return Argon2Hash::parse(text).map(|hash| Self::Argon2(Box::new(hash)));
        }
        if let Some(rest) = text.strip_prefix(PBKDF2_PREFIX) {
            return parse_pbkdf2(rest);
        }
        match text.strip_prefix(SHA512_PREFIX) {
            Some(rest) => parse_sha512(rest),
            None => Err(unknown(text)),
        }
    }

    /// Whether this is `password`. Takes as long for a wrong one as for the right one: tens of milliseconds.
    pub fn is(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(hash) => hash.is(password),
            Self::Pbkdf2 { iterations, salt, hash } => {
                let mut derived = vec![0; hash.len()];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut derived);
                derived.ct_eq(hash).into()
            }
            Self::Sha512 { salt, hash } => Sha512::new()
                .chain_update(password)
                .chain_update(salt)
                .finalize()
                .as_slice()
                .ct_eq(hash)
                .into(),
        }
    }

    /// Whether whoever has the file tries millions of passwords a second against this one.
    pub fn is_weak(&self) -> bool {
        matches!(self, Self::Sha512 { .. })
    }
}

impl fmt::Display for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |bytes: &[u8]| Base64::encode_string(bytes);
        match self {
            Self::Argon2(hash) => write!(f, "{hash}"),
            Self::Pbkdf2 { iterations, salt, hash } => {
                write!(f, "{PBKDF2_PREFIX}{iterations}${}${}", base64(salt), base64(hash))
            }
            Self::Sha512 { salt, hash } => write!(f, "{SHA512_PREFIX}{}${}", base64(salt), base64(hash)),
        }
    }
}

fn parse_pbkdf2(rest: &str) -> Result<StoredPassword, String> {
    let mut parts = rest.split('$');
    let (Some(iterations), Some(salt), Some(hash), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("found another number of fields, expected $7$iterations$salt$hash".to_owned());
    };
    let iterations = decimal(iterations)
        .filter(|iterations| (1..=PBKDF2_ITERATIONS_MAX).contains(iterations))
        .ok_or_else(|| format!("found {iterations:?} iterations, expected 1 to {PBKDF2_ITERATIONS_MAX}"))?;
    let (salt, hash) = (base64("salt", salt, SALT_BYTES_LEAST)?, base64("hash", hash, HASH_BYTES_LEAST)?);
    Ok(StoredPassword::Pbkdf2 { iterations, salt, hash })
}

fn parse_sha512(rest: &str) -> Result<StoredPassword, String> {
    // The system's own passwords begin alike, have a hash of another length, and are hashed in another way.
    let crypt = || {
        "found a hash of crypt(3), as in /etc/shadow, expected Mosquitto's $6$salt$hash or $7$iterations$salt$hash: set \
         the password anew with `nearfar passwd`"
            .to_owned()
    };
    let (salt, hash) = rest.split_once('$').ok_or("found another number of fields, expected $6$salt$hash")?;
    let hash = base64("hash", hash, HASH_BYTES_LEAST)
        .ok()
        .filter(|hash| hash.len() == SHA512_BYTES)
        .ok_or_else(crypt)?;
    Ok(StoredPassword::Sha512 { salt: base64("salt", salt, SALT_BYTES_LEAST)?, hash })
}

/// The sentence for what is none of ours. What stands there may be a password in clear, so it is never shown.
fn unknown(text: &str) -> String {
    let found = match text {
        _ if text.starts_with("$2") => "a bcrypt hash",
        _ if text.starts_with("$scrypt$") || text.starts_with("$s0$") => "an scrypt hash",
        _ if text.starts_with("$y$") => "a yescrypt hash",
        _ if text.starts_with("$1$") || text.starts_with("$5$") || text.starts_with("$apr1$") => {
            "a hash of crypt(3)"
        }
        _ if text.starts_with("PBKDF2$") => "a hash of a Mosquitto plug-in",
        "" => "nothing behind the colon",
        _ => "no password hash that is known",
    };
    format!(
        "found {found}, expected $argon2id$... (written by `nearfar passwd`) or Mosquitto's $7$iterations$salt$hash: set the \
         password anew with `nearfar passwd`"
    )
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
    fn what_mosquitto_wrote_before_1_6_10_is_read_and_is_weak() {
        // SHA-512 of "press-secret" and the salt "abcdefghijkl".
        let text = "$6$YWJjZGVmZ2hpamts$FZdmMsFASGxgAEf37XZnSdSKER3BM3lJFaSeJAbSII0cvVIrjVtDkJ3eXpU45yJAMfr89kcJtsUglIgXX8Yrmw==";
        let read = StoredPassword::parse(text).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.is(b"press-secret") && !read.is(b"press-secres") && read.is_weak());
        assert!(!StoredPassword::parse(MOSQUITTO).unwrap().is_weak());
    }

    #[test]
    fn hashes_of_others_are_named_and_never_shown() {
        for (text, name) in [
            ("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "bcrypt"),
            (
                "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
                "crypt(3)",
            ),
            ("$5$saltsalt$gcBZ", "crypt(3)"),
            ("$y$j9T$abc", "yescrypt"),
            ("$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD", "scrypt"),
            ("PBKDF2$sha512$100000$aaa$bbb", "Mosquitto plug-in"),
            ("letmein", "no password hash that is known"),
        ] {
            let problem = StoredPassword::parse(text).err().unwrap();
            assert!(problem.contains(name) && problem.contains("`nearfar passwd`"), "{problem}");
            assert!(!problem.contains(&text[text.len() - 5..]), "{problem}");
        }
    }

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
            "$6$c2FsdHNhbHQ=$aGFzaGhhc2g=",
            "$7$+1$c2FsdHNhbHQ=$aGFzaGhhc2g=",
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
