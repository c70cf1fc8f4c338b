//! Rollouts: read from clusters, judged by gates, led by a stage machine that proposes and never acts.

pub mod cluster;
pub mod gate;
pub mod read;
pub mod stage;
