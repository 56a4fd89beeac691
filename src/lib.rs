#![doc = "The native half of oxicache; the bindings join the engine when the branches meet."]

pub mod engine;
