//! Progress bars on standard error, and log lines that stay legible beside them.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

use super::output;
use crate::sync::lock;

/// The bar that was drawn last. Logging begins before there is any, and may be asked for from every thread.
static DRAWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// A bar over `length` steps that looks like `template`, and that log lines go past.
///
/// # Errors
/// When the template is none.
pub fn bar(length: u64, template: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(length).with_style(ProgressStyle::with_template(template)?);
    *lock(&DRAWN) = Some(bar.downgrade());
    Ok(bar)
}

/// Whether a bar can be seen at all.
pub fn is_seen() -> bool {
    io::stderr().is_terminal() && !output::is_json()
}

/// Writes a log line to standard error, above the bar where one is drawn.
///
/// # Errors
/// When it cannot be written.
pub fn log(line: &[u8]) -> io::Result<()> {
    let drawn = lock(&DRAWN).clone();
    past(drawn.and_then(|bar| bar.upgrade()).as_ref(), line, &mut io::stderr())
}

fn past(bar: Option<&ProgressBar>, line: &[u8], out: &mut impl Write) -> io::Result<()> {
    match bar {
        Some(bar) if !bar.is_finished() => bar.suspend(|| out.write_all(line)),
        _ => out.write_all(line),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// What a terminal was told, in order: text, and `CLEAR` where a line was wiped.
    #[derive(Debug, Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Told {
        fn add(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
    }

    impl TermLike for Told {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.add(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.add(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.add("CLEAR")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.add(&String::from_utf8_lossy(bytes))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_line_stands_on_a_line_of_its_own_and_the_bar_comes_back() {
        let mut terminal = Told::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bar = ProgressBar::with_draw_target(Some(10), target);
        bar.set_style(ProgressStyle::with_template("{pos} of {len}").unwrap());
        bar.tick();
        terminal.0.lock().unwrap().clear();
        past(Some(&bar), b"WARN the breaker is open\n", &mut terminal).unwrap();
        let told = terminal.0.lock().unwrap().clone();
        let said = told.iter().position(|text| text.starts_with("WARN")).unwrap();
        assert!(told[..said].contains(&"CLEAR".to_owned()), "{told:?}");
        assert!(told[said..].iter().any(|text| text.contains("0 of 10")), "{told:?}");
    }

    #[test]
    fn without_a_bar_a_line_is_only_written() {
        let mut terminal = Told::default();
        let finished = ProgressBar::hidden();
        finished.finish_and_clear();
        for bar in [None, Some(&finished)] {
            past(bar, b"WARN\n", &mut terminal).unwrap();
        }
        assert_eq!(*terminal.0.lock().unwrap(), ["WARN\n", "WARN\n"]);
    }
}
