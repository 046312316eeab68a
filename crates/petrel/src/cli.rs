//! The command line: what can be asked of `petrel`, and nothing of how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit code of a run that failed.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code of a configuration that is not valid.
pub const EXIT_INVALID_CONFIG: u8 = 3;
/// Exit code of a check that did not hold.
pub const EXIT_CHECK_FAILED: u8 = 4;
/// Exit code when no running Petrel answers.
pub const EXIT_UNREACHABLE: u8 = 69;

/// Where a running Petrel is asked, by default.
pub const ADMIN_DEFAULT: &str = "localhost:8890";

/// Finds what is odd in a stream of OpenTelemetry logs, inline, and never harms the stream.
#[derive(Debug, Parser)]
#[command(name = "petrel", version, max_term_width = 80, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  petrel demo                          see it find things, nothing to set up
  petrel run --to http://localhost:14317
                                       OTLP in on 4317 and 4318, out to a Collector
  petrel run -c petrel.yaml            the same from a file
  petrel validate -c petrel.yaml       all errors of a file, with their places
  petrel status                        what a running one knows, lacks and skips
  petrel mode off                      stop all detection, records go on
  petrel config default > petrel.yaml  every key with its default

Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid configuration, 4 check failed,
69 nobody answers";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run inline: OTLP in, the same records enriched and anomaly events out
    Run(RunArgs),
    /// Check a configuration and everything that it names
    #[command(visible_alias = "check")]
    Validate(ValidateArgs),
    /// Print configurations: every key with its default, or what holds for a file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the real pipeline finding scripted incidents in generated logs
    Demo(DemoArgs),
    /// Show what a running Petrel knows, lacks, skips and holds
    Status(StatusArgs),
    /// Switch how much a running Petrel does, until it is switched back
    Mode(ModeArgs),
    /// Switch one detector of a running Petrel off or on
    #[command(subcommand)]
    Detector(DetectorCommand),
}

/// What is done with a detector.
#[derive(Debug, Subcommand)]
pub enum DetectorCommand {
    /// It hears of records again; what it had learnt is still there
    Enable(SwitchArgs),
    /// It hears of no records any more, over a restart too where state is kept; the others go on
    Disable(SwitchArgs),
}

/// How a running Petrel is reached.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Its telemetry.admin.endpoint
    #[arg(long, value_name = "HOST:PORT", default_value = ADMIN_DEFAULT)]
    pub admin: String,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Example: petrel status -o json | jq .queues")]
pub struct StatusArgs {
    /// How to reach it.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// Arguments of `mode`.
#[derive(Debug, Args)]
#[command(after_help = "Example: petrel mode observe")]
pub struct ModeArgs {
    /// enrich: attributes and events; observe: records as they came, and events; off: records as they
    /// came, no detection; configured: what the file says
    #[arg(value_parser = ["enrich", "observe", "off", "configured"])]
    pub mode: String,
    /// How to reach it.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Arguments of `detector enable` and `disable`.
#[derive(Debug, Args)]
#[command(after_help = "Example: petrel detector disable latency")]
pub struct SwitchArgs {
    /// The detector's name
    pub name: String,
    /// How to reach it.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Example: petrel run --to http://localhost:14317")]
pub struct RunArgs {
    /// Configuration file; without one, OTLP on localhost:4317 and :4318
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where records go next, over gRPC; takes the place of the file's exporter
    #[arg(long, value_name = "http://HOST:PORT")]
    pub to: Option<String>,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(after_help = VALIDATE_EXAMPLES)]
pub struct ValidateArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// End with 4 when there are warnings; notes are never counted
    #[arg(long)]
    pub deny_warnings: bool,
    /// How to print: text on stderr for people, or json on stdout
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

const VALIDATE_EXAMPLES: &str = "Examples:
  petrel validate -c petrel.yaml
  petrel validate -c petrel.yaml --deny-warnings -o json | jq '.[].message'";

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What can be printed of configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a file with every key, its default and what it is for
    #[command(after_help = "Example: petrel config default > petrel.yaml")]
    Default,
    /// Print what holds for a file: its keys over the defaults, secrets redacted
    #[command(after_help = "Example: petrel config print -c petrel.yaml")]
    Print(PrintArgs),
}

/// Arguments of `config print`.
#[derive(Debug, Args)]
pub struct PrintArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example: petrel demo --once --json | jq .missed")]
pub struct DemoArgs {
    /// End after the scripted incidents instead of staying open for your own logs
    #[arg(long)]
    pub once: bool,
    /// Print one JSON document at the end instead of lines for people; needs --once
    #[arg(long, requires = "once")]
    pub json: bool,
    /// Changes services, times and sizes of what is generated
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print all evidence of each anomaly
    #[arg(long)]
    pub explain: bool,
}
