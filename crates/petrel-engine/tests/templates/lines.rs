//! One line at a time, each with a miner of its own: what the scanner makes of it.

use petrel_engine::templates::{Origin, TemplateId};

use super::{miner, text_of};

fn check(cases: &[(&str, &str)]) {
    for (body, template) in cases {
        assert_eq!(text_of(&mut miner(), body), *template, "body {body:?}");
    }
}

#[test]
fn reads_the_first_line() {
    check(&[
        ("started\nand more", "started"),
        ("\n \n started", "started"),
        ("  File \"a.py\", line 3, in main", "<continued>"),
        ("\tat com.example.Main.run(Main.java:17)", "<continued>"),
        ("at com.example.Main.run(Main.java:17)", "<continued>"),
        ("at noon the job ran", "at noon the job ran"),
        ("", "<empty>"),
        (" \n\t ", "<empty>"),
        ("?!", "<empty>"),
    ]);
}

#[test]
fn names_the_exception_of_several_lines() {
    check(&[
        (
            "Traceback (most recent call last):\n  File \"x\", line 1\nValueError: bad thing",
            "Traceback (most recent call last): ValueError",
        ),
        (
            "request failed\njava.io.IOException: gone\n\tat a.B.c(B.java:1)\nCaused by: java.net.SocketException: reset\n\tat x",
            "request failed java.net.SocketException",
        ),
        ("two lines\nwithout any Exception at all", "two lines"),
    ]);
}

#[test]
fn separates_tokens() {
    check(&[
        ("a  b\tc", "a b c"),
        ("done. really! yes?", "done really yes"),
        ("waiting.....", "waiting..."),
        ("can't open user's file", "can't open user's file"),
        ("u'text' here", "u'text' here"),
        (
            "BLOCK* NameSystem.delete: ok",
            "BLOCK* NameSystem.delete: ok",
        ),
        ("a -> b --- c", "a -> b --- c"),
        ("if a != b then", "if a != b then"),
        ("[    0.0123] boot", "[<*>] boot"),
        (
            "größe überschritten für 日本語",
            "größe überschritten für 日本語",
        ),
    ]);
}

#[test]
fn masks_variable_words() {
    check(&[
        (
            "block blk_-42 of 550e8400-e29b-41d4-a716-446655440000",
            "block <*> of <*>",
        ),
        (
            "open /var/log/messages and ./run and ../up now",
            "open <*> and <*> and <*> now",
        ),
        (
            "see https://example.com/a?b=c;d=e:f for more",
            "see <*> for more",
        ),
        ("mail to root@localhost failed", "mail to <*> failed"),
        ("digest deadbeef and cafe", "digest <*> and cafe"),
        ("connect web.local:80 failed", "connect <*> failed"),
        ("iteration:389 done", "iteration:<*> done"),
        ("raised in utils.py:108", "raised in <*>"),
        ("mac aa:bb:cc:dd:ee:ff up", "mac <*> up"),
        ("at 12:30:45.123 sharp", "at <*> sharp"),
        ("peer fe80::1%eth0 and ::1 left", "peer <*> and <*> left"),
        ("std::vec grew", "std::vec grew"),
        ("user=root cmd=ls a==b", "user=<*> cmd=<*> a==b"),
        ("a body with <*> inside", "a body with <*> inside"),
    ]);
}

#[test]
fn masks_dates_and_units() {
    check(&[
        (
            "connection from 1.2.3.4 () at Mon Jun 6 07:07:00 2005",
            "connection from <*> (<*>) at <*>",
        ),
        (
            "connection from 1.2.3.4 (host.example.com) at Fri Jul 17 07:07:00 2005",
            "connection from <*> (host.example.com) at <*>",
        ),
        ("until 10:30 PM UTC today", "until <*> today"),
        ("we May go", "we May go"),
        ("PM is a word", "PM is a word"),
        (
            "capacity 17.7 GB free 5 % in 3 ms",
            "capacity <*> free <*> in <*>",
        ),
        ("10 second(s) ago", "<*> second(s) ago"),
    ]);
}

#[test]
fn joins_runs_and_lists() {
    check(&[
        ("from 10.0.0.1:80/tcp2|3", "from <*>"),
        ("ids 7a, 8b, 9c gone", "ids <*> gone"),
        ("ids 7a 8b 9c gone", "ids <*> gone"),
        ("status 200 1234 0.003", "status <*> <*> <*>"),
        ("row 1 2 3 4 5 end", "row <*> end"),
        ("row 1 2 x3 end", "row <*> end"),
        ("a(5)b", "a(<*>)b"),
        ("x '1' '2'", "x '<*>' '<*>'"),
    ]);
}

#[test]
fn masks_groups() {
    check(&[
        ("signals [TERM, HUP, INT] set", "signals [<*>] set"),
        ("dict {'a': True, 'b': None} end", "dict {<*>} end"),
        ("dict {u'b': None} end", "dict {<*>} end"),
        ("call f(a, g(b, c), [d]) returned", "call f(<*>) returned"),
        ("plain (no list) kept", "plain (no list) kept"),
        ("workerEnv.init() ok", "workerEnv.init() ok"),
        (
            "left [] and () and {} open",
            "left [<*>] and (<*>) and {<*>} open",
        ),
        (
            "said \"one two three four five six seven eight\" twice",
            "said \"<*>\" twice",
        ),
        ("said \"one two\" twice", "said \"one two\" twice"),
        ("said \"x1\" and '' twice", "said \"<*>\" and '<*>' twice"),
        (
            "10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /a HTTP/1.0\" 200 2326",
            "<*> - - [<*>] \"GET <*>\" <*> <*>",
        ),
        ("unclosed (a, b", "unclosed (a, b"),
        ("wrong (a, b] c", "wrong (a, b] c"),
    ]);
}

#[test]
fn closes_lists_at_the_token_bound() {
    let tickets = |count| {
        format!(
            "sold [{}] today",
            vec!["Ticket(seat, row)"; count].join(", ")
        )
    };
    check(&[
        (&tickets(3), "sold [<*>] today"),
        (&tickets(60), "sold [<*>] today"),
    ]);
    let words = vec!["word"; 100].join(" ");
    let template = text_of(&mut miner(), &words);
    assert_eq!(template, format!("{} <*>", vec!["word"; 63].join(" ")));
}

#[test]
fn templates_objects_by_shape() {
    check(&[
        (
            r#"{"msg":"took 5 ms","level":"info"}"#,
            "{level,msg} took <*>",
        ),
        (
            r#" {"level" : "info", "msg" : "took 9 ms"} "#,
            "{level,msg} took <*>",
        ),
        (
            r#"{"text":"b","message":"a","x":{"message":"c"}}"#,
            "{message,text,x} a",
        ),
        (r#"{"a":1,"b":[1,{"c":"}"}]}"#, "{a,b}"),
        (r#"{"550e8400":1,"n":2,"7":3}"#, "{n,<*>}"),
        (
            r#"{"msg":"say \"hi\" to\u0020all\nsecond line"}"#,
            r#"{msg} say "hi" to all"#,
        ),
        (r#"{"msg":"boom\nValueError: x"}"#, "{msg} boom ValueError"),
        (r#"{"msg":""}"#, "{msg}"),
        ("{}", "{}"),
        (r#"{"msg":"a"} and more"#, "{<*>} and more"),
        ("{'msg': 'a', 'b': 1}", "{<*>}"),
    ]);
    let many = (0..70)
        .map(|n| format!("\"k{}\":1", "x".repeat(n)))
        .collect::<Vec<_>>();
    check(&[(
        &format!("{{{},\"msg\":\"hello\"}}", many.join(",")),
        "{...} hello",
    )]);
    let long = format!("{{\"msg\":\"hello\",\"blob\":\"{}\"}}", "x".repeat(100_000));
    check(&[(&long, "{...} hello")]);
}

#[test]
fn templates_logfmt_by_key() {
    check(&[
        (
            "level=info msg=\"request done\" path=/x user=\"bob\"",
            "level=<*> msg=\"request done\" path=<*> user=\"<*>\"",
        ),
        (
            "msg=started err=timeout code=5",
            "msg=started err=timeout code=<*>",
        ),
        (
            "err=\"one two three four five six seven eight 9\"",
            "err=\"one two three four five six seven eight <*>\"",
        ),
    ]);
}

#[test]
fn flags_failure_words() {
    let failing = |body: &str| {
        let mut miner = miner();
        let template = miner.assign(body, Default::default(), &mut Vec::new());
        miner.template(template).expect("just assigned").failure
    };
    for body in [
        "I/O ERROR on disk",
        "java.io.IOException: x",
        "no such file",
        "page not_found",
        "login Denied",
        "timed out",
    ] {
        assert!(failing(body), "{body}");
    }
    for body in [
        "closest match",
        "all good",
        "code=error",
        r#"{"error":null,"msg":"fine"}"#,
        "",
    ] {
        assert!(!failing(body), "{body}");
    }
}

#[test]
fn fixed_templates_are_never_created() {
    let mut miner = miner();
    let mut changes = Vec::new();
    let template = miner.assign("\tat x", Default::default(), &mut changes);
    assert_eq!(
        miner.template(template).expect("just assigned").origin,
        Origin::Fixed
    );
    assert_eq!(changes, []);
    // A body that looks like one belongs to it.
    assert_eq!(text_of(&mut miner, "<continued>"), "<continued>");
}

/// Ids are stored and compared across hosts: they must never change.
#[test]
fn ids_are_frozen() {
    for (text, id) in [
        ("", "b11b39b2f341c15a"),
        ("took <*>", "c0d169462473ff3d"),
        ("<other>", "740b0a1a17cc7637"),
    ] {
        assert_eq!(TemplateId::of(text).to_string(), id, "{text}");
    }
}
