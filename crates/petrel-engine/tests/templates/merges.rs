//! What many lines make of each other: siblings, words against variables, free text, aliases.

use petrel_batch::EventTime;
use petrel_engine::templates::{Change, TemplateId};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{feed, miner, text_of, texts};

/// Bodies of many kinds, most of which have something to learn.
pub(crate) const CORPUS: &str = "\
login of user ann took 5 ms
login of user bob took 17 ms
login of user cid took 8 ms
login of user dan took 9 ms
login of user eve5 took 9 ms
cache warm
cache cold
cache miss
Accepted password for root from 10.0.0.1 port 22
Accepted password for guest from 10.0.0.1 port 23
Accepted password for 5th from 10.0.0.9 port 24
Accepted key for guest from 10.0.0.9 port 25
job moved from RUNNING to FAILED on this node
job moved from RUNNING to SUCCEEDED on this node
job moved from RUNNING to KILLED on this node
job moved from RUNNING to LOST on this node
cupsd startup succeeded
crond startup succeeded
rpc.statd startup succeeded
volume vol-a attached to server alpha by operator
volume vol-a attached to server beta by operator
volume vol-a attached to server gamma by operator
volume vol-b attached to server alpha by operator
volume vol-b attached to server beta by operator
volume vol-b attached to server gamma by operator
volume vol-c attached to server alpha by operator
volume vol-c attached to server beta by operator
volume vol-c attached to server gamma by operator
level=info msg=\"request done\" path=/a
level=warn msg=\"request dropped\" path=/b
{\"level\":\"info\",\"msg\":\"queue alpha drained by worker now\"}
{\"level\":\"info\",\"msg\":\"queue beta drained by worker now\"}
{\"level\":\"info\",\"msg\":\"queue gamma drained by worker now\"}
disk sda1 is full
disk root is full
";

fn check(bodies: &[&str], expected: &[&str]) {
    let mut miner = miner();
    feed(&mut miner, bodies.iter().copied());
    let mut expected: Vec<_> = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(texts(&miner), expected);
}

#[test]
fn three_siblings_make_a_place_variable() {
    check(
        &["login of user ann done", "login of user bob done"],
        &["login of user ann done", "login of user bob done"],
    );
    check(
        &[
            "login of user ann done",
            "login of user bob done",
            "login of user cid done",
        ],
        &["login of user <*> done"],
    );
}

#[test]
fn short_templates_need_more_siblings() {
    let bodies = [
        "cache warm",
        "cache cold",
        "cache miss",
        "cache hit",
        "cache full",
    ];
    check(&bodies, &bodies);
    check(&[&bodies[..], &["cache gone"]].concat(), &["cache <*>"]);
    let single = [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ];
    check(&single, &single);
}

#[test]
fn states_in_capitals_need_eight() {
    let bodies = |count: usize| -> Vec<String> {
        let states = [
            "NEW", "RUNNING", "FAILED", "KILLED", "LOST", "DONE", "STAGED", "QUEUED",
        ];
        states[..count]
            .iter()
            .map(|state| format!("job moved from start to {state} at last"))
            .collect()
    };
    let texts_of = |bodies: &[String]| {
        let mut miner = miner();
        feed(&mut miner, bodies.iter().map(String::as_str));
        texts(&miner).len()
    };
    assert_eq!(texts_of(&bodies(7)), 7);
    assert_eq!(texts_of(&bodies(8)), 1);
}

#[test]
fn first_words_are_programs() {
    let of = |names: &[&str]| -> Vec<String> {
        let mut miner = miner();
        let bodies: Vec<_> = names
            .iter()
            .map(|name| format!("{name} startup succeeded now"))
            .collect();
        feed(&mut miner, bodies.iter().map(String::as_str));
        texts(&miner)
    };
    assert_eq!(
        of(&[
            "cupsd", "crond", "sshd", "named", "httpd", "ntpd", "gpm", "xfs"
        ])
        .len(),
        8
    );
    let names = [
        "rpc.statd",
        "rpc.mountd",
        "web-a",
        "webB",
        "app.one",
        "app.two",
        "db-main",
        "db-copy",
    ];
    assert_eq!(of(&names[..7]).len(), 7);
    assert_eq!(of(&names), ["<*> startup succeeded now"]);
    // A word against a variable never joins at the first word.
    assert_eq!(of(&["cupsd", "rpc.statd", "host7"]).len(), 3);
}

#[test]
fn a_word_against_a_variable_joins_all() {
    check(
        &["disk sda1 is full", "disk root is full"],
        &["disk <*> is full"],
    );
    check(
        &["disk root is full", "disk sda1 is full"],
        &["disk <*> is full"],
    );
    check(
        &[
            "disk root is full",
            "disk home is full",
            "disk sda1 is full",
        ],
        &["disk <*> is full"],
    );
    check(
        &[
            "disk sda1 is full",
            "disk root is full",
            "disk home is empty",
        ],
        &["disk <*> is full", "disk home is empty"],
    );
}

#[test]
fn a_learnt_place_fits_more_words() {
    let mut miner = miner();
    feed(&mut miner, CORPUS.lines());
    assert_eq!(
        text_of(
            &mut miner,
            "volume vol-z attached to server omega by operator"
        ),
        "volume <*> attached to server <*> by operator"
    );
}

#[test]
fn faults_stay_apart() {
    let bodies = [
        "Transitioned from RUNNING to FAILED",
        "Transitioned from RUNNING to SUCCEEDED",
        "Transitioned from NEW to RUNNING",
    ];
    check(&bodies, &bodies);
}

#[test]
fn many_seldom_tails_are_free_text() {
    let mut miner = miner();
    let tails: Vec<_> = (0..32)
        .map(|n| format!("user wrote this: {}", "la ".repeat(n + 1)))
        .collect();
    feed(&mut miner, ["user wrote this: hello"; 3]);
    feed(&mut miner, tails.iter().map(String::as_str));
    assert_eq!(
        texts(&miner),
        ["user wrote this <*>", "user wrote this: hello"]
    );
    assert_eq!(
        text_of(&mut miner, "user wrote this: something new"),
        "user wrote this <*>"
    );
    assert_eq!(text_of(&mut miner, "user wrote that"), "user wrote that");
}

#[test]
fn merges_are_announced_and_aliases_kept() {
    let mut miner = miner();
    let bodies = [
        "login of user ann done",
        "login of user bob done",
        "login of user cid done",
    ];
    let changes = feed(&mut miner, bodies);
    let target = TemplateId::of("login of user <*> done");
    let mut expected: Vec<_> = bodies
        .iter()
        .map(|body| Change::Created(TemplateId::of(body)))
        .collect();
    expected.extend(bodies.iter().map(|body| Change::Merged {
        source: TemplateId::of(body),
        target,
    }));
    assert_eq!(changes, expected);
    for body in bodies {
        assert_eq!(miner.resolve(TemplateId::of(body)), target);
        assert_eq!(
            miner
                .find(TemplateId::of(body))
                .map(|template| template.n_records),
            Some(3)
        );
    }
}

#[test]
fn a_line_that_only_joins_creates_nothing() {
    let mut miner = miner();
    feed(&mut miner, ["disk sda1 is full"]);
    assert_eq!(feed(&mut miner, ["disk root is full"]), []);
    let changes = feed(&mut miner, ["disk sda1 is fine", "disk 2 is fine"]);
    assert_eq!(
        changes,
        [Change::Created(TemplateId::of("disk <*> is fine"))]
    );
}

#[test]
fn what_a_record_brings_is_kept() {
    let mut miner = miner();
    let mut changes = Vec::new();
    let adopted = miner.adopt("user <*> logged in", EventTime(5), &mut changes);
    assert_eq!(changes, [Change::Created(adopted.id)]);
    assert_eq!(adopted.id, TemplateId::of("user <*> logged in"));
    assert_eq!(
        miner.adopt("user <*> logged in", EventTime(6), &mut changes),
        adopted
    );
    // Mined lines of the same text belong to it.
    assert_eq!(
        miner
            .assign("user 5 logged in", EventTime(7), &mut changes)
            .id,
        adopted.id
    );
    assert_eq!(changes.len(), 1);
    let template = miner.template(adopted).expect("alive");
    assert_eq!(
        (template.n_records, template.first_seen, template.last_seen),
        (3, EventTime(5), EventTime(7))
    );
}

#[test]
fn a_reference_ends_with_its_template() {
    let mut miner = miner();
    let before = miner.assign("disk root is full", EventTime(0), &mut Vec::new());
    let after = miner.assign("disk sda1 is full", EventTime(0), &mut Vec::new());
    assert!(miner.template(before).is_none());
    assert_eq!(miner.resolve(before.id), after.id);
}

proptest! {
    #[test]
    fn order_does_not_matter(swaps in proptest::collection::vec(any::<Index>(), 40)) {
        let mut bodies: Vec<_> = CORPUS.lines().collect();
        let mut in_order = miner();
        feed(&mut in_order, bodies.iter().copied());
        let n_bodies = bodies.len();
        for (position, swap) in swaps.iter().enumerate() {
            bodies.swap(position % n_bodies, swap.index(n_bodies));
        }
        let mut shuffled = miner();
        feed(&mut shuffled, bodies.iter().copied());
        prop_assert_eq!(texts(&shuffled), texts(&in_order));
    }
}
