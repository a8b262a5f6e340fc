//! An index with attributes, and a search among the rows that a filter keeps.
//!
//! ```sh
//! cargo run --release -p parallax --example filtered_search
//! ```

use parallax::Model;
use parallax::index::store::{Batch, Filter, Index, IndexConfig, IndexWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::load("starter")?;
    let rows = [
        ("a1", "My invoice shows the wrong amount", r#"{"topic": "billing", "year": 2023}"#),
        ("a2", "I was charged twice for one order", r#"{"topic": "billing", "year": 2025}"#),
        ("a3", "The parcel arrived broken", r#"{"topic": "delivery", "year": 2025}"#),
        ("a4", "Where is my refund", r#"{"topic": "billing", "year": 2025}"#),
    ];
    let texts: Vec<String> = rows.iter().map(|row| row.1.to_owned()).collect();
    let ids: Vec<String> = rows.iter().map(|row| row.0.to_owned()).collect();
    let attributes = rows.iter().map(|row| serde_json::from_str(row.2)).collect::<Result<Vec<_>, _>>()?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tickets");
    let config = IndexConfig { model: Some("starter".into()), ..IndexConfig::default() };
    let mut writer = IndexWriter::create(&path, config)?;
    let vectors = model.encode(&texts)?;
    writer.add(Batch { vectors: vectors.as_slice(), ids: &ids, texts: &texts, attributes: &attributes })?;
    writer.finish()?;

    let index = Index::open(&path)?;
    let filter = Filter::parse("topic = 'billing' AND year >= 2024")?;
    let query = model.encode(["you took the money two times"])?;
    for hit in &index.search(query.as_slice(), 3, Some(&filter))?[0] {
        println!("{:.3}  {}  {}", hit.score, hit.id, hit.text.unwrap_or_default());
    }
    Ok(())
}
