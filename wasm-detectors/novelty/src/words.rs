//! What the words of a template say: that something failed, that a process died, that one started.

/// Words of failure, in the constant part of a template; most telling first. Whether
/// a template holds one is told by the host, this list only names it.
const FAILURE: [&str; 23] = [
    "panic",
    "fatal",
    "traceback",
    "exception",
    "timed out",
    "timeout",
    "refused",
    "denied",
    "unreachable",
    "could not",
    "cannot",
    "unable",
    "not found",
    "no such",
    "abort",
    "lost",
    "invalid",
    "unexpected",
    "missing",
    "conflict",
    "fail",
    "error",
    "reject",
];

/// Words that a dying process leaves behind.
const FATAL_WORDS: [&str; 8] = [
    "panic",
    "panicked",
    "fatal",
    "segfault",
    "oom",
    "outofmemoryerror",
    "stackoverflowerror",
    "coredump",
];
const FATAL_PHRASES: [&str; 5] = [
    "out of memory",
    "segmentation fault",
    "core dumped",
    "kernel panic",
    "killed process",
];
const NOT_FATAL: [&str; 2] = ["non-fatal", "nonfatal"];

/// Words among the first ones of the line by which a process says that it starts.
const BANNER_WORDS: [&str; 8] = [
    "starting",
    "started",
    "booting",
    "launching",
    "initializing",
    "initialising",
    "initialized",
    "restarting",
];
const BANNER_PHRASES: [&str; 5] = [
    "listening on",
    "ready to serve",
    "server started",
    "application started",
    "startup complete",
];
/// Words of a line in which a banner word counts.
const BANNER_WORDS_FIRST: usize = 4;

/// The word of failure in a text, for the evidence.
pub(crate) fn failure_word(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    FAILURE.into_iter().find(|word| text.contains(word))
}

/// Whether a text is what a dying process writes.
pub(crate) fn is_fatal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    if NOT_FATAL.iter().any(|phrase| text.contains(phrase)) {
        return false;
    }
    FATAL_PHRASES.iter().any(|phrase| text.contains(phrase))
        || words(&text).any(|word| FATAL_WORDS.contains(&word))
}

/// Whether a text is what a starting process writes.
pub(crate) fn is_banner(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    BANNER_PHRASES.iter().any(|phrase| text.contains(phrase))
        || words(&text)
            .take(BANNER_WORDS_FIRST)
            .any(|word| BANNER_WORDS.contains(&word))
}

/// Whether a text is one of the fixed ones that stand for many bodies: never novel.
pub(crate) fn is_catch_all(text: &str) -> bool {
    matches!(text, "<continued>" | "<other>" | "<empty>" | "")
}

/// The fixed text of bodies that the bound on templates left without one.
pub(crate) fn is_overflow(text: &str) -> bool {
    text == "<other>"
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// How alike two texts are, as the share of words that they have in common, 0 to 1.
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    let (mut n_common, n_a) = (0, a.split_whitespace().count());
    let mut rest: Vec<&str> = b.split_whitespace().collect();
    let n_b = rest.len();
    for word in a.split_whitespace() {
        if let Some(place) = rest.iter().position(|other| *other == word) {
            rest.swap_remove(place);
            n_common += 1;
        }
    }
    if n_a + n_b == 0 {
        0.0
    } else {
        2.0 * f64::from(n_common) / (n_a + n_b) as f64
    }
}

/// The words of `a` that `b` lacks, at most eight.
pub(crate) fn difference(a: &str, b: &str) -> String {
    const WORDS_MAX: usize = 8;
    let mut rest: Vec<&str> = b.split_whitespace().collect();
    let mut own = Vec::new();
    for word in a.split_whitespace() {
        match rest.iter().position(|other| *other == word) {
            Some(place) => {
                rest.swap_remove(place);
            }
            None => own.push(word),
        }
    }
    own.truncate(WORDS_MAX);
    own.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatal_lines_are_known_by_their_words() {
        for text in [
            "panic: runtime error: index out of range [<*>]",
            "java.lang.OutOfMemoryError: Java heap space",
            "FATAL: role <*> does not exist",
            "Killed process <*> (java)",
        ] {
            assert!(is_fatal(text), "{text}");
        }
        for text in [
            "error <*> is non-fatal",
            "user picked panicle <*>",
            "request failed",
        ] {
            assert!(!is_fatal(text), "{text}");
        }
    }

    #[test]
    fn banners_are_known_by_their_words() {
        for text in [
            "Starting checkout <*>",
            "starting <*> version <*> build <*>",
            "ready to serve, listening on <*>",
            "2024 [main] Started OrderService in <*>",
        ] {
            assert!(is_banner(text), "{text}");
        }
        for text in [
            "order <*> placed",
            "exported rows since the job was started",
        ] {
            assert!(!is_banner(text), "{text}");
        }
    }

    #[test]
    fn texts_are_compared_by_words() {
        let (a, b) = ("failed to open disk <*>", "failed to open file <*>");
        assert_eq!(likeness(a, b), 0.8);
        assert_eq!(difference(a, b), "disk");
        assert_eq!(likeness("", ""), 0.0);
    }
}
