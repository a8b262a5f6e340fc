//! The words of a question: which flags or settings settle it.

/// A role and the column that it could have.
pub(super) type Ask<'a> = (&'a str, &'a str);

/// `--text a --label b (in a run file: data.text = "a", data.label = "b")`. Without columns, the placeholder `COLUMN`
/// stands for them. Negatives have a setting and no flag.
pub(super) fn ask(roles: &[Ask<'_>]) -> String {
    let flags: Vec<String> = roles
        .iter()
        .filter(|(role, _)| *role != "negatives")
        .map(|(role, column)| format!("--{role} {}", shell(column)))
        .collect();
    let keys: Vec<String> = roles
        .iter()
        .map(|(role, column)| match *role {
            "negatives" if column.is_empty() => "data.negatives = []".to_owned(),
            "negatives" => format!("data.negatives = [\"{column}\"]"),
            _ => format!("data.{role} = \"{column}\""),
        })
        .collect();
    if flags.len() == roles.len() {
        format!("{} (in a run file: {})", flags.join(" "), keys.join(", "))
    } else {
        format!("{} in a run file", keys.join(", "))
    }
}

/// A name as a shell takes it.
pub(super) fn shell(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::ask;

    #[test]
    fn both_forms_are_named() {
        assert_eq!(
            ask(&[("text", "body"), ("label", "my class")]),
            "--text body --label 'my class' (in a run file: data.text = \"body\", data.label = \"my class\")"
        );
        assert_eq!(ask(&[("negatives", "")]), "data.negatives = [] in a run file");
    }
}
