//! Who listens, in words and in pairs of the log.
//!
//! Constraint: says what is known, and nothing of what is not.

use tcpwnd_core::findings::{Listener, Place, Process};

/// Digits of a container's id that tell it from others, as its runtime shows it.
const SHORT: usize = 12;

/// In one line; `None` where nothing is known.
#[must_use]
pub fn text(process: Option<&Process>, place: &Place) -> Option<String> {
    let process = process.map(|process| {
        let kafka = if process.kafka { "Kafka, " } else { "" };
        let others = match process.others {
            0 => String::new(),
            1 => ", and another process".to_owned(),
            others => format!(", and {others} other processes"),
        };
        format!("{} ({kafka}pid {}{others})", process.name, process.pid)
    });
    let container = place.container.as_ref().map(|container| {
        let id = container.id.get(..SHORT).unwrap_or(&container.id);
        format!("{} {id}", container.runtime.unwrap_or("container"))
    });
    let pod = place.pod.as_ref().map(|pod| format!("pod {}", pod.uid));
    let parts: Vec<_> = [process, container, pod, place.unit.clone()]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// As keys and values of a log line, without spaces.
#[must_use]
pub fn pairs(listener: &Listener) -> Vec<(&'static str, String)> {
    let word = |text: &str| text.replace(char::is_whitespace, "_");
    let process = listener.process.as_ref();
    let place = &listener.place;
    let container = place.container.as_ref();
    [
        ("netns_name", listener.netns_name.as_deref().map(word)),
        ("process", process.map(|process| word(&process.name))),
        ("pid", process.map(|process| process.pid.to_string())),
        ("container", container.map(|container| container.id.clone())),
        ("pod", place.pod.as_ref().map(|pod| pod.uid.clone())),
        ("unit", place.unit.as_deref().map(word)),
        ("cgroup", listener.cgroup.as_deref().map(word)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{pairs, text};
    use tcpwnd_core::findings::{Listener, Place, Process};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn process(others: u32) -> Process {
        Process {
            pid: 812,
            name: "java x".to_owned(),
            kafka: true,
            others,
        }
    }

    fn place() -> Place {
        let uid = "8d2a7e4c-5b1f-4c3d-9e8f-0a1b2c3d4e5f";
        Place::of(&format!("/kubepods/burstable/pod{uid}/crio-{ID}"))
    }

    #[test]
    fn what_is_known_is_in_one_line() {
        assert_eq!(text(None, &Place::default()), None);
        assert_eq!(
            text(Some(&process(0)), &place()).unwrap(),
            "java x (Kafka, pid 812), crio 0123456789ab, pod 8d2a7e4c-5b1f-4c3d-9e8f-0a1b2c3d4e5f"
        );
        let unit = Place::of("/system.slice/kafka.service");
        assert_eq!(
            text(Some(&process(2)), &unit).unwrap(),
            "java x (Kafka, pid 812, and 2 other processes), kafka.service"
        );
    }

    #[test]
    fn log_lines_stay_one_line_of_words() {
        let listener = Listener {
            netns_name: Some("a b".to_owned()),
            process: Some(process(0)),
            cgroup: Some("/x y".to_owned()),
            place: place(),
            ..Listener::default()
        };
        let pairs = pairs(&listener);
        assert!(
            pairs.contains(&("process", "java_x".to_owned())),
            "{pairs:?}"
        );
        assert!(pairs.contains(&("container", ID.to_owned())), "{pairs:?}");
        assert!(
            pairs.contains(&("netns_name", "a_b".to_owned())),
            "{pairs:?}"
        );
        assert!(
            pairs.iter().all(|(_, value)| !value.contains(' ')),
            "{pairs:?}"
        );
        assert!(super::pairs(&Listener::default()).is_empty());
    }
}
