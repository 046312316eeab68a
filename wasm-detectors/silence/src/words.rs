//! Which templates say that the program is about to end.

/// Words of a record that announces the end of its program, in lower case.
const GOODBYES: [&str; 20] = [
    "shutting down",
    "shut down",
    "shutdown complete",
    "shutdown initiated",
    "shutdown in progress",
    "shutdown requested",
    "graceful shutdown",
    "graceful stop",
    "gracefully stopp",
    "sigterm",
    "sigint",
    "signal 15",
    "terminating",
    "terminated",
    "exiting",
    "server stopped",
    "service stopped",
    "stopping server",
    "stopping service",
    "going down for",
];

/// Whether a template announces that its program is about to end.
pub(crate) fn says_goodbye(template: &str) -> bool {
    let template = template.to_ascii_lowercase();
    GOODBYES.iter().any(|words| template.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodbyes() {
        for (template, expected) in [
            ("Received SIGTERM, shutting down", true),
            ("worker <*> exiting", true),
            ("INFO Graceful shutdown complete", true),
            ("connection to <*> closed", false),
            ("shutdown hook registered", false),
        ] {
            assert_eq!(says_goodbye(template), expected, "{template}");
        }
    }
}
