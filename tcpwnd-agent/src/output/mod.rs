//! How findings, figures and errors leave the agent.
//!
//! Constraint: decides nothing. What is shown was judged and counted in `tcpwnd-core`.

mod clients;
pub mod confirmation;
pub mod connections;
pub mod exposition;
mod former;
pub mod gate;
pub mod held_back;
pub mod http;
pub mod impact;
mod itself;
pub mod json;
mod listener;
mod listening;
pub mod log;
pub mod metrics;
pub mod owner;
pub mod ports;
pub mod question;
pub mod recent;
pub mod reconnect;
pub mod remedy;
pub mod risk;
pub mod scan;
pub mod summary;
pub mod table;
