//! Ctrl-C: the first asks the work to stop in good order, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::INTERRUPTED;

/// A flag that the first Ctrl-C sets; `asked` is said on standard error then.
pub(crate) fn flag(asked: &'static str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let handled = stop.clone();
    let handler = ctrlc::set_handler(move || {
        if handled.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        eprintln!("\n{asked}; Ctrl-C again ends at once");
    });
    if let Err(error) = handler {
        tracing::warn!("Ctrl-C will end the work at once: {error}");
    }
    stop
}
