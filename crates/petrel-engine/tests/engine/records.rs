//! What is added to records.

use petrel_batch::{Attribute, AttributeValue};
use petrel_engine::{Enrichment, Settings};

use crate::harness::*;

fn show(attributes: &[Attribute]) -> String {
    let shown = attributes.iter().map(|attribute| match &attribute.value {
        AttributeValue::Text(text) => format!("{}={text}", attribute.key),
        AttributeValue::Texts(texts) if attribute.key.ends_with(".ids") => {
            format!("{}={}", attribute.key, texts.len())
        }
        AttributeValue::Texts(texts) => format!("{}={}", attribute.key, texts.join("+")),
        AttributeValue::Double(value) => format!("{}={value:.2}", attribute.key),
        other => format!("{}={other:?}", attribute.key),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// What the new line at the end of a steady stream gets, and the steady line before it.
fn check(enrichment: Enrichment, new: &str, usual: &str) {
    let settings = Settings {
        enrichment,
        ..Settings::default()
    };
    let mut engine = Engine::with(1, settings, &["novelty"]);
    let mut records = steady("api", 0.0, 600.0, 1.0, "request served");
    records.push(record("api", 600.5, "disk 7 failed"));
    engine.feed(&records, 50);
    let n = engine.added.len();
    assert_eq!(show(&engine.added[n - 1]), new, "{enrichment:?}");
    assert_eq!(show(&engine.added[n - 2]), usual, "{enrichment:?}");
}

#[test]
fn the_setting_decides_how_much() {
    let usual_id = format!(
        "petrel.template.id={}",
        petrel_engine::templates::TemplateId::of("request served")
    );
    let new_id = format!(
        "petrel.template.id={}",
        petrel_engine::templates::TemplateId::of("disk <*> failed")
    );
    let anomaly = "anomaly.ids=1 anomaly.types=novelty anomaly.score=0.58";
    check(Enrichment::None, "", "");
    check(Enrichment::Anomalies, anomaly, "");
    check(Enrichment::Id, &format!("{new_id} {anomaly}"), &usual_id);
    check(
        Enrichment::Template,
        &format!("log.record.template=disk <*> failed {new_id} {anomaly}"),
        &format!("log.record.template=request served {usual_id}"),
    );
}

#[test]
fn a_template_that_came_along_gets_its_id_alone() {
    let mut engine = Engine::new(1);
    let mut brought = record("api", 1.0, "user 7 came");
    brought.template = Some("user {name} came".to_owned());
    engine.feed(&[record("api", 0.0, "user 7 came"), brought], 2);
    let id = petrel_engine::templates::TemplateId::of("user {name} came");
    assert_eq!(show(&engine.added[1]), format!("petrel.template.id={id}"));
    assert!(show(&engine.added[0]).starts_with("log.record.template=user <*> came "));
}
