//! Behaviour of the engine, through its public names.
