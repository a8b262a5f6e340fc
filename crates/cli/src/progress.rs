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
