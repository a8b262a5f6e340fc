//! How checkpoints name the parameters of [`super::Encoder`].

use super::Family;

/// The name that `family`'s checkpoints give to one of our parameter paths, such as `layers.3.attention.query.weight`.
///
/// Without the prefix that some checkpoints put before every name (`bert.`, `roberta.`).
pub fn in_checkpoint(family: Family, path: &str) -> String {
    if let Some(rest) = path.strip_prefix("embeddings.") {
        let (module, kind) = rest.split_once('.').unwrap_or((rest, ""));
        let module = match module {
            "word" => "word_embeddings",
            "position" => "position_embeddings",
            "token_type" => "token_type_embeddings",
            _ => "LayerNorm",
        };
        return format!("embeddings.{module}.{kind}");
    }
    if path.starts_with("relative_position.") {
        return "encoder.relative_attention_bias.weight".into();
    }
    let mut parts = path.splitn(3, '.');
    let (_, index, rest) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (module, kind) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let (stack, module) = match family {
        Family::Bert | Family::Roberta => (
            "encoder.layer",
            match module {
                "attention.query" => "attention.self.query",
                "attention.key" => "attention.self.key",
                "attention.value" => "attention.self.value",
                "attention.output" => "attention.output.dense",
                "attention_norm" => "attention.output.LayerNorm",
                "intermediate" => "intermediate.dense",
                "output" => "output.dense",
                _ => "output.LayerNorm",
            },
        ),
        Family::DistilBert => (
            "transformer.layer",
            match module {
                "attention.query" => "attention.q_lin",
                "attention.key" => "attention.k_lin",
                "attention.value" => "attention.v_lin",
                "attention.output" => "attention.out_lin",
                "attention_norm" => "sa_layer_norm",
                "intermediate" => "ffn.lin1",
                "output" => "ffn.lin2",
                _ => "output_layer_norm",
            },
        ),
        Family::MpNet => (
            "encoder.layer",
            match module {
                "attention.query" => "attention.attn.q",
                "attention.key" => "attention.attn.k",
                "attention.value" => "attention.attn.v",
                "attention.output" => "attention.attn.o",
                "attention_norm" => "attention.LayerNorm",
                "intermediate" => "intermediate.dense",
                "output" => "output.dense",
                _ => "output.LayerNorm",
            },
        ),
    };
    format!("{stack}.{index}.{module}.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_the_names_of_each_family() {
        let path = "layers.3.attention.query.weight";
        assert_eq!(in_checkpoint(Family::Bert, path), "encoder.layer.3.attention.self.query.weight");
        assert_eq!(in_checkpoint(Family::DistilBert, path), "transformer.layer.3.attention.q_lin.weight");
        assert_eq!(in_checkpoint(Family::MpNet, path), "encoder.layer.3.attention.attn.q.weight");
        assert_eq!(
            in_checkpoint(Family::Roberta, "layers.11.output_norm.bias"),
            "encoder.layer.11.output.LayerNorm.bias"
        );
        assert_eq!(
            in_checkpoint(Family::MpNet, "relative_position.table.weight"),
            "encoder.relative_attention_bias.weight"
        );
        assert_eq!(in_checkpoint(Family::Bert, "embeddings.norm.weight"), "embeddings.LayerNorm.weight");
    }
}
