//! The pages of documentation are those that the recipes and results make.

use std::fs;
use std::path::Path;

use parallax_systems::{markdown, systems};

#[test]
fn every_system_has_its_page_and_the_page_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/systems");
    let all = systems().unwrap();
    for system in &all {
        let path = folder.join(format!("{}.md", system.recipe.slug));
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            page,
            markdown(system),
            "{}: run \"parallax systems docs -o docs/systems\"",
            path.display()
        );
    }
    let pages = fs::read_dir(folder).unwrap().count();
    assert_eq!(pages, all.len(), "pages without a recipe");
}
