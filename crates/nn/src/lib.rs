//! Layers, encoders, heads and checkpoint folders.
