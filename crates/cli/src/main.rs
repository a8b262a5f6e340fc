//! The parallax command line: arguments in, results to standard output, everything else to standard error.
//!
//! Exit codes: 0 for success (a reader that closes the pipe early included), 1 for a failure (and for vectors that differ
//! in `doctor parity`), 2 for a usage that makes no sense, 130 after Ctrl-C.

mod args;
mod command;
mod guess;
mod interrupt;
mod output;
mod progress;
mod style;

use std::io::Write;
use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;

/// A command line that makes no sense.
const USAGE: u8 = 2;
/// What a shell expects of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("PARALLAX_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(style::colour())
        .with_env_filter(filter)
        .init();
    let threads = cli.global.threads;
    let result = match parallax::with_threads(threads, || run(cli)) {
        Ok(result) => result,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(parallax::Error::Interrupted)) => {
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            output::report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Help and the version, or what the parser refuses with what to type instead.
fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if let Some(hint) = guess::hint(error, &arguments) {
        let _ = writeln!(std::io::stderr(), "\n{} {hint}", style::hint());
    }
    ExitCode::from(USAGE)
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Train(args) => return command::train(&global, args),
        Command::Tune(args) => return command::tune(&global, args),
        Command::Systems(args) => return command::systems(&global, args),
        Command::Init(args) => command::init(&global, args)?,
        Command::Data(args) => command::data(&global, args)?,
        Command::Convert(args) => command::convert(&global, args)?,
        Command::Index(args) => command::index(&global, args)?,
        Command::Search(args) => command::search(&global, args)?,
        Command::Quickstart(args) => return command::quickstart(&global, args),
        Command::Eval(args) => command::eval(&global, args)?,
        Command::Embed(args) => command::embed(&global, args)?,
        Command::Bench(args) => command::bench(&global, args)?,
        Command::List(args) => command::list(&global, args)?,
        Command::Inspect(args) => command::inspect(&global, args)?,
        Command::Config(args) => command::config(&global, args)?,
        Command::Runs(args) => command::runs(&global, args)?,
        Command::Doctor { command } => return command::doctor(&global, command),
        Command::Completions(args) => command::completions(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
