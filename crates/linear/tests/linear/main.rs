//! Fits against hand-computed numbers, planted answers and invariances.

mod adapters;
mod components;
mod input;
mod selecting;
mod world;
