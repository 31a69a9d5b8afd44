//! What an agent does with its file.

use super::agents::{Agent, Host};
use super::{Keeper, SAVE_INTERVAL_NS};
use crate::testing;

#[test]
fn what_happens_while_sockets_are_looked_up_is_heeded() {
    let Some(mut host) = Host::new(2) else { return };
    let mut agent = host.former();
    let looked_up = agent.look_up(true);
    // The first one closes, and its addresses are used again, before this is known.
    let first = host.record(0);
    testing::ingest(&mut agent.engine, &testing::closed(&first, 1000));
    let mut again = first;
    again.header.ktime_ns += 2000;
    testing::ingest(&mut agent.engine, &again);
    Keeper::identify(&mut agent.engine, looked_up);
    assert_eq!(agent.save(SAVE_INTERVAL_NS, false), [""; 0]);
    let numbers = agent.keeper.numbers();
    assert_eq!((numbers.saved, numbers.left_out), (1, 1));
}

#[test]
fn of_two_agents_one_keeps_the_file() {
    let Some(mut host) = Host::new(1) else { return };
    let first = host.former();
    let mut second = Agent::start(&host.path());
    let why = "state.json is left alone, and no state is kept: another agent keeps it: choose another \
               --state-file";
    assert!(second.said[0].ends_with(why), "{:?}", second.said);
    assert_eq!(second.state(), (0, 0, false));
    assert_eq!(second.keeper.numbers().errors, 1);
    assert_eq!(second.save(0, true), [""; 0]);
    drop(second);
    first.stop();
    assert_eq!(Agent::start(&host.path()).state(), (1, 0, true));
}

#[test]
fn it_is_written_when_something_has_changed_and_not_too_often() {
    let Some(mut host) = Host::new(1) else { return };
    let mut agent = Agent::start(&host.path());
    assert!(host.path().exists(), "at once, to see that it can be");
    let begun = agent.keeper.next_save_ns;
    let save = |agent: &mut Agent, now_ns| {
        let _ = std::fs::remove_file(host.path());
        agent.keeper.save(agent.engine.flows(), now_ns, false);
        host.path().exists()
    };
    assert!(!save(&mut agent, begun), "nothing has changed");
    let record = testing::handshake(9092, 1, 1, 7);
    testing::ingest(&mut agent.engine, &record);
    assert!(!save(&mut agent, begun - 1));
    assert!(save(&mut agent, begun));
    testing::ingest(&mut agent.engine, &testing::closed(&record, 1));
    assert!(!save(&mut agent, begun + SAVE_INTERVAL_NS - 1));
    assert!(save(&mut agent, begun + SAVE_INTERVAL_NS));
    host.close(0);
}

#[test]
fn trouble_costs_a_line() {
    let Some(host) = Host::new(0) else { return };
    std::fs::write(host.path(), "{\"kind\":\"tcpwnd-state\",\"version\":1,").unwrap();
    let agent = Agent::start(&host.path());
    assert_eq!(agent.said.len(), 1, "{:?}", agent.said);
    assert!(agent.said[0].contains("state.json is of no use: it is damaged"));
    assert!(agent.said[0].ends_with("state.json.unusable"));
    assert_eq!(
        (agent.complete(), agent.keeper.numbers().errors),
        (false, 1)
    );
    agent.stop();
    assert!(host.path().exists());

    std::fs::write(host.path(), "mine\n").unwrap();
    let mut agent = Agent::start(&host.path());
    assert!(agent.said[0].contains("is left alone, and no state is kept"));
    testing::ingest(&mut agent.engine, &testing::handshake(9092, 1, 1, 7));
    assert_eq!(agent.stop().left_out, 1);
    assert_eq!(std::fs::read_to_string(host.path()).unwrap(), "mine\n");

    std::fs::remove_file(host.path()).unwrap();
    std::fs::create_dir_all(host.folder.path().join(".state.json.new/x")).unwrap();
    let mut agent = Agent::start(&host.path());
    assert!(
        agent.said[0].contains("failed to write "),
        "{:?}",
        agent.said
    );
    assert_eq!(
        agent.save(SAVE_INTERVAL_NS, false),
        [""; 0],
        "once is enough"
    );
    assert_eq!(agent.keeper.numbers().errors, 2);
}
