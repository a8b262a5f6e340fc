//! The whole life of an embedding model as one library: Model, run config, pipeline.
