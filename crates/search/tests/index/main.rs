//! The index through its public face: exactness, filters, writing, damage, old versions.

mod codes;
mod damage;
mod exact;
mod filters;
mod rows;
mod version_1;
mod writing;
