use std::io::Write;
use std::process::{Command, Stdio};

use crate::Folder;

#[test]
fn every_shell_gets_a_script() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.run(&["completions", shell]).ok();
        for word in ["train", "dry-run", "runs", "parity"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let ended = folder.run(&["completions", "tcsh"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("bash") && ended.err.contains("fish"), "{}", ended.err);
}

/// The script as bash itself runs it.
#[test]
fn bash_completes_commands_and_flags() {
    let script = Folder::new().run(&["completions", "bash"]).ok();
    let complete = |line: &str| -> Option<Vec<String>> {
        let words: Vec<&str> = line.split(' ').collect();
        let array: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let last = words.len() - 1;
        let asked = format!(
            "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_parallax parallax '{}' '{}'\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            array.join(" "),
            words[last],
            words[last - 1]
        );
        let mut bash = Command::new("bash");
        let bash = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut bash = bash.ok()?;
        bash.stdin.take()?.write_all(asked.as_bytes()).ok()?;
        let output = bash.wait_with_output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.lines().map(str::to_owned).collect())
    };
    let Some(commands) = complete("parallax tr") else {
        println!("skipped: there is no bash");
        return;
    };
    assert!(commands.contains(&"train".to_owned()), "{commands:?}");
    assert_eq!(complete("parallax train --dry").unwrap(), ["--dry-run"]);
    let runs = complete("parallax runs ").unwrap();
    for command in ["list", "show", "diff"] {
        assert!(runs.contains(&command.to_owned()), "{runs:?}");
    }
}
