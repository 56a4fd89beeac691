//! What the processes of one host share. Knows no Python.

pub mod segment;
pub mod versions;
