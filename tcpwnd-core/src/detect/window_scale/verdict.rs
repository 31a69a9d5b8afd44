//! The rules: from a record to a verdict.

use super::evidence::{self, Offer, Told, Used};
use super::paired::{Answer, Paired, is_of_bpf_request, is_of_foreign_cookie};
use super::{
    ChangedInput, Context, Impact, Path, UnverifiedCause, Verdict, cause, impact, proxied,
    recomputed,
};
use crate::label::labels;
use tcpwnd_common::{Child, HandshakeRecord, Outcome, handshake_flags, synack_flags};

/// How much earlier than its measured round-trip time a handshake may have begun: programs do
/// not take effect on all CPUs at once.
const START_SLACK_NS: u64 = 50_000_000;

/// How long after its SYN+ACK an ACK can still make a connection, where nothing was measured:
/// a SYN cookie is taken for up to two minutes (`MAX_SYNCOOKIE_AGE`, include/net/tcp.h), a
/// SYN+ACK repeated for 63 s (`tcp_synack_retries` is 5), a SYN for 127 s (`tcp_syn_retries` is 6).
const LONGEST_HANDSHAKE_NS: u64 = 128_000_000_000;

labels! {
    /// What a disagreement does to one direction.
    Damage {
        /// Nothing: the shift counts have the same effect.
        None = "none",
        /// The sender takes the receiver's window for smaller than it is, and waits.
        TooSmall = "too_small",
        /// The sender takes it for larger than it is, and what exceeds it is dropped.
        Overrun = "overrun",
    }
}

/// The shift counts of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// What the receiver of the data announced: of a connection that this host accepted, for the
    /// receive direction in the SYN+ACK, for the send direction in the SYN; the other way round of
    /// one that it opened. `None` without the option.
    pub announced: Option<u8>,
    /// What this host's socket uses; `None` when it does not scale.
    pub used: Option<u8>,
    /// Binary logarithm of how many times too small the window appears to the sender of the
    /// data; negative when it appears too large.
    pub shrink_log2: i8,
}

impl Direction {
    /// How many times too small the window appears to the sender of the data; below 1 when it
    /// appears too large.
    #[must_use]
    pub fn factor(&self) -> f64 {
        let log2 = self.shrink_log2;
        let power = f64::from(1_u32 << log2.unsigned_abs());
        if log2 < 0 { 1.0 / power } else { power }
    }

    /// What that does.
    #[must_use]
    pub fn damage(&self) -> Damage {
        match self.shrink_log2 {
            0 => Damage::None,
            1.. => Damage::TooSmall,
            _ => Damage::Overrun,
        }
    }
}

/// What was found out about one handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict and its cause.
    pub verdict: Verdict,
    /// How the connection came about.
    pub path: Path,
    /// This host's windows as the peer reads them; `None` when unverified.
    pub receive: Option<Direction>,
    /// The peer's windows as this host reads them; `None` when unverified.
    pub send: Option<Direction>,
    /// What the damage comes to.
    pub impact: Impact,
    /// For a mismatch by cookie: what its shift count is computed from and was not the same when
    /// the SYN+ACK was built and when its ACK came.
    pub inputs: Vec<ChangedInput>,
}

/// The agreement between one SYN+ACK and the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) receive: Direction,
    pub(super) send: Direction,
    agrees: bool,
}

/// Judges a connection that left SYN_RECV.
#[must_use]
pub fn judge(record: &HandshakeRecord, context: &Context) -> Judgement {
    judge_paired(record, Paired::of(record).as_ref(), context)
}

/// The same with what of the record belongs to its connection.
pub(crate) fn judge_paired(
    record: &HandshakeRecord,
    paired: Option<&Paired<'_>>,
    context: &Context,
) -> Judgement {
    match established(record, paired, context) {
        Ok((paired, told, used)) => verified(record, paired, &told, used, context),
        Err(cause) => Judgement {
            verdict: Verdict::Unverified(cause),
            path: path(paired),
            receive: None,
            send: None,
            impact: Impact::measured(record, paired),
            inputs: Vec::new(),
        },
    }
}

/// The SYN+ACK that the peer acted on and the socket that came of it.
fn established<'a>(
    record: &HandshakeRecord,
    paired: Option<&'a Paired<'a>>,
    context: &Context,
) -> Result<(&'a Paired<'a>, Told, Used), UnverifiedCause> {
    if record.child.outcome != Outcome::Established as u8 {
        return Err(UnverifiedCause::NotEstablished);
    }
    let Some(paired) = paired else {
        return Err(without_synack(record, context));
    };
    let used = evidence::used(&record.child).ok_or(UnverifiedCause::Unreadable)?;
    let told = match &paired.proxied {
        None => evidence::told_all(paired).ok_or(UnverifiedCause::Unreadable)?,
        Some(proxied) => match proxied::told(proxied) {
            Err(UnverifiedCause::Synproxy) if proxy_began_before(record, context) => {
                return Err(UnverifiedCause::BeforeStart);
            }
            told => (told?, None),
        },
    };
    let told = acted_on(paired.answer(), told).map_err(|doubt| match doubt {
        Doubt::Earlier if is_older(record, paired, context) => UnverifiedCause::BeforeStart,
        Doubt::Earlier | Doubt::Undecided => UnverifiedCause::TwoSynacks,
    })?;
    Ok((paired, told, used))
}

/// Why no SYN+ACK of this connection is known.
fn without_synack(record: &HandshakeRecord, context: &Context) -> UnverifiedCause {
    let foreign = is_of_foreign_cookie(record);
    if is_of_bpf_request(record) {
        UnverifiedCause::BpfCookie
    } else if has_synack(record) && !foreign {
        UnverifiedCause::StaleRecord
    } else if began_before(&record.child, record.header.ktime_ns, context) {
        UnverifiedCause::BeforeStart
    } else if foreign {
        UnverifiedCause::BpfCookie
    } else {
        UnverifiedCause::NoRecord
    }
}

/// Whether a SYN+ACK that left before the first one that was seen can have left before watching
/// began.
fn is_older(record: &HandshakeRecord, paired: &Paired<'_>, context: &Context) -> bool {
    if paired.proxied.is_some() {
        proxy_began_before(record, context)
    } else {
        began_before(&record.child, record.header.ktime_ns, context)
    }
}

/// Whether a SYN proxy can have answered before watching began; where it cannot be watched at all,
/// that is no excuse. The socket's round-trip time is the one to the proxy, and says nothing.
fn proxy_began_before(record: &HandshakeRecord, context: &Context) -> bool {
    context.sees_synproxy && cookie_is_valid_since(context, record.header.ktime_ns)
}

/// Whether a cookie from before watching began can still be answered at `now`.
fn cookie_is_valid_since(context: &Context, now: u64) -> bool {
    now.saturating_sub(context.watching_since_ktime_ns) <= LONGEST_HANDSHAKE_NS
}

/// Whether there is a SYN+ACK of a listener, of this connection or another.
fn has_synack(record: &HandshakeRecord) -> bool {
    record.record_found != 0 && record.handshake.flags & handshake_flags::SIMULTANEOUS == 0
}

/// Whether a handshake without a record that was over at `now` (nanoseconds of CLOCK_MONOTONIC) can
/// have begun before watching did.
///
/// A smoothed round-trip time that was measured by now is the time from the SYN+ACK to the ACK
/// (`tcp_synack_rtt_meas`, net/ipv4/tcp_input.c), or a little longer for a SYN cookie; cookies and
/// repeated SYN+ACKs have none without timestamps. Where this host connects it is from the SYN to the
/// SYN+ACK, and a repeated SYN has none without timestamps.
pub(super) fn began_before(child: &Child, now: u64, context: &Context) -> bool {
    let since = context.watching_since_ktime_ns;
    if child.srtt_us8 == 0 {
        return cookie_is_valid_since(context, now);
    }
    let took_ns = u64::from(child.srtt_us8) / 8 * 1_000;
    now.saturating_sub(took_ns) <= since.saturating_add(START_SLACK_NS)
}

/// Why it is not known which SYN+ACK the peer acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// On one that left before the first that was seen.
    Earlier,
    /// Nothing decides between two, or the peer acted on one that was not kept.
    Undecided,
}

/// Which SYN+ACK the peer acted on, as far as it matters.
///
/// The ACK echoes the timestamp of the one that the peer took. Without that, two that say the
/// same about windows need no telling apart.
fn acted_on(answer: Answer, (first, other): (Told, Option<Told>)) -> Result<Told, Doubt> {
    let echo = answer.echo;
    let echoed = |told: &Told| echo.is_some() && told.tsval() == echo;
    match (echoed(&first), other.filter(echoed)) {
        (true, None) => return Ok(first),
        (false, Some(other)) => return Ok(other),
        // Two SYN cookies of the same 64 ms can carry the same timestamp: its low 6 bits are not
        // time (`cookie_init_timestamp`, net/ipv4/syncookies.c).
        (true, Some(_)) => {}
        (false, None) => echo_is_of_one_that_said_the_same(answer, &first, other)?,
    }
    match other {
        Some(other) if !says_the_same(&first, &other) => Err(Doubt::Undecided),
        _ => Ok(first),
    }
}

/// Whether an echo that is of no SYN+ACK at hand can be of one that said what the first one said.
///
/// A repeated SYN+ACK of a request does. Each SYN cookie is made anew: it is known only of
/// those that were counted as saying the same, which left after the first.
fn echo_is_of_one_that_said_the_same(
    answer: Answer,
    first: &Told,
    other: Option<Told>,
) -> Result<(), Doubt> {
    let (true, Some(sent), Some(echo)) = (first.cookie, first.tsval(), answer.echo) else {
        return Ok(());
    };
    // Serial numbers (RFC 7323, section 5.2): less than half the range behind is earlier.
    if echo.wrapping_sub(sent) > u32::MAX / 2 {
        Err(Doubt::Earlier)
    } else if other.is_none() && answer.synacks.is_some_and(|synacks| synacks > 1) {
        Ok(())
    } else {
        Err(Doubt::Undecided)
    }
}

/// Whether two SYN+ACKs say the same about windows.
fn says_the_same(first: &Told, other: &Told) -> bool {
    // Of the other one's SYN nothing is known beyond what its request kept.
    first.advertised == other.advertised
        && (first.offer == other.offer || other.offer == Offer::Unseen)
}

fn verified(
    record: &HandshakeRecord,
    paired: &Paired<'_>,
    told: &Told,
    used: Used,
    context: &Context,
) -> Judgement {
    let comparison = compare(told, used);
    let verdict = if !comparison.agrees {
        Verdict::Mismatch(cause::of_mismatch(record, paired, told, used, context))
    } else if used.receive.is_none() {
        Verdict::ScaleLost(cause::of_loss(record, paired, told))
    } else {
        Verdict::Ok
    };
    Judgement {
        verdict,
        path: path(Some(paired)),
        receive: Some(comparison.receive),
        send: Some(comparison.send),
        impact: impact::of(record, paired, told, verdict, &comparison),
        inputs: match verdict {
            Verdict::Mismatch(_) => recomputed::differing(record, paired, told, used, context),
            _ => Vec::new(),
        },
    }
}

/// Compares option or none with option or none, in both directions.
fn compare(told: &Told, used: Used) -> Comparison {
    let offered = match told.offer {
        Offer::Scale(shift) => Some(shift),
        Offer::Nothing | Offer::Unseen => None,
    };
    // Scaling is in effect, in both directions, only if both segments carried the option
    // (RFC 7323, section 2.2): the peer shifts its windows only if the SYN+ACK did.
    let in_effect = told.advertised.and(offered);
    Comparison {
        receive: Direction {
            announced: told.advertised,
            used: used.receive,
            shrink_log2: log2_ratio(used.receive, told.advertised),
        },
        send: Direction {
            announced: offered,
            used: used.send,
            shrink_log2: log2_ratio(in_effect, used.send),
        },
        agrees: told.advertised == used.receive && in_effect == used.send,
    }
}

/// Binary logarithm of 2^`a` / 2^`b`, where no option is a shift of 0.
pub(super) fn log2_ratio(a: Option<u8>, b: Option<u8>) -> i8 {
    // Both are at most 14, see `evidence`.
    a.unwrap_or(0) as i8 - b.unwrap_or(0) as i8
}

fn path(paired: Option<&Paired<'_>>) -> Path {
    match paired {
        None => Path::Unknown,
        Some(paired) if paired.proxied.is_some() => Path::Synproxy,
        Some(paired) if paired.first.flags & synack_flags::FAST_OPEN != 0 => Path::FastOpen,
        Some(paired) if paired.is_cookie() => Path::Cookie,
        Some(_) => Path::Normal,
    }
}
