//! A trace of Petrel's system calls: between a request and its reply the queue's file is written and synced.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use prost::Message;

use crate::client;
use crate::collector::Collector;
use crate::load::{self, Told};
use crate::process::Process;
use crate::relay::Wire;
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

const CALLS: &str = "trace=fsync,fdatasync,pwrite64,pwritev,write,writev,sendto,sendmsg,read,readv,recvfrom,recvmsg";

/// Name of the queue's file.
const FILE: &str = "queue.redb";

/// Whether system calls can be traced here.
///
/// # Errors
/// Why not; where `CI=true` it must be possible.
pub(super) fn is_possible() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-D", "-o", "/dev/null", "true"]);
    let ran = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let why = match ran {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("strace ends with {status}"),
        Err(error) => format!("strace: {error}"),
    };
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!is_ci, "it must run where CI=true: {why}");
    Err(why)
}

/// Requests one after the other over HTTP/1.1, so that each reply is one write that can be told from others.
pub(super) async fn run(collector: Collector, fault: &str, plan: Plan, n_requests: u64) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    // What was sent is taken out of the file, which syncs it too: nothing is, while it is down.
    scene.relay.set(Wire::Down);
    let trace = scene.scratch.path("trace");
    scene.petrel = Some(start_traced(&scene, &trace));
    let mut told = Told::default();
    for index in 0..n_requests {
        let body = load::request(index, 0).encode_to_vec();
        let headers = [("content-type", "application/x-protobuf")];
        let answer = client::post(&scene.setup.http, &headers, body.into()).await;
        assert_eq!(answer.expect("an answer").status, 200);
        told.acknowledged.extend(load::numbers(index));
    }
    scene.relay.set(Wire::Whole);
    let row = scene.balance(fault, &told);
    let text = std::fs::read_to_string(&trace).expect("strace wrote it");
    assert_eq!(check(&text), Ok(n_requests), "each reply is in the trace");
    row
}

fn start_traced(scene: &Scene, trace: &Path) -> Process {
    let mut command = Command::new("strace");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // The tracer is the grandchild: the child is Petrel itself, with its signals and its exit status.
    command.args(["-D", "-f", "-y", "-s", "24", "-e", CALLS, "-o"]);
    command.arg(trace).arg(env!("CARGO_BIN_EXE_petrel"));
    command.arg("run").arg("-c").arg(&scene.setup.config);
    let ports = [&scene.setup.grpc, &scene.setup.http].map(|address| wait::port_of(address));
    Process::start(&scene.scratch, "petrel", command, &ports)
}

/// How many replies there are; each must come after a sync that began after the last write of the file,
/// which must have come after the request.
///
/// # Errors
/// The reply that does not.
fn check(trace: &str) -> Result<u64, String> {
    let mut state = Since::default();
    let mut n_replies = 0;
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if call.contains("\"POST /v1/logs") {
            state = Since::default();
        } else if call.contains("\"HTTP/1.1 200") {
            // Metrics are answered over HTTP as well.
            if std::mem::take(&mut state.is_asked) {
                n_replies += 1;
                if !state.is_synced {
                    return Err(format!("reply {n_replies} without a sync: {line}"));
                }
            }
        } else {
            state.see(thread, call);
        }
        if call.contains("\"POST /v1/logs") {
            state.is_asked = true;
        }
    }
    Ok(n_replies)
}

/// What was done to the file since a request came.
#[derive(Default)]
struct Since<'a> {
    is_asked: bool,
    is_written: bool,
    is_synced: bool,
    /// Threads whose sync has begun.
    syncing: BTreeSet<&'a str>,
}

impl<'a> Since<'a> {
    fn see(&mut self, thread: &'a str, call: &str) {
        let is_sync = ["fsync(", "fdatasync("]
            .iter()
            .any(|name| call.starts_with(name));
        let is_of_the_file = call.contains(FILE);
        if call.starts_with("pwrite") && is_of_the_file {
            self.is_written = true;
            self.is_synced = false;
        } else if is_sync && is_of_the_file && self.is_written {
            if call.contains("<unfinished") {
                self.syncing.insert(thread);
            } else {
                self.is_synced |= call.ends_with("= 0");
            }
        } else if call.contains("sync resumed>") && self.syncing.remove(thread) {
            self.is_synced |= call.ends_with("= 0");
        }
    }
}

#[test]
fn a_trace_without_a_sync_is_found_out() {
    let request = "7 recvfrom(9<socket:[1]>, \"POST /v1/logs HTTP/1.1\\r\"..., 8192) = 100\n";
    let write = "8 pwrite64(5</q/queue.redb>, \"\"..., 4096, 0) = 4096\n";
    let sync = "8 fdatasync(5</q/queue.redb> <unfinished ...>\n7 read(3, \"\", 1) = 0\n\
                8 <... fdatasync resumed>) = 0\n";
    let reply = "7 writev(9<socket:[1]>, [{iov_base=\"HTTP/1.1 200 OK\\r\\n\"...}], 1) = 90\n";
    let is_fine = |lines: &[&str]| check(&lines.concat()).ok();
    assert_eq!(is_fine(&[request, write, sync, reply]), Some(1));
    assert_eq!(is_fine(&[request, write, reply, sync]), None);
    assert_eq!(is_fine(&[write, sync, request, reply]), None);
    assert_eq!(is_fine(&[request, sync, write, reply]), None);
    assert_eq!(is_fine(&[reply]), Some(0));
}
