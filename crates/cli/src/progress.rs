//! How far the work is: a bar on a terminal, and a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::style;

/// Time between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Progress on standard error.
pub(crate) struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    terminal: bool,
    told: Instant,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Progress { quiet, bar: None, terminal: style::terminal(), told: Instant::now() }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// `done` of `total` steps, described by `text`; 0 for a total that is not known.
    pub(crate) fn step(&mut self, done: u64, total: u64, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal {
            let bar = self.bar.get_or_insert_with(|| bar(total));
            bar.set_position(done);
            bar.set_message(text.to_owned());
        } else if self.told.elapsed() >= PLAIN_EVERY {
            self.told = Instant::now();
            match total {
                0 => eprintln!("{done} {text}"),
                total => eprintln!("{done} of {total} {text}"),
            }
        }
    }

    /// `done` of `total` rows, described by `text`, with their rate since `begun` and, where the total is known, the time left.
    pub(crate) fn rows(&mut self, done: u64, total: u64, text: &str, begun: Instant) {
        self.step(done, total, &rated(done, total, text, begun.elapsed().as_secs_f64()));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What is told of rows that took so many seconds.
fn rated(done: u64, total: u64, text: &str, seconds: f64) -> String {
    if done == 0 || seconds <= 0.0 {
        return text.to_owned();
    }
    let rate = done as f64 / seconds;
    let digits = if rate < 10.0 { 1 } else { 0 };
    if total < done {
        return format!("{text}, {rate:.digits$} rows/s");
    }
    format!("{text}, {rate:.digits$} rows/s, {} left", duration((total - done) as f64 / rate))
}

/// Seconds as a person says them.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

fn bar(total: u64) -> ProgressBar {
    if total == 0 {
        let style = ProgressStyle::with_template("{spinner} {pos} {msg}");
        return styled(ProgressBar::no_length(), style);
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    styled(ProgressBar::new(total), style)
}

fn styled(bar: ProgressBar, style: Result<ProgressStyle, indicatif::style::TemplateError>) -> ProgressBar {
    bar.set_draw_target(ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(12.4), "12 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7265.0), "2 h 1 min");
        assert_eq!(duration(f64::INFINITY), "unknown");
        assert_eq!(duration(-1.0), "0 s");
    }

    #[test]
    fn rates_and_the_time_left_by_hand() {
        assert_eq!(rated(500, 2000, "rows embedded", 2.0), "rows embedded, 250 rows/s, 6 s left");
        assert_eq!(rated(5, 65, "rows embedded", 4.0), "rows embedded, 1.2 rows/s, 48 s left");
        assert_eq!(rated(500, 0, "rows embedded", 2.0), "rows embedded, 250 rows/s");
        assert_eq!(rated(0, 10, "rows embedded", 0.0), "rows embedded");
    }
}
