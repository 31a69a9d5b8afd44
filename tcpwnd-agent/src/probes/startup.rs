//! What starting took, step by step: for whoever wonders what a host spends on it.

use std::fmt;
use std::time::{Duration, Instant};

/// The steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Looking at the kernel: its types (BTF), where fields are, which functions there are.
    pub btf: Duration,
    /// Making the maps.
    pub maps: Duration,
    /// Loading the programs, the verifier's time.
    pub load: Duration,
    /// Attaching them.
    pub attach: Duration,
}

impl fmt::Display for Startup {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            btf,
            maps,
            load,
            attach,
        } = self;
        let sum = *btf + *maps + *load + *attach;
        let [sum, btf, maps, load, attach] =
            [sum, *btf, *maps, *load, *attach].map(|step| step.as_secs_f64() * 1e3);
        write!(
            to,
            "attached in {sum:.1} ms: BTF {btf:.1} ms, maps {maps:.1} ms, load {load:.1} ms, attach \
             {attach:.1} ms"
        )
    }
}

/// Measures one step after the other.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// The first step begins.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// What the step took that ends here; the next one begins.
    pub fn lap(&mut self) -> Duration {
        let begun = std::mem::replace(&mut self.0, Instant::now());
        self.0 - begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up() {
        let startup = Startup {
            btf: Duration::from_millis(20),
            maps: Duration::from_micros(1_500),
            load: Duration::from_millis(300),
            attach: Duration::ZERO,
        };
        assert_eq!(
            startup.to_string(),
            "attached in 321.5 ms: BTF 20.0 ms, maps 1.5 ms, load 300.0 ms, attach 0.0 ms"
        );
    }

    #[test]
    fn laps_follow_each_other() {
        let mut watch = Stopwatch::start();
        let begun = watch.0;
        let laps = watch.lap() + watch.lap();
        assert_eq!(laps, watch.0 - begun);
    }
}
