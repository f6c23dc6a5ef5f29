//! A device's state as words: views of them as numbers, without a copy.

/// The unit of a state: wide enough for each kind of number, and aligned for it.
pub type Word = u64;

/// How many words so many 32-bit numbers take.
pub fn words_of_floats(numbers: usize) -> usize {
    numbers.div_ceil(2)
}

/// The words as 32-bit numbers, two in each.
pub fn floats(words: &mut [Word]) -> &mut [f32] {
    bytemuck::cast_slice_mut(words)
}

/// The words as 64-bit numbers.
pub fn doubles(words: &mut [Word]) -> &mut [f64] {
    bytemuck::cast_slice_mut(words)
}
