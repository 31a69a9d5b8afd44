//! How metrics are written: the text format 0.0.4 and OpenMetrics, from one and the same model.
//!
//! Constraint: knows nothing of what is measured. A scrape makes a list of [`Family`], and
//! either encoder takes that list, so that both formats always tell the same.

use std::borrow::Cow;
use std::fmt::{self, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Labels of a sample: names of the format's alphabet, values as they are.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// All samples of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Without the `_total` of counters.
    pub name: &'static str,
    /// One sentence without a full stop at its end.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Labels and value.
    pub samples: Vec<(Labels, f64)>,
}

impl Family {
    /// A counter without samples yet.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: Kind::Counter,
            samples: Vec::new(),
        }
    }

    /// A gauge without samples yet.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: Kind::Gauge,
            samples: Vec::new(),
        }
    }

    /// Adds a sample.
    #[must_use]
    pub fn with(mut self, labels: Labels, value: f64) -> Self {
        self.samples.push((labels, value));
        self
    }

    /// Adds the only sample, where there is a value.
    #[must_use]
    pub fn value(self, value: impl Into<Option<f64>>) -> Self {
        match value.into() {
            Some(value) => self.with(Vec::new(), value),
            None => self,
        }
    }
}

/// What a scraper can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Value of the header Content-Type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Chooses by the header Accept: OpenMetrics where it is wanted at least as much as text.
pub fn negotiate<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    let (mut open, mut text) = (0.0_f32, 0.0_f32);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let weight = weight.map_or(1.0, |q| q.parse().unwrap_or(0.0));
        match kind.as_str() {
            "application/openmetrics-text" => open = open.max(weight),
            "text/plain" | "text/*" | "*/*" => text = text.max(weight),
            _ => {}
        }
    }
    if open > 0.0 && open >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Writes all of it.
///
/// # Errors
/// When a name or a label is not of the format's alphabet.
pub fn encode(families: Vec<Family>, format: Format) -> Result<String, fmt::Error> {
    let mut out = String::new();
    match format {
        Format::Text => write_text(&mut out, &families)?,
        Format::OpenMetrics => {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(Snapshot(families)));
            prometheus_client::encoding::text::encode(&mut out, &registry)?;
        }
    }
    Ok(out)
}

/// What was measured at one moment, as the library wants to have it.
#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metrics = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                let labels: Vec<(&str, &str)> = labels
                    .iter()
                    .map(|(name, value)| (*name, value.as_ref()))
                    .collect();
                let encoder = metrics.encode_family(&labels)?;
                match family.kind {
                    Kind::Counter => ConstCounter::new(*value).encode(encoder)?,
                    Kind::Gauge => ConstGauge::new(*value).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

/// The text format, version 0.0.4. The library's own text has counters' names without `_total`
/// in HELP and TYPE, as OpenMetrics wants it and this format does not.
fn write_text(out: &mut String, families: &[Family]) -> fmt::Result {
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let (kind, suffix) = match family.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let name = family.name;
        writeln!(out, "# HELP {name}{suffix} {}", escaped(family.help, false))?;
        writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        for (labels, value) in &family.samples {
            write!(out, "{name}{suffix}")?;
            for (i, (label, text)) in labels.iter().enumerate() {
                let open = if i == 0 { '{' } else { ',' };
                write!(out, "{open}{label}=\"{}\"", escaped(text, true))?;
            }
            if !labels.is_empty() {
                out.push('}');
            }
            writeln!(out, " {}", number(*value))?;
        }
    }
    Ok(())
}

fn number(value: f64) -> Cow<'static, str> {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        _ => value.to_string().into(),
    }
}

fn escaped(text: &str, quoted: bool) -> Cow<'_, str> {
    if !text.contains(['\\', '\n', '"']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::{Family, Format, encode, negotiate};

    fn sample() -> Vec<Family> {
        vec![
            Family::counter("demo_things", "Things\\seen\nso far")
                .with(
                    vec![("port", "9092".into()), ("path", "a\"b\\c\nd".into())],
                    3.0,
                )
                .with(vec![("port", "other".into()), ("path", "".into())], 0.0),
            Family::gauge("demo_ratio", "A ratio").value(0.5),
            Family::gauge("demo_unknown", "Without a sample").value(None),
        ]
    }

    #[test]
    fn text_format_escapes_and_adds_the_suffix() {
        let expected = concat!(
            "# HELP demo_things_total Things\\\\seen\\nso far\n",
            "# TYPE demo_things_total counter\n",
            "demo_things_total{port=\"9092\",path=\"a\\\"b\\\\c\\nd\"} 3\n",
            "demo_things_total{port=\"other\",path=\"\"} 0\n",
            "# HELP demo_ratio A ratio\n",
            "# TYPE demo_ratio gauge\n",
            "demo_ratio 0.5\n",
        );
        assert_eq!(encode(sample(), Format::Text).unwrap(), expected);
    }

    #[test]
    fn openmetrics_has_the_same_samples_and_its_end() {
        let text = encode(sample(), Format::OpenMetrics).unwrap();
        assert!(text.contains("# TYPE demo_things counter\n"), "{text}");
        let labels = "demo_things_total{port=\"9092\",path=\"a\\\"b\\\\c\\nd\"} 3";
        assert!(text.contains(labels), "{text}");
        assert!(text.contains("\ndemo_ratio{} 0.5\n"), "{text}");
        assert!(!text.contains("demo_unknown"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn format_follows_the_accept_header() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(negotiate([prometheus].into_iter()), Format::OpenMetrics);
        assert_eq!(negotiate(["*/*"].into_iter()), Format::Text);
        assert_eq!(negotiate([].into_iter()), Format::Text);
        let text_first = "text/plain;q=0.9, application/openmetrics-text;q=0.5";
        assert_eq!(negotiate([text_first].into_iter()), Format::Text);
        let refused = "application/openmetrics-text;q=0";
        assert_eq!(negotiate([refused].into_iter()), Format::Text);
    }
}
