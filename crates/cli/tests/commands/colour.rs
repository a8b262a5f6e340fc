use crate::{Ended, Folder};

const ESCAPE: char = '\u{1b}';

#[test]
fn a_pipe_gets_no_colour_and_no_bars() {
    let folder = Folder::new();
    folder.run_file("run.toml", "max_steps = 2");
    for args in
        [&["--help"][..], &["train"], &["nothing"], &["train", "missing.toml"], &["train", "run.toml"]]
    {
        let ended = folder.run(args);
        assert!(!ended.out.contains(ESCAPE) && !ended.err.contains(ESCAPE), "{args:?}: {}", ended.err);
        assert!(!ended.err.contains('\r'), "{args:?}");
    }
}

#[test]
fn colour_is_there_where_it_is_asked_for_and_no_color_wins() {
    let folder = Folder::new();
    for args in [&["train"][..], &["serve"], &["train", "missing.toml"]] {
        let with = |variables: &[(&str, &str)]| {
            Ended::from(folder.command(args).envs(variables.iter().copied()).output().unwrap()).err
        };
        let coloured = with(&[("CLICOLOR_FORCE", "1")]);
        assert!(coloured.contains("\u{1b}[1m\u{1b}[31merror:"), "{coloured:?}");
        assert!(coloured.contains("\u{1b}[1m\u{1b}[36mhint:"), "{coloured:?}");
        for variables in [&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")][..], &[("CLICOLOR", "1")], &[]] {
            let plain = with(variables);
            assert!(!plain.contains(ESCAPE), "{variables:?}: {plain:?}");
            assert!(plain.contains("hint: "), "{plain}");
        }
    }
}
