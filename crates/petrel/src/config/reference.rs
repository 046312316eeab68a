//! The reference of all keys, made of the default file.

use super::default_file::{KeyLine, TEXT, keys};

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from crates/petrel/src/config/default.yaml by a test of crates/petrel/src/config/tests.rs:
     PETREL_UPDATE_GOLDEN=1 cargo test -p petrel --lib config writes it anew. -->

`petrel run -c petrel.yaml` reads one YAML file. Every key may be left out. An unknown key is an error.
`petrel config default` prints all keys, `petrel config print -c FILE` what holds, `petrel validate -c FILE` all
errors and warnings of a file at once.

Names, meanings and defaults are the OpenTelemetry Collector's where it has the key; where a default differs the
table says so. Two differ because Petrel promises more by default: `sending_queue.wait_for_result` is true (a
reply says what the next hop said), and `retry_on_failure.max_elapsed_time` is 0s (nothing is dropped because it
is old; the bound is the size of the queue or of the outbox).

- Lengths of time are written as Go writes them: `300ms`, `1.5s`, `1h30m`. Sizes are plain numbers.
- `${env:NAME}`, `${NAME}` and `${env:NAME:-default}` stand for a variable of the environment, in values only, and
  never change the structure of the file. `$$` is a dollar.
- Secrets (values of headers, tokens, `*_pem`) are never printed, and no error shows what a variable holds.
  Endpoints are shown, in `petrel status` and in the log.
- Exporters and extensions are named `type` or `type/name`. The Collector's old names are understood:
  `otlp`, `otlphttp`, `bearertokenauth` (new: `bearer_token_auth`).

Without an exporter in the file, `OTEL_EXPORTER_OTLP_ENDPOINT` and its like make one, as they do for every SDK:
`_ENDPOINT`, `_PROTOCOL`, `_HEADERS`, `_TIMEOUT`, `_COMPRESSION`, `_CERTIFICATE`, `_CLIENT_KEY`,
`_CLIENT_CERTIFICATE`, `_INSECURE`, each also for one signal, as `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`. Traces and
metrics are then sent on where they have an endpoint, their own or the common one, and logs have one too. As the specification has it,
`_PROTOCOL` is `http/protobuf` unless set, and `_ENDPOINT` is then the address below which `/v1/logs` is. `petrel
run --to` is stronger than both.

`petrel validate` ends with 0 when the file is good, 3 when it has errors, and with `--deny-warnings` 4 when it
has warnings. Notes are never counted. `-o json` prints an array of objects with `code`, `severity`, `message`,
`help`, `file`, `line` and `column`.
";

const CODES: [(&str, &str); 36] = [
    ("PTL-C001", "not valid YAML"),
    ("PTL-C002", "a variable of the environment is not set"),
    ("PTL-C003", "an unknown key or name"),
    ("PTL-C004", "a value of the wrong kind"),
    ("PTL-C005", "a word that is none of those known"),
    ("PTL-C006", "a value out of its range"),
    ("PTL-C007", "no length of time"),
    ("PTL-C008", "`protocols` names none"),
    ("PTL-C009", "no address to listen on, or no path"),
    ("PTL-C010", "more than one where one is wanted"),
    ("PTL-C011", "something is missing"),
    ("PTL-C012", "endpoint and `tls` contradict each other"),
    ("PTL-C013", "two listeners on one address"),
    ("PTL-C014", "an address that cannot be listened on"),
    ("PTL-C015", "a directory that cannot be used"),
    ("PTL-C016", "a detector that cannot be loaded"),
    (
        "PTL-C017",
        "a setting that its detector refuses, or an exporter that cannot be built",
    ),
    ("PTL-C018", "records would go in circles"),
    ("PTL-C019", "a key that is there twice"),
    ("PTL-C020", "not supported; the help says what is"),
    ("PTL-C021", "an id that is not in the file"),
    ("PTL-C022", "keys that exclude or need each other"),
    ("PTL-C023", "no endpoint to send to"),
    ("PTL-C024", "no pattern, or no regular expression"),
    ("PTL-C025", "no header"),
    (
        "PTL-C026",
        "a certificate, key or token that cannot be read",
    ),
    (
        "PTL-C027",
        "a variable `OTEL_EXPORTER_OTLP_*` that cannot be used",
    ),
    ("PTL-W001", "a key of the Collector that has no effect here"),
    ("PTL-W002", "a secret in plain text"),
    ("PTL-W003", "plaintext is taken from other machines"),
    ("PTL-W004", "credentials are sent in plaintext"),
    ("PTL-W005", "something that nothing refers to"),
    ("PTL-W006", "a key without effect beside others"),
    ("PTL-W007", "note: loops are not noticed"),
    ("PTL-W008", "note: traces or metrics are refused"),
    ("PTL-W009", "certificates are not checked"),
];

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    let keys = keys();
    for (title, about) in chapters() {
        out.push_str(&format!("\n## {title}\n\n{about}\n\n"));
        out.push_str("| key | default | what it is for |\n|---|---|---|\n");
        let is_in = |path: &str| path == title || path.starts_with(&format!("{title}."));
        let is_told = |key: &&KeyLine| !(key.value.is_empty() && key.about.is_empty());
        for key in keys.iter().filter(|key| is_in(&key.path)).filter(is_told) {
            let value = match key.value.as_str() {
                "" => String::new(),
                _ if key.about.starts_with("no effect") => String::new(),
                value if is_example(key) => format!("e.g. `{value}`"),
                value => format!("`{value}`"),
            };
            let about = key.about.replace('|', "\\|");
            out.push_str(&format!("| `{}` | {value} | {about} |\n", key.path));
        }
    }
    out.push_str("\n## Codes\n\n| code | what is wrong |\n|---|---|\n");
    for (code, about) in CODES {
        out.push_str(&format!("| {code} | {about} |\n"));
    }
    out
}

/// Whether a value shows only what one may look like; values of optional maps are defaults otherwise.
fn is_example(key: &KeyLine) -> bool {
    const NAMES: [&str; 23] = [
        "authenticator",
        "ca_file",
        "ca_pem",
        "cert_file",
        "cert_pem",
        "client_ca_file",
        "directory",
        "exporter",
        "exporters",
        "extensions",
        "filename",
        "key_file",
        "key_pem",
        "max_recv_msg_size_mib",
        "max_request_body_size",
        "metadata_keys",
        "receivers",
        "server_name_override",
        "storage",
        "token",
        "tokens",
        "workers",
        "x-scope-orgid",
    ];
    let name = key.path.rsplit('.').next().unwrap_or_default();
    let is_limit = name.contains("limit_") || name.starts_with("max_connection_");
    !key.is_default && (NAMES.contains(&name) || is_limit || name.ends_with("endpoint"))
}

/// The keys of the whole file, each with the comment before it.
fn chapters() -> Vec<(String, String)> {
    let mut chapters: Vec<(String, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in TEXT.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
            continue;
        }
        let text = line.strip_prefix('#').unwrap_or(line);
        let key = text.split(':').next().unwrap_or_default();
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            chapters.push((key.to_owned(), comment.join(" ")));
        }
        comment.clear();
    }
    chapters
}

#[cfg(test)]
pub(super) fn is_code(code: &str) -> bool {
    CODES.iter().any(|(known, _)| *known == code)
}
