//! A partition, or shard: which of several nodes has a device, by a hash of its topic level. The hash is a
//! promise: docs/cluster.md spells it out.

use std::fmt;
use std::str::FromStr;

/// One of several equal parts of all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    number: u64,
    parts: u64,
}

/// The most parts that devices can be divided into.
pub const PARTS_MAX: u64 = 1_024;

/// What is no partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}, expected a part and how many there are, from \"1/1\" to \"{PARTS_MAX}/{PARTS_MAX}\", such as \"2/3\""
)]
pub struct NotAPartition(String);

impl Partition {
    /// Whether this part has the device whose level in its topic is `level`: 64-bit
    /// FNV-1a of the level's bytes, its two halves combined by exclusive or, modulo the
    /// number of parts, is one less than the part's number.
    pub fn has(self, level: &str) -> bool {
        // The low bits alone are a mere parity of the names' low bits: two parts would not
        // share `s11`, `s22`, `s33`.
        let hash = fnv_1a(level.as_bytes());
        ((hash >> 32) ^ (hash & 0xffff_ffff)) % self.parts == self.number - 1
    }

    /// Whether this part has a topic that `filter` matches; the device's level is where the
    /// filter's first `+` is. What matches a filter without one belongs to the first part.
    pub fn has_topic(self, filter: &str, topic: &str) -> bool {
        match filter.split('/').zip(topic.split('/')).find(|(filter, _)| *filter == "+") {
            Some((_, level)) => self.has(level),
            None => self.number == 1,
        }
    }
}

impl FromStr for Partition {
    type Err = NotAPartition;

    fn from_str(text: &str) -> Result<Self, NotAPartition> {
        let parse =
            |part: &str| part.parse::<u64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
        let parts = text.split_once('/').and_then(|(number, parts)| Some((parse(number)?, parse(parts)?)));
        match parts {
            Some((number, parts)) if (1..=parts).contains(&number) && parts <= PARTS_MAX => {
                Ok(Self { number, parts })
            }
            _ => Err(NotAPartition(text.to_owned())),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.parts)
    }
}

/// FNV-1a, 64 bits: offset basis and prime as its authors publish them (Fowler, Noll and Vo).
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(fnv_1a(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn every_device_has_one_part_and_the_parts_are_of_a_size() {
        let names: [fn(u32) -> String; 3] =
            [|n| format!("sensor-{n}"), |n| format!("s{n}{n}"), |n| format!("{:06x}", n * 16)];
        for (name, parts) in names.iter().flat_map(|name| [2, 3, 4, 8].map(|parts| (name, parts))) {
            let all: Vec<Partition> =
                (1..=parts).map(|part| format!("{part}/{parts}").parse().unwrap()).collect();
            let mut sizes = vec![0_usize; all.len()];
            for device in 0..2_400 {
                let topic = format!("plant/{}/request", name(device));
                let owners: Vec<_> =
                    (0..all.len()).filter(|at| all[*at].has_topic("plant/+/request", &topic)).collect();
                assert_eq!(owners.len(), 1, "{topic}");
                sizes[owners[0]] += 1;
            }
            let fair = 2_400 / all.len();
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 4), "{sizes:?}");
        }
    }

    #[test]
    fn who_has_a_device_is_as_documented() {
        for (device, parts) in [
            ("fan", ["1/2", "2/3"]),
            ("pump", ["2/2", "2/3"]),
            ("sensor-1", ["2/2", "3/3"]),
            ("sensor-2", ["1/2", "1/3"]),
        ] {
            assert!(parts.iter().all(|part| part.parse::<Partition>().unwrap().has(device)), "{device}");
        }
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        for text in ["", "1", "0/2", "3/2", "1/0", "+1/2", "1/2000", "a/b", "1/2/3", "-1/2"] {
            assert!(text.parse::<Partition>().is_err(), "{text:?}");
        }
        assert_eq!("2/3".parse::<Partition>().unwrap().to_string(), "2/3");
    }
}
