//! The systems that there are, and what committed results say of them.

use std::fmt;

use serde::Serialize;

use crate::{Error, Fidelity, Recipe, Reproduction, Result, Verdict, carried};

/// What is known of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is there, and its recipe has not been run.
    Implemented,
    /// All its claims hold.
    Reproduced,
    /// All its claims hold, of what is largely our reading of an abstract.
    Reconstructed,
    /// No claim fails, and for one at least the runs do not decide.
    Undecided,
    /// A claim does not hold.
    DoesNotHold,
    /// The recipe was changed after its results.
    Stale,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Implemented => "implemented",
            Status::Reproduced => "reproduced",
            Status::Reconstructed => "reconstructed",
            Status::Undecided => "undecided",
            Status::DoesNotHold => "does not hold",
            Status::Stale => "stale",
        })
    }
}

/// A system with its recipe, and its results where there are some.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// The recipe.
    pub recipe: Recipe,
    /// The results that come with the program.
    pub result: Option<Reproduction>,
}

impl System {
    /// What the results say.
    pub fn status(&self) -> Status {
        let Some(result) = &self.result else { return Status::Implemented };
        if result.recipe_sha256 != self.recipe.sha256() {
            return Status::Stale;
        }
        match (result.verdict(), self.recipe.fidelity) {
            (Verdict::Holds, Fidelity::Specified) => Status::Reproduced,
            (Verdict::Holds, Fidelity::Reconstructed) => Status::Reconstructed,
            (Verdict::Undecided, _) => Status::Undecided,
            (Verdict::DoesNotHold, _) => Status::DoesNotHold,
        }
    }
}

/// Every system that has a recipe, by name.
///
/// # Errors
/// A recipe or a result that cannot be read, which a test of this crate excludes for those that come with it.
pub fn systems() -> Result<Vec<System>> {
    carried::RECIPES.iter().map(|(slug, text)| system(slug, text)).collect()
}

fn system(slug: &str, text: &str) -> Result<System> {
    let recipe = Recipe::parse(slug, text)?;
    let result = carried::RESULTS.iter().find(|(of, _)| *of == slug).map(|(_, text)| {
        serde_json::from_str(text).map_err(|e| Error::recipe(format!("recipes/results/{slug}.json"), e))
    });
    Ok(System { recipe, result: result.transpose()? })
}

/// The system of this name.
///
/// # Errors
/// A name that none has, with the nearest that there is.
pub fn find(name: &str) -> Result<System> {
    match carried::RECIPES.iter().find(|(slug, _)| *slug == name) {
        Some((slug, text)) => system(slug, text),
        None => {
            let names: Vec<&str> = carried::RECIPES.iter().map(|(slug, _)| *slug).collect();
            Err(parallax::Error::unknown_name("system", name, &names).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_and_results_that_come_along_can_be_read_and_are_of_each_other() {
        let all = systems().unwrap();
        assert!(!all.is_empty());
        for system in &all {
            // What a recipe says is a run, of both arms; data need not be there.
            assert!(!system.recipe.title.is_empty() && !system.recipe.usage.is_empty());
            if let Some(result) = &system.result {
                assert_eq!(result.slug, system.recipe.slug);
                for claim in &result.claims {
                    assert_eq!(
                        claim.verdict,
                        Some(Verdict::of(&claim.difference, claim.margin)),
                        "{}",
                        claim.name
                    );
                }
            }
        }
        for (slug, _) in carried::RESULTS {
            assert!(
                all.iter().any(|system| system.recipe.slug == *slug),
                "a result without a recipe: {slug}"
            );
        }
        assert!(find("no-such-system").unwrap_err().hint().is_some());
    }
}
