use std::process::Stdio;

use crate::{Ended, Folder, reference};

#[test]
fn usage_errors_end_with_2() {
    let folder = Folder::new();
    for args in [
        &["list", "--precision", "fp4"][..],
        &["train"],
        &["nothing"],
        &[],
        &["eval", "x.npy", "y.csv", "--measure", "recall"],
        &["embed", "m", "x", "-o", "y.npy", "--batch-tokens", "0"],
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
    }
    let precision = folder.run(&["list", "--precision", "fp4"]).err;
    assert!(precision.contains("fp4") && precision.contains("auto, f32, bf16, int8"), "{precision}");
    assert!(folder.run(&["eval", "x.npy", "y.csv", "--measure", "recal@5"]).err.contains("recall@K"));
    assert!(folder.run(&["--version"]).ok().starts_with("parallax "));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = Folder::new();
    let mut command = folder.command(&["list", "losses"]);
    let child = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn a_quiet_run_says_nothing_but_the_result() {
    let folder = Folder::new();
    folder.write("in.txt", "a line\n");
    let bert = reference("bert");
    let ended = folder.run(&["embed", bert.to_str().unwrap(), "in.txt", "-o", "out.npy", "--quiet"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_without_output() {
    use std::io::Write;
    use std::process::Command;
    use std::time::Duration;

    let folder = Folder::new();
    let bert = reference("bert");
    let mut command = folder.command(&["embed", bert.to_str().unwrap(), "-", "-o", "out.npy"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a line\n").unwrap();
    // The output is begun once everything is ready, the handler included.
    let begun = || folder.names().iter().any(|name| name.starts_with(".partial-"));
    for _ in 0..600 {
        if begun() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(300));
    drop(input);
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert_eq!(ended.out, "");
    assert_eq!(folder.names(), [""; 0]);
}
