//! What can be set, and its schema.

use serde::Deserialize;
use serde_json::json;

/// Attributes at most: a plan has room for 64 columns.
const ATTRIBUTES_MAX: usize = 48;

/// Settings of the detector.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Keys of attributes that hold durations. The unit is read from the key's ending (`_ms`, `_us`,
    /// `_ns`, `Millis` ...); without one it is seconds.
    pub attributes: Vec<String>,
    /// Whether variables of templates are watched whose words say that they are durations
    /// (`took <*>`, `elapsed=<*>`, `in <*>`), in records without any of the attributes.
    pub body_durations: bool,
    /// Further variables to watch, by the template's text and the index of the `<*>`.
    pub slots: Vec<ChosenSlot>,
    /// Values that a series needs before it is judged.
    pub values_min: u64,
    /// Values that a window of one minute needs.
    pub minute_values_min: u32,
    /// Values that a window of 5 or 30 minutes needs.
    pub window_values_min: u32,
    /// Least difference that matters, in seconds.
    pub floor: f64,
    /// Least ratio that matters.
    pub floor_ratio: f64,
}

/// A variable of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenSlot {
    /// Text of the template, variables as `<*>`.
    pub template: String,
    /// Which `<*>`, from 0.
    pub slot: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attributes: DEFAULT_ATTRIBUTES.map(str::to_owned).into(),
            body_durations: true,
            slots: Vec::new(),
            values_min: 500,
            minute_values_min: 30,
            window_values_min: 10,
            floor: 0.01,
            floor_ratio: 1.2,
        }
    }
}

const DEFAULT_ATTRIBUTES: [&str; 12] = [
    "duration_ms",
    "duration_us",
    "duration_ns",
    "duration_seconds",
    "elapsed_ms",
    "latency_ms",
    "response_time_ms",
    "http.server.request.duration",
    "http.client.request.duration",
    "db.client.operation.duration",
    "rpc.server.call.duration",
    "messaging.process.duration",
];

impl Settings {
    /// The first thing that is wrong, if any.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(format!(
                "attributes: {} are over {ATTRIBUTES_MAX}",
                self.attributes.len()
            ));
        }
        if let Some(slot) = self.slots.iter().find(|slot| slot.slot > 63) {
            return Err(format!("slots: {} is over 63", slot.slot));
        }
        if !(self.floor >= 0.0 && self.floor.is_finite()) {
            return Err(format!("floor: {} is not 0 or more", self.floor));
        }
        if !(self.floor_ratio >= 1.0 && self.floor_ratio.is_finite()) {
            return Err(format!(
                "floor_ratio: {} is not 1 or more",
                self.floor_ratio
            ));
        }
        if self.values_min < 100 {
            return Err(format!("values_min: {} is below 100", self.values_min));
        }
        if self.minute_values_min < 5 || self.window_values_min < 5 {
            return Err("minute_values_min, window_values_min: below 5".to_owned());
        }
        Ok(())
    }

    /// JSON Schema with defaults.
    pub(crate) fn schema() -> String {
        let default = Self::default();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings of the latency detector",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "attributes": {
                    "description": "Keys of attributes that hold durations; the unit is read from the key's ending, seconds without one.",
                    "type": "array", "items": {"type": "string"}, "maxItems": ATTRIBUTES_MAX,
                    "default": default.attributes,
                },
                "body_durations": {
                    "description": "Watch variables of templates whose words say that they are durations, in records without any of the attributes.",
                    "type": "boolean", "default": default.body_durations,
                },
                "slots": {
                    "description": "Further variables to watch, by the template's text and the index of the <*>.",
                    "type": "array", "default": [],
                    "items": {
                        "type": "object", "additionalProperties": false, "required": ["template", "slot"],
                        "properties": {
                            "template": {"type": "string"},
                            "slot": {"type": "integer", "minimum": 0, "maximum": 63},
                        },
                    },
                },
                "values_min": {
                    "description": "Values that a series needs before it is judged.",
                    "type": "integer", "minimum": 100, "default": default.values_min,
                },
                "minute_values_min": {
                    "description": "Values that a window of one minute needs.",
                    "type": "integer", "minimum": 5, "default": default.minute_values_min,
                },
                "window_values_min": {
                    "description": "Values that a window of 5 or 30 minutes needs.",
                    "type": "integer", "minimum": 5, "default": default.window_values_min,
                },
                "floor": {
                    "description": "Least difference that matters, in seconds.",
                    "type": "number", "minimum": 0, "default": default.floor,
                },
                "floor_ratio": {
                    "description": "Least ratio that matters.",
                    "type": "number", "minimum": 1, "default": default.floor_ratio,
                },
            },
        })
        .to_string()
    }
}
