//! One hook a file. Each has its handler, and a program for every mechanism that can carry it.

mod accept_queue;
mod active_open;
mod bpf_request;
mod cookie_check;
mod cookie_hash;
mod make_synack;
mod peer_progress;
mod rcv_state_process;
mod select_window;
mod set_state;
mod states;
mod synproxy;
