//! The rules of the reference, each a test, and random clusters; every question is put to the
//! oracle and to everything that computes for a dataplane, and must have one answer.

mod compile;
mod dice;
mod graph;
mod hosts;
mod matching;
mod order;
mod profiles;
mod random;
mod world;
