//! What `--cost` and `--path` say: a site's name, if there is one, and numbers of microseconds.

use std::time::Duration;

use crate::lab::CostModel;
use crate::trial::Said;
use crate::trial::virtual_time::Path;

/// Reads `--cost`.
///
/// # Errors
/// When there are not two numbers.
pub fn cost(text: &str) -> Result<Said<CostModel>, String> {
    let (site, numbers) = parts(text);
    let parts = numbers.split_once(',').and_then(|(batch, row)| Some((time(batch)?, time(row)?)));
    let (per_batch, per_row) = parts.ok_or_else(|| {
        format!(
            "found {numbers:?}, expected two numbers of microseconds with a comma between them, such as 12.5,0.8"
        )
    })?;
    Ok(Said { site, value: CostModel { per_batch, per_row } })
}

/// Reads `--path`.
///
/// # Errors
/// When there is something else than numbers.
pub fn path(text: &str) -> Result<Said<Path>, String> {
    let (site, numbers) = parts(text);
    let quantiles = numbers.split(',').map(time).collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!(
            "found {numbers:?}, expected numbers of microseconds with commas between them, such as 180 or 150,180,400"
        )
    })?;
    Ok(Said { site, value: Path::new(quantiles) })
}

/// The site's name, if there is one, and the numbers.
fn parts(text: &str) -> (Option<String>, &str) {
    match text.rsplit_once('=') {
        Some((site, numbers)) => (Some(site.to_owned()), numbers),
        None => (None, text),
    }
}

/// The longest time that can be said: a minute.
const MICROSECONDS_MAX: f64 = 60e6;

fn time(microseconds: &str) -> Option<Duration> {
    let us = microseconds.trim().parse::<f64>().ok().filter(|us| (0.0..=MICROSECONDS_MAX).contains(us))?;
    Some(Duration::from_nanos((us * 1e3).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_says_what_it_costs_and_where() {
        let model = CostModel { per_batch: Duration::from_nanos(12_500), per_row: Duration::from_nanos(800) };
        assert_eq!(cost("12.5,0.8"), Ok(Said::of_all(model)));
        assert_eq!(cost("a=b=12.5, 0.8"), Ok(Said::of("a=b", model)));
        for wrong in ["", "1", "1,", "1,x", "-1,1", "nan,1", "1e9,1"] {
            assert!(cost(wrong).unwrap_err().contains("expected two numbers"), "{wrong}");
        }
        let us = Duration::from_micros;
        assert_eq!(path("a=2,1"), Ok(Said::of("a", Path::new(vec![us(1), us(2)]))));
        assert!(path("1,,2").is_err());
    }
}
