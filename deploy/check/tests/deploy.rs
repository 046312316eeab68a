//! The manifests have no field that Kubernetes does not know, Petrel takes every configuration, and what
//! names the same port in several files agrees.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use petrel::config::{Config, render};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The user that the image runs as.
const USER: i64 = 10_001;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All documents of all manifests.
fn manifests() -> Vec<Value> {
    let files = fs::read_dir(path("kubernetes")).expect("the folder is there");
    let files = files.map(|file| file.expect("can be listed").path());
    let yaml = files.filter(|file| file.extension().is_some_and(|it| it == "yaml"));
    yaml.flat_map(|file| {
        let text = fs::read_to_string(&file).expect("can be read");
        serde_saphyr::from_multiple::<Value>(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    })
    .collect()
}

/// The object as Kubernetes' own types write it that have read it: a field that they do not know is gone.
fn as_kubernetes_has_it(object: &Value) -> Result<Value, serde_json::Error> {
    fn round<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
    }
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") => round::<ConfigMap>(object),
        ("v1", "PersistentVolumeClaim") => round::<PersistentVolumeClaim>(object),
        ("v1", "Service") => round::<Service>(object),
        ("apps/v1", "Deployment") => round::<Deployment>(object),
        ("apps/v1", "StatefulSet") => round::<StatefulSet>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => round::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => round::<PodDisruptionBudget>(object),
        (version, kind) => panic!("no type is known for {kind} of {version}"),
    }
}

/// Where two values differ first, as a path.
fn difference(one: &Value, other: &Value, at: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(fields), Value::Object(others)) => {
            let keys: BTreeSet<_> = fields.keys().chain(others.keys()).collect();
            keys.into_iter()
                .find_map(|key| difference(&one[key], &other[key], &format!("{at}.{key}")))
        }
        (Value::Array(entries), Value::Array(others)) if entries.len() == others.len() => (0..)
            .zip(entries.iter().zip(others))
            .find_map(|(index, (one, other))| difference(one, other, &format!("{at}[{index}]"))),
        _ => (one != other).then(|| format!("{at}: {one} is read as {other}")),
    }
}

fn check_known(object: &Value) -> Result<(), String> {
    let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
    let known = as_kubernetes_has_it(object).map_err(|error| format!("{name}: {error}"))?;
    difference(object, &known, &name).map_or(Ok(()), Err)
}

#[test]
fn kubernetes_knows_every_field() {
    let manifests = manifests();
    let kinds: BTreeSet<_> = manifests.iter().map(|it| it["kind"].to_string()).collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    for object in &manifests {
        check_known(object).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_misspelt_field_is_found() {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 1, "targetPort": "otlp"}]},
    });
    assert_eq!(check_known(&service), Ok(()));
    service["spec"]["ports"][0]["tagretPort"] = json!(1);
    let error = check_known(&service).expect_err("nobody knows it");
    assert!(
        error.contains("\"a\".spec.ports[0].tagretPort: 1"),
        "{error}"
    );
}

/// All pod templates by the name of what makes them.
fn pods() -> Vec<(String, Value)> {
    let manifests = manifests();
    let with_pods = manifests
        .iter()
        .filter(|it| it["spec"]["template"].is_object());
    let pods: Vec<_> = with_pods
        .map(|it| {
            (
                it["metadata"]["name"].to_string(),
                it["spec"]["template"]["spec"].clone(),
            )
        })
        .collect();
    assert_eq!(pods.len(), 2, "a gateway and a sidecar");
    pods
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers"].map(|list| pod[list].as_array());
    lists.into_iter().flatten().flatten()
}

#[test]
fn containers_run_without_rights() {
    for (name, pod) in pods() {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert_eq!(security["runAsUser"], USER, "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        for container in containers(&pod) {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{name}"
            );
        }
    }
}

#[test]
fn probes_and_services_name_ports_that_exist() {
    for (name, pod) in pods() {
        for container in containers(&pod) {
            let ports = container["ports"].as_array().expect("it listens");
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                for action in ["httpGet", "tcpSocket"] {
                    let port = &container[probe][action]["port"];
                    let is_there = ports.iter().any(|it| it["name"] == *port);
                    assert!(port.is_null() || is_there, "{name}: {probe} on {port}");
                }
            }
        }
    }
    for service in manifests().iter().filter(|it| it["kind"] == "Service") {
        for port in service["spec"]["ports"].as_array().expect("it has ports") {
            let target = &port["targetPort"];
            let found = pods().iter().any(|(_, pod)| {
                let mut ports = containers(pod)
                    .filter_map(|it| it["ports"].as_array())
                    .flatten();
                ports.any(|it| it["name"] == *target && it["containerPort"] == port["port"])
            });
            assert!(found, "{}: {target}", service["metadata"]["name"]);
        }
    }
}

/// A pod is not killed while it still drains.
#[test]
fn pods_have_time_to_drain() {
    let drain = Config::default().drain_timeout.as_secs();
    for (name, pod) in pods() {
        let grace = pod["terminationGracePeriodSeconds"]
            .as_u64()
            .expect("it is set");
        let sleeps = containers(&pod)
            .filter_map(|it| it["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64());
        assert!(
            grace >= sleeps.max().unwrap_or(0) + 2 * drain,
            "{name}: {grace} s"
        );
    }
}

fn parse(name: &str, source: &str) -> Config {
    Config::parse(source, &|_| None)
        .unwrap_or_else(|errors| panic!("{}", render(&errors, name, source, false)))
}

/// The gRPC, HTTP, metrics and health ports of a configuration, which listens on `host`.
fn ports(name: &str, source: &str, host: &str) -> [u16; 4] {
    let config = parse(name, source);
    assert!(
        !config.exporters.is_empty() && config.state.is_some(),
        "{name}"
    );
    let telemetry = config.telemetry;
    [
        config.receivers.grpc.map(|it| it.endpoint),
        config.receivers.http.map(|it| it.endpoint),
        telemetry.metrics.map(|it| it.address),
        telemetry.health.map(|it| it.address),
    ]
    .map(|address| {
        let address = address.unwrap_or_else(|| panic!("{name}: an endpoint is off"));
        let (actual, port) = address.rsplit_once(':').expect("host:port");
        assert_eq!(actual, host, "{name}");
        port.parse().expect("a port")
    })
}

#[test]
fn petrel_takes_every_configuration() {
    let container = [4317, 4318, 8888, 13133];
    let image = read("docker/petrel.yaml");
    assert_eq!(ports("docker/petrel.yaml", &image, "0.0.0.0"), container);
    let unit = read("systemd/petrel.yaml");
    assert_eq!(
        ports("systemd/petrel.yaml", &unit, "localhost"),
        [5317, 5318, 8889, 13134]
    );
    let manifests = manifests();
    let mut configs = manifests.iter().filter(|it| it["kind"] == "ConfigMap");
    let config = &configs.next().expect("a ConfigMap")["data"]["petrel.yaml"];
    let config = config.as_str().expect("text");
    assert_eq!(ports("gateway.yaml", config, "0.0.0.0"), container);
    assert_eq!(configs.next(), None);
    let dockerfile = read("docker/Dockerfile");
    let exposed = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("EXPOSE "));
    assert_eq!(
        exposed,
        Some(container.map(|it| it.to_string()).join(" ").as_str())
    );
    assert!(dockerfile.contains(&format!("USER {USER}:{USER}")));
}
