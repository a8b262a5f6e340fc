//! What is claimed of a system, and how it is put to the test.

use std::collections::BTreeMap;

use parallax_tune::{Search, Space};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Table;

use crate::source::Source;
use crate::{Error, Result};

/// A system with its claims: a file `recipes/<slug>.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name of the system's file; not part of it.
    #[serde(skip)]
    pub slug: String,
    /// What it is called.
    pub title: String,
    /// Authors, venue, number.
    pub paper: String,
    /// What it is, in a few sentences.
    pub what: String,
    /// How it is asked for in a run file: TOML.
    pub usage: String,
    /// Whether it is known well enough to be called a reproduction.
    pub fidelity: Fidelity,
    /// Choices where the paper is silent, and where this differs; shown on its page.
    #[serde(default)]
    pub choices: Vec<String>,
    /// The data, by names that runs use as `{name}`.
    #[serde(default)]
    pub sources: BTreeMap<String, Source>,
    /// What is claimed.
    pub claims: Vec<Claim>,
}

/// How well a system is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// Its formulas are known; where its claims hold it is reproduced.
    Specified,
    /// It is largely a reading of an abstract; where its claims hold it is reconstructed.
    Reconstructed,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What is claimed, in a sentence.
    pub says: String,
    /// What is compared: two arms that are trained, or one of the experiments of their own.
    #[serde(default)]
    pub experiment: Experiment,
    /// The measure, such as `map@r`.
    pub measure: String,
    /// What the difference must lie above.
    pub margin: f64,
    /// Runs of each arm, paired by seed.
    pub seeds: u64,
    /// The run that both arms share, as in a run file.
    #[serde(default)]
    pub common: Table,
    /// What the system is compared with.
    pub baseline: Arm,
    /// The system.
    pub system: Arm,
    /// What is told beside the result: `train` for the measure on the training rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
    /// How both arms are tuned; not at all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Trials>,
    /// What a quick run changes, so that it takes seconds.
    #[serde(default)]
    pub quick: Table,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    /// Both arms are trained and measured on the test rows.
    #[default]
    Trained,
    /// One model is trained with a part of the classes' rows; the baseline is the mean squared distance from a test embedding to the nearest of its training
    /// embeddings and as many originals more, the system that to the nearest of them and as many mixtures. The lower is the
    /// better.
    Utilisation,
}

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// What it is called in tables.
    pub label: String,
    /// Whether the model is measured as it was, untrained; only for a baseline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// What this arm adds to the run that both share.
    #[serde(default)]
    pub run: Table,
    /// What is tuned for this arm, beside what is tuned for both.
    #[serde(default, skip_serializing_if = "Space::is_empty")]
    pub space: Space,
}

/// How both arms are tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// Trials of each arm.
    pub trials: usize,
    /// Folds of the training rows.
    pub folds: usize,
    /// How points are chosen.
    #[serde(default)]
    pub search: Search,
    /// What is tuned for both arms.
    #[serde(default)]
    pub space: Space,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// What it says that cannot be read, with its place.
    pub fn parse(slug: &str, text: &str) -> Result<Recipe> {
        let file = format!("recipes/{slug}.toml");
        let recipe: Recipe = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let place = line.map_or_else(|| file.clone(), |line| format!("{file}, line {line}"));
            Error::recipe(place, e.message())
        })?;
        let recipe = Recipe { slug: slug.to_owned(), ..recipe };
        recipe.check(&file)?;
        Ok(recipe)
    }

    fn check(&self, file: &str) -> Result<()> {
        if self.claims.is_empty() {
            return Err(Error::recipe(file, "it claims nothing"));
        }
        for claim in &self.claims {
            let place = format!("{file}, claim \"{}\"", claim.name);
            if claim.seeds == 0 {
                return Err(Error::recipe(place, "seeds = 0: nothing would be run"));
            }
            if !claim.margin.is_finite() {
                return Err(Error::recipe(place, "the margin is not a finite number"));
            }
            if claim.system.frozen {
                return Err(Error::recipe(place, "a system that is not trained has nothing to compare"));
            }
            if let Some(tuning) = &claim.tuning {
                for space in [&tuning.space, &claim.baseline.space, &claim.system.space] {
                    space.check().map_err(|e| Error::recipe(place.clone(), e))?;
                }
            }
        }
        let mut names: Vec<&str> = self.claims.iter().map(|claim| claim.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::recipe(file, format!("two claims are called \"{}\"", pair[0])));
        }
        Ok(())
    }

    /// SHA-256 over what decides the results: claims and sources, not the words about them.
    pub fn sha256(&self) -> String {
        let claims: Vec<Claim> = self
            .claims
            .iter()
            .map(|claim| Claim { says: String::new(), quick: Table::new(), ..claim.clone() })
            .collect();
        let text = serde_json::to_string(&(claims, &self.sources)).unwrap_or_default();
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `over` laid over `under`: tables key by key, anything else replaced. A component of another name replaces the whole
/// component.
pub(crate) fn merged(under: &Table, over: &Table) -> Table {
    let mut all = under.clone();
    for (key, value) in over {
        let whole = match (all.get(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                let other_name = new.get("name").is_some_and(|name| Some(name) != old.get("name"));
                (!other_name).then(|| merged(old, new))
            }
            // A bare name is a component with its defaults.
            (Some(toml::Value::String(name)), toml::Value::Table(new)) if !new.contains_key("name") => {
                let old = Table::from_iter([("name".to_owned(), name.clone().into())]);
                Some(merged(&old, new))
            }
            _ => None,
        };
        all.insert(key.clone(), whole.map_or_else(|| value.clone(), toml::Value::Table));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        title = "t"
        paper = "p"
        what = "w"
        usage = "loss = 'x'"
        fidelity = "specified"
        [[claims]]
        name = "one"
        says = "better"
        measure = "map@r"
        margin = 0.0
        seeds = 5
        [claims.common.train]
        epochs = 3
        [claims.baseline]
        label = "b"
        frozen = true
        [claims.system]
        label = "s"
        run.objective.loss = "contrastive"
    "#;

    #[test]
    fn words_do_not_change_what_a_result_is_of_and_numbers_do() {
        let recipe = Recipe::parse("x", TEXT).unwrap();
        let other =
            Recipe::parse("x", &TEXT.replace("better", "clearly better").replace("\"w\"", "\"v\"")).unwrap();
        assert_eq!(recipe.sha256(), other.sha256());
        for (from, to) in
            [("0.0", "0.01"), ("epochs = 3", "epochs = 4"), ("map@r", "mrr"), ("seeds = 5", "seeds = 6")]
        {
            assert_ne!(
                recipe.sha256(),
                Recipe::parse("x", &TEXT.replace(from, to)).unwrap().sha256(),
                "{to}"
            );
        }
    }

    #[test]
    fn what_a_recipe_may_not_say() {
        let refused = |text: String| Recipe::parse("x", &text).unwrap_err().to_string();
        assert!(refused(TEXT.replace("margin", "margn")).contains("recipes/x.toml, line"));
        assert!(refused(TEXT.replace("seeds = 5", "seeds = 0")).contains("seeds = 0"));
        assert!(refused(TEXT.split("[[claims]]").next().unwrap().to_owned()).contains("claims"));
    }

    #[test]
    fn tables_are_laid_over_each_other_and_components_replaced() {
        let under: Table =
            toml::from_str("a = 1\n[t]\nx = 1\ny = 2\n[loss]\nname = 'one'\nmargin = 3").unwrap();
        let over: Table = toml::from_str("[t]\nx = 5\n[loss]\nname = 'two'").unwrap();
        let all = merged(&under, &over);
        assert_eq!(all, toml::from_str::<Table>("a = 1\n[t]\nx = 5\ny = 2\n[loss]\nname = 'two'").unwrap());
        let same: Table = toml::from_str("[loss]\nname = 'one'\nscale = 1").unwrap();
        assert_eq!(merged(&under, &same)["loss"].as_table().unwrap().len(), 3);
        let bare: Table = toml::from_str("loss = 'one'").unwrap();
        let set: Table = toml::from_str("[loss]\nmargin = 1").unwrap();
        assert_eq!(merged(&bare, &set), toml::from_str::<Table>("[loss]\nname = 'one'\nmargin = 1").unwrap());
    }
}
