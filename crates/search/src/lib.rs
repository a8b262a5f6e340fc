//! Vector indexes on disk with ids, texts and attributes, and filtered search.
