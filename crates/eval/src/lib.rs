//! Retrieval measures with declared definitions, and paired significance.
