//! What is on disk after a close, a crash or damage.

use std::sync::mpsc::sync_channel;

use super::*;

fn head(n_items: u64) -> Head {
    Head {
        signal: Signal::Traces,
        n_items,
        n_bytes: 3,
        streams: StreamSet::ALL,
        metadata: vec![("x-scope-orgid".to_owned(), "a".to_owned())].into(),
    }
}

/// Opens a journal that starts to write, and hands over the numbers that it settles.
fn open(directory: &Path) -> (Opened, std::sync::mpsc::Receiver<Option<u64>>) {
    let mut opened = Journal::open(directory).unwrap();
    let next = opened.waiting.last().map_or(0, |(number, _)| number + 1);
    let (settled, numbers) = sync_channel(64);
    let started = opened.journal.start(
        next,
        Box::new(move |_, written| {
            settled.send(written.map(|(number, _)| number)).unwrap();
        }),
    );
    started.unwrap();
    (opened, numbers)
}

fn put(journal: &Journal, n_items: u64) -> Result<(), String> {
    let answer = journal.put(head(n_items), Bytes::from_static(b"abc"));
    answer.unwrap().blocking_recv().unwrap()
}

#[test]
fn what_was_put_and_not_removed_is_there_again() {
    let temp = tempfile::tempdir().unwrap();
    {
        let (opened, numbers) = open(temp.path());
        for n_items in 1..=3 {
            assert_eq!(put(&opened.journal, n_items), Ok(()));
        }
        assert_eq!(numbers.try_iter().flatten().collect::<Vec<_>>(), [0, 1, 2]);
        opened.journal.remove(vec![1]);
        opened.journal.end();
    }
    let (opened, numbers) = open(temp.path());
    assert_eq!(opened.waiting, [(0, head(1)), (2, head(3))]);
    assert_eq!(opened.journal.body(2).unwrap().unwrap(), "abc");
    assert_eq!(opened.journal.body(1).unwrap(), None);
    assert_eq!(put(&opened.journal, 4), Ok(()));
    assert_eq!(numbers.recv().unwrap(), Some(3), "numbers go on");
    opened.journal.end();
}

#[test]
fn a_damaged_file_is_set_aside() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join(PLAN.file), vec![0x55; 10_000]).unwrap();
    let (opened, _numbers) = open(temp.path());
    let (path, reason) = opened.set_aside.as_ref().unwrap();
    assert_eq!(std::fs::read(path).unwrap().len(), 10_000);
    assert!(!reason.is_empty());
    assert_eq!(put(&opened.journal, 1), Ok(()));
    opened.journal.end();
}

#[test]
fn a_file_in_use_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let _open = Journal::open(temp.path()).unwrap();
    let again = Journal::open(temp.path());
    assert!(matches!(again, Err(DatabaseError::InUse(_))), "{again:?}");
}

#[test]
fn who_only_looks_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    assert!(matches!(left_in(temp.path()), Left::Nothing));
    let (opened, _numbers) = open(temp.path());
    assert_eq!(put(&opened.journal, 1), Ok(()));
    assert!(matches!(left_in(temp.path()), Left::Nothing), "it is open");
    opened.journal.end();
    drop(opened);
    assert!(matches!(left_in(temp.path()), Left::Requests(1)));
    let path = temp.path().join(PLAN.file);
    std::fs::write(&path, [0x55; 10_000]).unwrap();
    assert!(matches!(left_in(temp.path()), Left::Unreadable(_)));
    assert_eq!(std::fs::read(&path).unwrap(), [0x55; 10_000]);
}
