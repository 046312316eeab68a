//! What can be set, and its schema.

use serde::Deserialize;
use serde_json::json;

/// Settings of the detector.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Attribute of the resource whose new value is a deploy.
    pub version_attribute: String,
    /// Whether a message that tells of no failure can be reported, when several appear at once.
    pub bursts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version_attribute: "service.version".to_owned(),
            bursts: true,
        }
    }
}

impl Settings {
    /// The first thing that is wrong, if any.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.version_attribute.is_empty() {
            return Err("version_attribute: is empty".to_owned());
        }
        Ok(())
    }

    /// JSON Schema with defaults.
    pub(crate) fn schema() -> String {
        let default = Self::default();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings of the novelty detector",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "version_attribute": {
                    "description": "Attribute of the resource whose new value is a deploy.",
                    "type": "string", "minLength": 1, "default": default.version_attribute,
                },
                "bursts": {
                    "description": "Report new messages that tell of no failure when several appear at once.",
                    "type": "boolean", "default": default.bursts,
                },
            },
        })
        .to_string()
    }
}
