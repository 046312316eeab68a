//! Who may go when.

use petrel_batch::StreamKey;
use petrel_otlp::Signal;

use super::*;

fn waiting(number: u64, streams: &[&str], tenant: &str) -> Waiting {
    let mut set = StreamSet::default();
    for stream in streams {
        set.insert(&StreamKey {
            tenant: tenant.to_owned(),
            values: vec![(*stream).to_owned()],
        });
    }
    Waiting {
        number,
        head: Head {
            signal: Signal::Logs,
            n_items: 10,
            n_bytes: 100,
            streams: set,
            metadata: vec![("tenant".to_owned(), tenant.to_owned())].into(),
        },
        body: None,
        arrived: Duration::from_millis(number * 100),
    }
}

fn line(requests: &[Waiting]) -> Line {
    let mut line = Line::new(Capacity {
        size: 1000,
        sizer: Sizer::Bytes,
    });
    for request in requests {
        assert!(line.reserve(&request.head));
        line.push(request.clone());
    }
    line
}

/// Numbers of the batch that goes next, and its heads.
fn take(line: &mut Line, batch: Option<&Batch>, now: u64) -> (Vec<u64>, Vec<Head>) {
    match line.next(batch, Duration::from_millis(now), false) {
        Next::Batch(batch) => batch
            .into_iter()
            .map(|waiting| (waiting.number, waiting.head))
            .unzip(),
        Next::At(_) | Next::Nothing => (Vec::new(), Vec::new()),
    }
}

fn batch(min_size: usize, max_size: usize) -> Batch {
    Batch {
        flush_timeout: Duration::from_millis(200),
        min_size,
        max_size,
        sizer: Sizer::Items,
        metadata_keys: Vec::new(),
    }
}

#[test]
fn a_stream_waits_for_its_older_request_and_others_pass_it() {
    let mut line = line(&[
        waiting(0, &["a"], ""),
        waiting(1, &["a", "b"], ""),
        waiting(2, &["b"], ""),
        waiting(3, &["c"], ""),
    ]);
    let (numbers, first) = take(&mut line, None, 0);
    assert_eq!(numbers, [0]);
    // 1 waits for 0, and 2 for 1, though nothing of `b` is being sent.
    assert_eq!(take(&mut line, None, 0).0, [3]);
    assert_eq!(take(&mut line, None, 0).0, [0; 0]);
    line.finish(&first);
    let (numbers, second) = take(&mut line, None, 0);
    assert_eq!(numbers, [1]);
    line.finish(&second);
    assert_eq!(take(&mut line, None, 0).0, [2]);
}

#[test]
fn a_batch_goes_when_it_is_full_or_when_its_time_is_over() {
    let mut some = line(&[waiting(0, &["a"], ""), waiting(1, &["a"], "")]);
    let rules = batch(25, 40);
    let next = some.next(Some(&rules), Duration::ZERO, false);
    assert!(matches!(next, Next::At(due) if due == Duration::from_millis(200)));
    assert_eq!(take(&mut some, Some(&rules), 200).0, [0, 1]);
    let mut many = line(&[0, 1, 2, 3, 4].map(|number| waiting(number, &["a"], "")));
    assert_eq!(take(&mut many, Some(&rules), 0).0, [0, 1, 2, 3]);
}

#[test]
fn tenants_do_not_share_a_batch() {
    let mut line = line(&[
        waiting(0, &["a"], "x"),
        waiting(1, &["a"], "y"),
        waiting(2, &["a"], "x"),
    ]);
    let rules = batch(10, 0);
    assert_eq!(take(&mut line, Some(&rules), 0).0, [0, 2]);
    assert_eq!(take(&mut line, Some(&rules), 0).0, [1]);
}

#[test]
fn a_full_line_takes_nothing_until_something_is_finished() {
    let mut line = line(&[]);
    let request = waiting(0, &["a"], "");
    for _ in 0..10 {
        assert!(line.reserve(&request.head));
    }
    assert!(!line.reserve(&request.head));
    line.finish(std::slice::from_ref(&request.head));
    assert!(line.reserve(&request.head));
    assert_eq!(line.load().bytes, 1000);
}

#[test]
fn a_request_larger_than_the_line_goes_through_an_empty_one() {
    let mut line = line(&[]);
    let mut request = waiting(0, &["a"], "");
    request.head.n_bytes = 5000;
    assert!(line.reserve(&request.head));
    assert!(!line.reserve(&waiting(1, &["b"], "").head));
}

#[test]
fn what_is_committed_out_of_order_stands_in_order() {
    let mut line = line(&[]);
    for number in [2, 0, 1] {
        let request = waiting(number, &["a"], "");
        assert!(line.reserve(&request.head));
        line.push(request);
    }
    assert_eq!(take(&mut line, Some(&batch(30, 0)), 0).0, [0, 1, 2]);
}
