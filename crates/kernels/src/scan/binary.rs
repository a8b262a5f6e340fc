//! Hamming distances.
