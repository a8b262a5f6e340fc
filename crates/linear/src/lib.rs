//! Linear maps of stored vectors fitted in closed form: whitening, ridge, Procrustes, discriminants, shrinkage.
