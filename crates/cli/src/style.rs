//! Colour, where somebody looks: never in a pipe or a file, and never where `NO_COLOR` is set.

use std::io::IsTerminal;
use std::sync::LazyLock;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The colours of help and of usage errors.
pub(crate) const HELP: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default())
    .error(ERROR)
    .valid(AnsiColor::Cyan.on_default())
    .invalid(AnsiColor::Yellow.on_default());

/// Whether standard error shows colour. The rules are those that clap has for its own messages, so that a line and its hint
/// look alike: `NO_COLOR` turns it off, `CLICOLOR_FORCE` on, and else a terminal that can show it decides.
pub(crate) fn colour() -> bool {
    static COLOUR: LazyLock<bool> = LazyLock::new(|| {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match std::env::var_os("CLICOLOR") {
            _ if set("NO_COLOR") => false,
            _ if set("CLICOLOR_FORCE") => true,
            Some(value) => value != "0" && std::io::stderr().is_terminal(),
            None => terminal(),
        }
    });
    *COLOUR
}

/// Whether standard error is a terminal that can move its cursor.
pub(crate) fn terminal() -> bool {
    let able = match std::env::var_os("TERM") {
        Some(term) => term != "dumb",
        None => cfg!(windows),
    };
    able && std::io::stderr().is_terminal()
}

/// `error:`
pub(crate) fn error() -> String {
    painted("error:", ERROR)
}

/// `hint:`
pub(crate) fn hint() -> String {
    painted("hint:", HINT)
}

fn painted(text: &str, style: Style) -> String {
    if colour() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
