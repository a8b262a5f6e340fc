//! Tables, roles, splits, samplers, stored vectors and tokenisation.
