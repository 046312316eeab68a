//! A certificate of Petrel's that changes while a Collector sends over TLS.

use crate::authority::Authority;
use crate::collector::Collector;
use crate::front::{assert_undisturbed, goes_on, stops, under_load};
use crate::linux;
use crate::scene::{Plan, Scene};
use crate::table::Row;
use crate::wait;

const N_CHANGES: usize = 10;
/// Connections end so soon that each certificate is shown.
const AGES: &str =
    "keepalive: { server_parameters: { max_connection_age: 200ms, max_connection_age_grace: 5s } }";

/// Ten certificates of the authority that the Collector trusts, and one of another, which it must not take.
pub(super) async fn run(collector: Collector, fault: &str, plan: Plan) -> Row {
    let mut scene = Scene::before_petrel(collector, plan, |sink| sink);
    let trusted = Authority::new("the authority");
    let ca = trusted.issue(&scene.scratch, "edge").ca;
    let files = trusted.issue(&scene.scratch, "petrel");
    let (cert, key) = (files.cert.display(), files.key.display());
    let tls = format!("tls: {{ cert_file: '{cert}', key_file: '{key}', reload_interval: 100ms }}");
    let grpc = format!("endpoint: '{}'", scene.setup.grpc);
    let config = scene.config();
    scene.write_config(&config.replace(&grpc, &format!("{grpc}, {tls}, {AGES}")));
    scene.petrel = Some(scene.setup.start(&scene.scratch));
    scene.start_upstream_as(collector, |config| {
        config.replace("insecure: true", &format!("ca_file: '{}'", ca.display()))
    });
    let (row, told) = under_load(&mut scene, fault, |scene| {
        for _ in 0..N_CHANGES {
            trusted.issue(&scene.scratch, "petrel");
            // The second one begins after the files were looked at.
            connects_anew(scene);
            connects_anew(scene);
            goes_on(scene);
        }
        Authority::new("another authority").issue(&scene.scratch, "petrel");
        stops(scene);
        trusted.issue(&scene.scratch, "petrel");
    })
    .await;
    assert_undisturbed(&told);
    row
}

/// Waits until no connection to Petrel's receiver is one of before.
fn connects_anew(scene: &Scene) {
    let before = linux::connected_from(&scene.setup.grpc);
    wait::until("new connections alone", wait::SOON, || {
        let now = linux::connected_from(&scene.setup.grpc);
        (!now.is_empty() && now.is_disjoint(&before)).then_some(())
    });
}
