use serde_json::Value as Json;

use super::{named_variants, plain_schema, resolved};

/// Every key of a run file by its dotted path, those of all members of a family of components included, each once:
/// `train.epochs`, `objective.loss`, `objective.loss.temperature`.
pub fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    walk(plain_schema(), "", &mut keys);
    keys
}

fn walk(schema: &Json, path: &str, keys: &mut Vec<String>) {
    let root = plain_schema();
    let schema = resolved(root, schema);
    let add = |key: &str, property: &Json, keys: &mut Vec<String>| {
        let key = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        walk(property, &key, keys);
    };
    if let Some(variants) = named_variants(schema) {
        push(path, keys);
        for (_, variant) in variants {
            for (key, property) in variant["properties"].as_object().into_iter().flatten() {
                if key != "name" {
                    add(key, property, keys);
                }
            }
        }
    } else if let Some(properties) = schema["properties"].as_object() {
        properties.iter().for_each(|(key, property)| add(key, property, keys));
    } else {
        push(path, keys);
    }
}

fn push(path: &str, keys: &mut Vec<String>) {
    if !keys.iter().any(|key| key == path) {
        keys.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_is_there_once() {
        let keys = super::keys();
        for key in [
            "name",
            "seed",
            "data.path",
            "model.path",
            "train.epochs",
            "train.optimizer.lr",
            "objective.loss",
            "objective.loss.temperature",
            "objective.loss.neg_margin",
            "data.split.seen",
            "output.tensorboard",
        ] {
            assert_eq!(keys.iter().filter(|found| *found == key).count(), 1, "{key}");
        }
        assert!(!keys.iter().any(|key| key.is_empty() || key.ends_with(".name")));
    }
}
