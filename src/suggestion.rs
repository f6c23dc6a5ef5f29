//! The known name that was probably meant by an unknown one.
//!
//! A wrong guess costs more than none: whoever wrote `gru` meant a layer, and `gelu` is none. So only slips
//! are guessed at: letters that were changed, left out, doubled or swapped, words in another order, and names
//! that were cut short.

/// The longest name that is compared; what is longer is no slip, and may be hostile.
const NAME_CHARACTERS_MAX: usize = 128;
/// The shortest beginning from which a name is told.
const BEGINNING_CHARACTERS_LEAST: usize = 3;

/// The entry of `known` that `name` most probably stands for, if it looks like a slip of one.
pub fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > NAME_CHARACTERS_MAX {
        return None;
    }
    let known: Vec<_> =
        known.into_iter().filter(|known| known.chars().count() <= NAME_CHARACTERS_MAX).collect();
    let same = |key: fn(&str) -> String| {
        let wanted = key(name);
        known.iter().copied().find(|known| key(known) == wanted)
    };
    same(letters)
        .or_else(|| same(words))
        .or_else(|| continued(name, &known))
        .or_else(|| misspelt(name, &known))
        .or_else(|| cut_short(name, &known))
}

/// The letters alone, in lower case: `Batch-Max` is `batch_max`.
fn letters(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The words in one order.
fn words(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut words: Vec<_> = lower.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The only one that goes on with further words, such as a unit, or that the name goes on from.
fn continued<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let goes_on =
        |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_'));
    only(known, |known| goes_on(known, name)).or_else(|| only(known, |known| goes_on(name, known)))
}

fn only<'a>(known: &[&'a str], is_meant: impl Fn(&str) -> bool) -> Option<&'a str> {
    let mut found = known.iter().copied().filter(|known| is_meant(known));
    found.next().filter(|_| found.next().is_none())
}

/// The nearest one within the slips that a name of its length has.
fn misspelt<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |known: &&'a str| (strsim::osa_distance(&name, &known.to_lowercase()), *known);
    // Another number is another thing: `conv2d` is no slip of `conv1d`. So is another letter that stands for
    // something: `h_rms` is no slip of `v_rms`, nor `acc_x` or `accx` of the next axis.
    known
        .iter()
        .filter(|known| digits(known).eq(digits(&name)))
        .filter(|known| initials(known).eq(initials(&name)) && !differs_by_axis(known, &name))
        .map(distance)
        .filter(|(slips, known)| *slips <= slips_max(name.chars().count().min(known.chars().count())))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

fn digits(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(char::is_ascii_digit)
}

/// The words of one letter.
fn initials(name: &str) -> impl Iterator<Item = String> {
    let words = name.split(['_', '-', '.', ' ']).filter(|word| word.chars().count() == 1);
    words.map(str::to_lowercase)
}

/// Whether an axis is all that the two differ by.
fn differs_by_axis(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let mut differing = one.chars().zip(other.chars()).filter(|(one, other)| one != other);
    let is_axis = |letter: char| ('x'..='z').contains(&letter);
    one.chars().count() == other.chars().count()
        && differing.next().is_some_and(|(one, other)| is_axis(one) && is_axis(other))
        && differing.next().is_none()
}

/// How many slips are likely in a name of so many characters.
fn slips_max(characters: usize) -> usize {
    match characters {
        0 | 1 => 0,
        2..=4 => 1,
        5..=9 => 2,
        _ => 3,
    }
}

/// The one that begins with `name`, or the only one that has it as a whole word.
fn cut_short<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.chars().count() < BEGINNING_CHARACTERS_LEAST {
        return None;
    }
    only(known, |known| known.starts_with(name))
        .or_else(|| only(known, |known| known.split('_').any(|word| word == name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told() {
        let keys = [
            "model",
            "batch_max",
            "queue_requests_max",
            "latency_ms",
            "latent",
            "workers",
            "max_connections",
            "state",
        ];
        for (name, known) in [
            ("mdoel", "model"),
            ("modle", "model"),
            ("modell", "model"),
            ("Model", "model"),
            ("batch-max", "batch_max"),
            ("batchMax", "batch_max"),
            ("max_batch", "batch_max"),
            ("batch_mx", "batch_max"),
            ("queue_request_max", "queue_requests_max"),
            ("worker", "workers"),
            ("max_conections", "max_connections"),
            ("stat", "state"),
            ("latency", "latency_ms"),
            ("queue", "queue_requests_max"),
            ("model_id", "model"),
            ("connections", "max_connections"),
        ] {
            assert_eq!(meant(name, keys), Some(known), "{name}");
        }
    }

    #[test]
    fn what_is_something_else_is_not_guessed_at() {
        let layers = [
            "linear",
            "batch_norm",
            "conv1d",
            "max_pool1d",
            "lstm",
            "repeat",
            "flatten",
            "relu",
            "leaky_relu",
            "gelu",
            "elu",
            "silu",
            "sigmoid",
            "tanh",
            "softplus",
            "dropout",
        ];
        for name in [
            "gru",
            "rnn",
            "conv2d",
            "conv3d",
            "max_pool2d",
            "relu6",
            "transformer",
            "attention",
            "embedding",
            "mish",
            "x",
            "",
            "layer_norm",
            "softmax",
            "softmin",
            "bilstm",
        ] {
            assert_eq!(meant(name, layers), None, "{name}");
        }
        for (name, known) in
            [("vib_y", "vib_x"), ("vib_y", "vib_x [g]"), ("accx", "accy"), ("h_rms", "v_rms"), ("ax", "ay")]
        {
            assert_eq!(meant(name, [known]), None, "{name}");
        }
        assert_eq!(meant(&"x".repeat(1_000_000), layers), None);
    }
}
