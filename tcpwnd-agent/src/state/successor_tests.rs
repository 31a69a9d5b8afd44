//! What the next agent says, and the one after that.

use super::agents::{Agent, Host};
use super::{Keeper, LONGEST_PAUSE_NS, SAVE_INTERVAL_NS};
use crate::state::sockets::Sockets;
use crate::testing;

#[test]
fn the_next_agent_counts_those_that_are_still_open_and_no_other() {
    let Some(mut host) = Host::new(4) else { return };
    assert_eq!(host.former().stop().saved, 4);
    host.close(1);

    let mut next = Agent::start(&host.path());
    assert_eq!(next.state(), (3, 0, true));
    assert_eq!(
        next.said,
        [
            "of the damaged connections that a former agent found 3 are open, 1 have ended, and 0 \
             cannot be looked for"
        ]
    );
    let ports = next.engine.flows().ports();
    let port = host.listener.local_addr().unwrap().port();
    assert_eq!(ports[&port].mismatched, 3);
    next.check_all();
    assert_eq!(next.open(), 3);
    host.close(0);
    host.close(3);
    next.check_all();
    assert_eq!(next.open(), 1);
    assert!(
        next.engine
            .flows()
            .iter()
            .all(|(key, _)| *key == host.flow(2).0)
    );

    // And the one after that.
    next.stop();
    let mut last = Agent::start(&host.path());
    assert_eq!((last.open(), last.complete()), (1, true));
    host.close(2);
    last.check_all();
    assert_eq!(last.open(), 0);
}

#[test]
fn a_socket_with_another_number_is_another_connection() {
    let Some(mut host) = Host::new(1) else { return };
    host.former().stop();
    let text = std::fs::read_to_string(host.path()).unwrap();
    let begin = text.find("\"cookie\":").unwrap() + 9;
    std::fs::write(
        host.path(),
        format!("{}1{}", &text[..begin], &text[begin..]),
    )
    .unwrap();
    let next = Agent::start(&host.path());
    assert_eq!((next.open(), next.complete()), (0, true), "{:?}", next.said);
}

#[test]
fn what_another_namespace_has_is_counted_and_not_claimed() {
    let Some(mut host) = Host::new(1) else { return };
    let mut former = host.former();
    // 10.9.0.1 is nowhere, and namespace 0 neither.
    testing::ingest(&mut former.engine, &testing::handshake(9092, 1, 1, 7));
    let numbers = former.stop();
    assert_eq!((numbers.saved, numbers.left_out), (1, 1));
    let next = Agent::start(&host.path());
    assert_eq!(next.state(), (1, 1, false));
    // Nor is it forgotten when that one ends.
    let numbers = next.stop();
    assert_eq!((numbers.saved, numbers.left_out), (1, 1));
    let last = Agent::start(&host.path());
    assert_eq!(last.state(), (1, 1, false));
}

#[test]
fn what_one_agent_cannot_look_for_the_one_after_it_can() {
    let Some(mut host) = Host::new(3) else { return };
    host.former().stop();
    // It has no tcp_diag.
    let blind = Agent::blind(&host.path());
    assert_eq!(blind.state(), (0, 3, false));
    assert_eq!(blind.stop().saved, 3);
    host.close(0);
    let last = Agent::start(&host.path());
    assert_eq!(last.state(), (2, 0, true), "{:?}", last.said);
    last.stop();

    // It is in another network namespace.
    let text = std::fs::read_to_string(host.path()).unwrap();
    let (here, elsewhere) = (format!("\"netns\":{}", host.here), "\"netns\":1");
    std::fs::write(host.path(), text.replace(&here, elsewhere)).unwrap();
    let outside = Agent::start(&host.path());
    assert_eq!(outside.state(), (0, 2, false));
    outside.stop();
    let text = std::fs::read_to_string(host.path()).unwrap();
    assert!(text.contains(elsewhere), "{text}");
    std::fs::write(host.path(), text.replace(elsewhere, &here)).unwrap();
    let last = Agent::start(&host.path());
    assert_eq!(last.state(), (2, 0, true), "{:?}", last.said);
}

#[test]
fn what_could_not_be_looked_for_is_tried_again() {
    let Some(mut host) = Host::new(3) else { return };
    host.former().stop();
    let mut agent = Agent::blind(&host.path());
    host.close(0);
    agent.check_all();
    assert_eq!(agent.state(), (0, 3, false));
    agent.keeper.sockets = Sockets::open();
    agent.check_all();
    assert_eq!(agent.state(), (2, 0, true));
    assert_eq!(agent.save(SAVE_INTERVAL_NS, false), [""; 0]);
    assert_eq!(agent.keeper.numbers().saved, 2);
    host.close(1);
    agent.check_all();
    assert_eq!(agent.state(), (1, 0, true));
}

#[test]
fn what_is_missing_stays_missing() {
    let Some(mut host) = Host::new(1) else { return };
    host.former().kill();
    let next = Agent::start(&host.path());
    assert_eq!(next.state(), (1, 0, false));
    let why = "the former agent did not stop properly: ";
    assert!(next.said[1].starts_with(why), "{:?}", next.said);
    next.stop();
    let last = Agent::start(&host.path());
    assert_eq!(last.state(), (1, 0, false));
    let why = "what an earlier agent found may be missing";
    assert_eq!(last.said[1..], [why]);
    last.stop();

    // Until the next boot, with which all connections end.
    let text = std::fs::read_to_string(host.path()).unwrap();
    let begin = text.find("\"boot_id\":\"").unwrap() + 11;
    let other = if &text[begin..=begin] == "0" {
        "1"
    } else {
        "0"
    };
    let rebooted = format!("{}{other}{}", &text[..begin], &text[begin + 1..]);
    std::fs::write(host.path(), rebooted).unwrap();
    let next = Agent::start(&host.path());
    assert_eq!(next.state(), (0, 0, true));
    assert!(next.said.is_empty(), "{:?}", next.said);
    next.stop();
    assert_eq!(Agent::start(&host.path()).state(), (0, 0, true));
}

#[test]
fn a_spoiled_file_is_a_word_that_is_missing() {
    let Some(host) = Host::new(0) else { return };
    std::fs::write(host.path(), "\n").unwrap();
    Agent::start(&host.path()).stop();
    assert_eq!(Agent::start(&host.path()).state(), (0, 0, false));
}

#[test]
fn an_old_file_is_not_the_last_word() {
    let Some(mut host) = Host::new(1) else { return };
    for (pause, complete) in [(LONGEST_PAUSE_NS, true), (LONGEST_PAUSE_NS + 1, false)] {
        host.former().stop();
        let text = std::fs::read_to_string(host.path()).unwrap();
        let begin = text.find("\"written_ktime_ns\":").unwrap() + 19;
        let written: u64 = text[begin..].split(',').next().unwrap().parse().unwrap();
        let keeper = Keeper::open(&host.path()).unwrap();
        let next = Agent::with(keeper, written + pause, |_| true);
        assert_eq!(next.state(), (1, 0, complete), "{:?}", next.said);
        drop(next);
        std::fs::remove_file(host.path()).unwrap();
    }
}

#[test]
fn the_last_word_is_that_of_the_agent_that_is_there() {
    let Some(mut host) = Host::new(1) else { return };
    host.former().stop();
    // It has written nothing of its own, and is killed.
    drop(Agent::start(&host.path()));
    assert_eq!(Agent::start(&host.path()).state(), (1, 0, false));

    std::fs::remove_file(host.path()).unwrap();
    host.former().stop();
    std::fs::create_dir_all(host.folder.path().join(".state.json.new/x")).unwrap();
    let mut unable = Agent::start(&host.path());
    assert!(unable.said[1].starts_with("failed to write "));
    assert!(!host.path().exists(), "it would pass for the last word");
    // Nor is the end silent, though it was said before.
    let said = unable.save(0, true);
    assert!(said[0].ends_with("choose another --state-file"), "{said:?}");
    drop(unable);
    std::fs::remove_dir_all(host.folder.path().join(".state.json.new")).unwrap();
    assert_eq!(Agent::start(&host.path()).state(), (0, 0, false));
}

#[test]
fn without_a_file_nothing_is_claimed() {
    let Some(host) = Host::new(0) else { return };
    let agent = Agent::start(&host.path());
    assert_eq!((agent.open(), agent.complete()), (0, false));
    assert!(agent.said.is_empty());
    agent.stop();
    // That one has counted all that it knew.
    assert!(Agent::start(&host.path()).complete());
}

#[test]
fn what_the_options_leave_out_now_is_left_out_and_not_forgotten() {
    let Some(mut host) = Host::new(2) else { return };
    host.former().stop();
    let mut next = Agent::wanting(&host.path(), |_| false);
    assert_eq!(next.state(), (0, 0, true));
    host.close(0);
    next.check_all();
    assert_eq!(next.stop().saved, 1);
    assert_eq!(Agent::start(&host.path()).state(), (1, 0, true));
}
