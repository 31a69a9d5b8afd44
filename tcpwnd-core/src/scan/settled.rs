//! What watching a suspect comes to.

use serde::Serialize;

use crate::label::labels;

labels! {
    /// What came of watching a suspect.
    Outcome {
        /// The peer was told another shift count than the socket uses.
        Mismatch = "mismatch",
        /// The peer reads windows unscaled, as they are sent.
        ScaleLost = "scale_lost",
        /// The peer was not told a smaller one.
        Cleared = "cleared",
        /// What the peer did goes with several.
        Undecided = "undecided",
    }
}

/// What came of watching a suspect, with what was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settled {
    /// What.
    pub verdict: Outcome,
    /// Of a mismatch: the shift count that the peer was told, 0 standing for no option as well;
    /// `None` where only that it is larger than the one in use is known.
    pub advertised: Option<u8>,
    /// Of a mismatch: how many times too small the peer takes this host's windows for.
    pub factor: Option<f64>,
    /// The shift counts that nothing refutes.
    pub consistent: Vec<u8>,
    /// Times, of the newest 32, that the peer stopped at the edge that goes with the verdict, or else
    /// with the count that explains most stops.
    pub stops_at_edge: usize,
    /// Sizes of window among these.
    pub window_sizes: usize,
    /// Times, of the newest 32, that it stopped elsewhere.
    pub other_stops: usize,
    /// Bytes that came in meanwhile.
    pub bytes: u64,
    /// Why it is undecided.
    pub why: Option<&'static str>,
}
