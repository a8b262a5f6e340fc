//! Distances, pair losses, miners and reducers: one row engine.
