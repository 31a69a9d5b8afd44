//! Detectors: each is one way in which connections get damaged.

pub mod window_scale;
