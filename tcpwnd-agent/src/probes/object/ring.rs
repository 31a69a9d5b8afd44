//! The object for the ring buffer: settings are globals.

use aya::maps::RingBuf;

use super::{Constant, Loaded, Parts, RING, loader, mapped, mapping, refused};
use crate::probes::AttachError;
use crate::transport::{Records, Ring};

pub fn load(parts: &Parts<'_>) -> Result<Loaded, AttachError> {
    let fields = Constant(parts.fields);
    let config = Constant(parts.settings.config);
    let traits = &parts.traits;
    let mut loader = loader(parts);
    loader
        .override_global("FIELDS", &fields, true)
        .override_global("CONFIG", &config, true)
        .override_global("SYN_SKB_ARG", &traits.syn_skb_arg, true)
        .override_global("COOKIE_HASH_ARGS", &traits.cookie_hash_args, true)
        .override_global("CHECK_REQ_ARGS", &traits.check_req_args, true)
        .override_global("BPF_REQUESTS", &traits.bpf_requests, true)
        .map_max_entries("EVENTS", parts.settings.ring_bytes);
    let mut ebpf = loader
        .load(RING)
        .map_err(|source| refused(source, parts.host))?;
    #[cfg(feature = "debug-log")]
    crate::probes::log::start(&mut ebpf).map_err(mapping("AYA_LOGS"))?;
    let map = ebpf
        .take_map("EVENTS")
        .ok_or(AttachError::Incomplete("map EVENTS"))?;
    let buffer = RingBuf::try_from(map).map_err(|_| AttachError::Incomplete("ring EVENTS"))?;
    let ring = Ring::new(buffer).map_err(mapping("EVENTS"))?;
    let (counters, listeners) = mapped(&ebpf, parts.cpus)?;
    Ok(Loaded {
        ebpf,
        records: Records::Ring(ring),
        counters,
        listeners,
    })
}
