//! Whatever option bytes a peer sends, the parser ends, and agrees with itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpwnd_core::tcp_options::{MAX_SHIFT, parse};

fuzz_target!(|data: &[u8]| {
    let options = parse(data);
    assert!(options.shift().is_none_or(|shift| shift <= MAX_SHIFT));
    // What stands behind the end of the list changes nothing.
    if !options.malformed {
        let mut longer = data.to_vec();
        longer.push(0);
        longer.extend([3, 3, 5]);
        assert_eq!(parse(&longer), options);
    }
});
