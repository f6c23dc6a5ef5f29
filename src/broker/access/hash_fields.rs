//! The fields of a stored hash: numbers, and bytes in base64.

use base64ct::{Base64Unpadded, Encoding};

/// The longest salt and the longest hash, in bytes: sixteen times what programs write.
pub const FIELD_BYTES_MAX: usize = 1_024;

/// Digits alone; what `parse` takes beyond that, such as a plus sign, no program writes.
pub fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// At least `least` bytes of base64, with or without padding.
pub fn base64(name: &str, text: &str, least: usize) -> Result<Vec<u8>, String> {
    let bytes = Base64Unpadded::decode_vec(text.trim_end_matches('='))
        .map_err(|_| format!("the {name} is not base64"))?;
    match bytes.len() {
        length if (least..=FIELD_BYTES_MAX).contains(&length) => Ok(bytes),
        length => Err(format!("the {name} has {length} bytes, expected {least} to {FIELD_BYTES_MAX}")),
    }
}
