//! Hostile lines: no panic, no growth beyond the bounds, and an answer for each.

use petrel_batch::EventTime;
use petrel_engine::templates::{Change, OTHER, StreamMiner, TemplateLimits, numbers};
use proptest::prelude::*;

use super::{feed, miner, text_of, texts};

/// A word of letters that no rule masks, another for each number.
fn word(mut number: usize) -> String {
    let mut word = String::from("w");
    loop {
        word.push(char::from(b'g' + (number % 20) as u8));
        number /= 20;
        if number == 0 {
            return word;
        }
    }
}

#[test]
fn long_lines_are_cut() {
    for unit in [
        "word ", "5 ", "x,", "(", "[a,", "\"", "'", "a=", "é", "a.", "::", "{", "日 ", "/", ".",
        "http://", "{\"a\":",
    ] {
        let body = unit.repeat((1 << 20) / unit.len());
        let mut miner = miner();
        let text = text_of(&mut miner, &body);
        assert!(
            text.len() <= 4_200,
            "{unit:?} made a template of {} bytes",
            text.len()
        );
        // The end of the line is never seen.
        assert_eq!(
            text_of(&mut miner, &format!("{body}tail")),
            text,
            "{unit:?}"
        );
    }
}

#[test]
fn a_cut_word_is_variable() {
    let body = |tail| format!("message {}{}", " ".repeat(4_084), "word".repeat(tail));
    let mut miner = miner();
    assert_eq!(text_of(&mut miner, &body(1)), "message word");
    assert_eq!(text_of(&mut miner, &body(2)), "message <*>");
    assert_eq!(text_of(&mut miner, &body(9)), "message <*>");
}

#[test]
fn nesting_beyond_the_bound_is_plain() {
    let nested = |depth| format!("x {}a, b{} y", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(text_of(&mut miner(), &nested(3)), "x (((<*>))) y");
    let mut miner = miner();
    assert!(text_of(&mut miner, &nested(25)).starts_with("x ((("));
    assert!(text_of(&mut miner, &nested(500)).starts_with("x ((("));
}

#[test]
fn distinct_first_words_become_one() {
    let mut miner = miner();
    let bodies: Vec<_> = (0..2_000)
        .map(|n| format!("{} connection accepted from peer", word(n)))
        .collect();
    feed(&mut miner, bodies.iter().map(String::as_str));
    assert_eq!(texts(&miner), ["<*> connection accepted from peer"]);
    assert!(!miner.health().degraded);
}

#[test]
fn random_words_end_as_other() {
    let mut miner = miner();
    let mut random = 1usize;
    let mut changes = Vec::new();
    for _ in 0..50_000 {
        let line: Vec<_> = (0..10)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                word(random >> 33)
            })
            .collect();
        miner.assign(&line.join(" "), EventTime::UNKNOWN, &mut changes);
    }
    let health = miner.health();
    assert!(health.degraded);
    assert!(health.n_templates <= 2_001, "{health:?}");
    assert!(health.n_created <= 1_500, "{health:?}");
    assert!(health.n_keys <= 8_192, "{health:?}");
    assert!(texts(&miner).iter().any(|text| text == OTHER));
    assert_eq!(health.n_refused + health.n_created, 50_000);
}

#[test]
fn a_miner_recovers_from_a_flood() {
    let limits = TemplateLimits {
        creations_at_once: 2,
        ..TemplateLimits::default()
    };
    let mut miner = StreamMiner::new(limits);
    feed(
        &mut miner,
        ["one thing", "another matter", "third kind entirely"],
    );
    assert!(miner.health().degraded);
    for _ in 0..10_000 {
        feed(&mut miner, ["one thing"]);
    }
    assert!(!miner.health().degraded);
    assert_eq!(
        text_of(&mut miner, "third kind entirely"),
        "third kind entirely"
    );
}

#[test]
fn the_seldom_and_longest_unseen_make_room() {
    let limits = TemplateLimits {
        templates_max: 32,
        ..TemplateLimits::default()
    };
    let mut miner = StreamMiner::new(limits);
    feed(&mut miner, ["often seen"; 5]);
    let bodies: Vec<_> = (0..32)
        .map(|n| format!("{} {}", word(n), "z ".repeat(n + 1)))
        .collect();
    let changes = feed(&mut miner, bodies.iter().map(String::as_str));
    let evicted: Vec<_> = changes
        .iter()
        .filter(|change| matches!(change, Change::Evicted(_)))
        .collect();
    assert_eq!(evicted.len(), 2);
    assert_eq!(miner.health().n_templates, 31);
    let left = texts(&miner);
    assert!(left.contains(&"often seen".to_owned()));
    assert!(
        !left.contains(&"wg z".to_owned()),
        "the first seldom one goes"
    );
}

#[test]
fn aliases_are_bounded() {
    let limits = TemplateLimits {
        aliases_max: 10,
        ..TemplateLimits::default()
    };
    let mut miner = StreamMiner::new(limits);
    let bodies: Vec<_> = (0..50)
        .map(|n| format!("session {} opened for user {}", word(n / 10), word(n)))
        .collect();
    feed(&mut miner, bodies.iter().map(String::as_str));
    assert!(miner.health().n_aliases <= 10);
}

/// Exact repetitions take a way of their own; it must lead to the same templates and numbers.
#[test]
fn repetitions_follow_merges() {
    let mut miner = miner();
    feed(&mut miner, ["filling the table until it is used"; 300]);
    let bodies = [
        "job ann took 5 ms right here",
        "job bob took 6 ms right here",
        "job cid took 7 ms right here",
    ];
    for _ in 0..3 {
        for body in &bodies[..2] {
            let template = miner.assign(body, EventTime::UNKNOWN, &mut Vec::new());
            assert_eq!(
                miner
                    .template(template)
                    .map(|template| template.text.matches("<*>").count()),
                Some(1)
            );
            let mut out = Vec::new();
            assert!(miner.numbers_of_last(body, &mut out));
            assert_eq!(out.len(), 1);
        }
    }
    feed(&mut miner, [bodies[2]]);
    for body in bodies.iter().chain(&bodies) {
        assert_eq!(text_of(&mut miner, body), "job <*> took <*> right here");
        let mut out = Vec::new();
        miner.numbers_of_last(body, &mut out);
        assert_eq!(out.len(), 2);
        assert!(out[0].is_nan() && out[1] > 0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Any text, and text dense in what the scanner looks at.
    #[test]
    fn no_line_panics(
        any in ".{0,200}",
        dense in "[\\x00-\\x7fé日]{0,300}",
        marks in "[-a1 .,:;=()\\[\\]{}<>\"'`/@%!?*u\\\\\n]{0,300}",
        object in "\\{(\"[a-c1é]{0,3}\" ?: ?(\"[a\\\\\"n ]{0,6}\"|[0-9]|\\{\\}|\\[1,2\\]),? ?){0,4}\\}?",
    ) {
        let mut miner = miner();
        for body in [&any, &dense, &marks, &object] {
            let mut changes = Vec::new();
            let assigned = miner.assign(body, EventTime(1), &mut changes);
            let template = miner.template(assigned).expect("just assigned").clone();
            let (mut at_once, mut anew) = (Vec::new(), Vec::new());
            miner.numbers_of_last(body, &mut at_once);
            numbers(body, &template, &mut anew);
            prop_assert_eq!(format!("{at_once:?}"), format!("{anew:?}"));
            prop_assert_eq!(at_once.len(), template.text.matches("<*>").count());
            // The same body has the same template again.
            prop_assert_eq!(miner.assign(body, EventTime(1), &mut changes).id, assigned.id);
        }
        let bytes = miner.save();
        let again = StreamMiner::load(&bytes, TemplateLimits::default()).expect("just saved");
        prop_assert_eq!(again.save(), bytes);
    }
}
