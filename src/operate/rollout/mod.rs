//! Rollouts: read from clusters, judged by gates, led by a stage machine that proposes and never acts.

pub mod ask;
pub mod cluster;
pub mod config;
pub mod gate;
pub mod look;
pub mod read;
pub mod record;
pub mod stage;
