//! Tests of the gate and of the house.

mod layers;
mod leaves_nothing;
