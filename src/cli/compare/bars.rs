//! How an experiment gets on: a bar on standard error where that is a terminal, otherwise a line.

use indicatif::ProgressBar;

use crate::cli::{output, progress};
use crate::trial::{Part, Progress};

/// The bar of the part that runs.
#[derive(Default)]
pub struct Bars {
    drawn: Option<ProgressBar>,
}

impl Progress for Bars {
    fn say(&mut self, sentence: &str) {
        output::complain(sentence);
    }

    fn begin(&mut self, part: &Part) {
        let style = "{msg} {bar:40} {pos}/{len} answers, {elapsed}";
        // A part on a simulated clock is over before a bar is looked at.
        let is_seen = part.is_real && progress::is_seen();
        let bar = is_seen.then(|| progress::bar(part.requests as u64, style).ok()).flatten();
        match bar {
            Some(bar) => self.drawn = Some(bar.with_message(part.what.clone())),
            None => output::complain(&part.what),
        }
    }

    fn answered(&mut self) {
        if let Some(bar) = &self.drawn {
            bar.inc(1);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }
}
